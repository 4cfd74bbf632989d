"""The mutation tester finds what can be changed, chooses the same sample again, and leaves out only what exists."""

import ast
import tomllib
from pathlib import Path

import pytest
from tools.mutants import __main__ as command
from tools.mutants.mutations import find

ROOT = Path(__file__).parents[3]
CASES = [
    ("def f(a):\n    return a < 3", {"a <= 3", "a < 4", "None"}),
    ("def f(a):\n    return a not in (0, '')", {"a in (0, '')", "a not in (1, '')", 'a not in (0, "mutant")', "None"}),
    ("def f(a, b):\n    return a and b or not a", {"a or b or not a", "a and b and not a", "a and b or a", "None"}),
    ("def f(a, b):\n    return a | b", {"a & b", "None"}),
    ("LIMIT = 4 * 1024", {"5 * 1024", "4 * 1025", "4 // 1024"}),
    ("TYPES = int | str", set()),
    ("def f(a: 'A' = 1) -> 'B':\n    '''Says.'''", {"def f(a: 'A' = 2) -> 'B':"}),
    ("def f(a):\n    if a:\n        raise OSError(a)", {"if (not (a)):", "pass"}),
    ("def f(a):\n    check(a)\n    a += 1", {"    pass\n    a += 1", "check(a)\n    pass", "a += 2"}),
    ("def f(a):\n    return [b for b in sorted(a) if b]", {"(lambda a, **_: list(a))(a)", "if (not (b))", "None"}),
    ("def f(a):\n    raise OSError(f'{a} is wrong')", {"pass", 'raise OSError("")'}),
    ("A = 'ä' + 'b'", {"\"\" + 'b'", "'ä' - 'b'", "'ä' + \"\""}),
    ("if TYPE_CHECKING:\n    A = 1\n__all__ = ['a']", set()),
    ("for a in b:\n    continue", {"break"}),
]


@pytest.mark.parametrize(("source", "expected"), CASES)
def test_changes(source: str, expected: set[str]) -> None:
    """Each change is one piece of the text, what is left can be read by Python, and nothing else is changed."""
    text = source.encode() + b"\n"
    found = find("a.py", text)
    after = [mutant.apply(text).decode() for mutant in found]
    assert len({ast.dump(ast.parse(one)) for one in [*after, source]}) == len(found) + 1
    assert len(found) == len(expected)
    for change in expected:
        assert any(change in one and change not in source for one in after), change


def test_lines_are_those_of_the_statement() -> None:
    """The tests of a mutant are those that run its statement, of a compound one its head."""
    source = b"def f(\n    a=1,\n):\n    return (\n        a\n        + 2\n    )\n"
    lines = {mutant.kind: (mutant.line, mutant.lines) for mutant in find("a.py", source)}
    assert lines["operator"] == (5, (4, 5, 6, 7))
    assert {mutant.lines for mutant in find("a.py", source) if mutant.line == 2} == {(1,)}


def test_a_sample_is_drawn_again_and_another_is_another() -> None:
    """The same seed gives the same mutants, so that a share can be checked."""

    def draw(*argv: str) -> list[tuple[str, int]]:
        options = command._parser().parse_args(argv)
        found = command._mutants(ROOT, "provider/scone_cas/secrets", "")
        return [(mutant.path, mutant.start) for mutant in command._sample(found, options, "secrets")]

    assert draw("--seed", "5") == draw("--seed", "5")
    assert draw("--seed", "5") != draw("--seed", "6")
    assert len(draw("--count", "7")) == 7


def test_equivalents_are_of_the_code_as_it_is() -> None:
    """Each mutant that is left out can be made, and says why no test can tell it from the code."""
    listed = tomllib.loads((ROOT / "tools/mutants/equivalent.toml").read_text())["mutant"]
    found = {
        (Path(mutant.path).name, *mutant.diff((ROOT / mutant.path).read_bytes()))
        for name in command._PACKAGES
        for file in (ROOT / "provider" / name).rglob("*.py")
        for mutant in find(str(file.relative_to(ROOT)), file.read_bytes())
    }
    assert [entry for entry in listed if (entry["file"], entry["before"], entry["after"]) not in found] == []
    assert [entry for entry in listed if len(entry["why"]) < 20] == []
