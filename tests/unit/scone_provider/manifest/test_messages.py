"""Every refusal of manifests, catalogue, derivation and commands says what to do."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from scone_policy.syntax.problems import PLAIN_RULES, Problem
from scone_provider.manifest.advice import EXAMPLES, advised

ROOT = Path(__file__).parents[4] / "provider" / "scone_provider"
ROOMS = ("manifest", "catalogue", "derive", "commands")
SOURCES = [
    *sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py")),
    ROOT / "image" / "build" / "vendor_builder.py",
]


def raised(tree: ast.AST) -> Iterator[ast.Call]:
    """Where an error is made: `ManifestError(…)`, a builder's `ImageError(…)`, `findings.add(…)`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        is_finding = name == "add" and getattr(owner, "attr", getattr(owner, "id", "")) == "findings"
        if name in {"ManifestError", "ImageError"} or is_finding:
            yield node


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_every_refusal_has_a_fix(file: Path) -> None:
    """A call without `fix`, or with an empty one, is a message that leaves a person alone."""
    found = list(raised(ast.parse(file.read_text())))
    for call in found:
        fixes = [keyword.value for keyword in call.keywords if keyword.arg == "fix"]
        assert fixes, f"line {call.lineno}"
        assert not (isinstance(fixes[0], ast.Constant) and not fixes[0].value), f"line {call.lineno}"


def test_refusals_are_looked_at() -> None:
    """The search finds what it is to judge."""
    assert sum(len(list(raised(ast.parse(file.read_text())))) for file in SOURCES) > 60


@pytest.mark.parametrize("rule", sorted({*PLAIN_RULES, "must be text, not a list or a map", "something new"}))
@pytest.mark.parametrize("path", [("build", "to"), ("secrets", "global", "x", "size"), ("zonk",), ()])
def test_every_rule_gets_a_next_step(rule: str, path: tuple[str, ...]) -> None:
    """Rules in words that every model shares, and ones that are not known, have one by rule or by key."""
    (problem,) = advised([Problem(path=path, rule=rule)])
    assert problem.fix
    assert advised([problem]) == [problem]


def test_examples_are_of_keys() -> None:
    """An example is an example of the key that it stands for."""
    for key, example in EXAMPLES.items():
        assert example.startswith(f"{key.rpartition('.')[2]}: "), key
