"""Modules and functions stay small enough to be read at once; docs/adr/011 names the ones that do not, and why."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDERS = ("provider", "components", "tools/devstack")
LINES_OF_A_MODULE = 300
LINES_OF_A_FUNCTION = 60
_ROW = re.compile(r"^\| `([^`]+\.py)`(?:: `(\w+)`)? \| (.+) \|$", re.MULTILINE)

Large = tuple[str, str]
"""Path of a module, and the name of a function in it; empty for the module itself."""


def _large(path: str, source: str) -> Iterator[Large]:
    """What in a module is larger than allowed: itself, and functions with their decorators and docstrings."""
    if len(source.splitlines()) > LINES_OF_A_MODULE:
        yield path, ""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno >= LINES_OF_A_FUNCTION:
                yield path, node.name


def _modules() -> dict[str, str]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in found if "node_modules" not in path.parts}


def test_what_is_large_is_named_with_its_reason() -> None:
    """Nothing is larger than allowed but what the decision record names, and what it names is still that large."""
    text = (ROOT / "docs" / "adr" / "011-rooms.md").read_text()
    named = [(path, name) for path, name, _ in _ROW.findall(text)]
    found = {one for path, source in _modules().items() for one in _large(path, source)}
    assert sorted(found - set(named)) == [], "not named in docs/adr/011"
    assert sorted(set(named) - found) == [], "named in docs/adr/011, and no longer large"
    assert named == sorted(set(named))


def test_what_is_large_is_found() -> None:
    """One line too many is noticed, in a module and in a function however deep; one line less is not."""
    body = "    pass\n" * (LINES_OF_A_FUNCTION - 1)
    nested = "class A:\n    async def f(self):\n" + "        pass\n" * LINES_OF_A_FUNCTION
    assert list(_large("m.py", f"def f():\n{body}")) == []
    assert list(_large("m.py", f"def f():\n{body}    pass\n")) == [("m.py", "f")]
    assert list(_large("m.py", nested)) == [("m.py", "f")]
    assert list(_large("m.py", "x = 1\n" * LINES_OF_A_MODULE)) == []
    assert list(_large("m.py", "x = 1\n" * (LINES_OF_A_MODULE + 1))) == [("m.py", "")]


def test_all_folders_are_looked_at() -> None:
    """Each folder has modules: one that moves away is noticed."""
    assert all(any(path.startswith(f"{folder}/") for path in _modules()) for folder in FOLDERS)
