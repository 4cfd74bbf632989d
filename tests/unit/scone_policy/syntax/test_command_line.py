"""Commands between one string and a list of arguments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_policy.syntax.command_line import join, split


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\x00"))))
def test_any_arguments_survive(arguments: list[str]) -> None:
    """Every list of arguments has a string from which the same list comes back."""
    assert split(join(arguments)) == tuple(arguments)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("python3 print_env.py", ["python3", "print_env.py"]),
        ("  a\tb\n c ", ["a", "b", "c"]),
        ("sh -c 'echo \"hi\"'", ["sh", "-c", 'echo "hi"']),
        ("a'b c'\"d e\"f", ["ab cd ef"]),
        ("a '' \"\"", ["a", "", ""]),
        (r"a\ b", ["a\\", "b"]),
    ],
)
def test_splitting(command: str, arguments: list[str]) -> None:
    """White space separates, quotes group and join, a backslash is a character like any other."""
    assert list(split(command)) == arguments


@pytest.mark.parametrize("command", ["a 'b", 'a "b', "a '\"'\""])
def test_open_quote_is_refused(command: str) -> None:
    """A quote that is not closed is an error, not a guess."""
    with pytest.raises(ValueError, match="not closed"):
        split(command)
