"""Strict JSON is read in the one way in which it can be read, and all else is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_policy.syntax.strict_json import RepeatedKeyError, decode

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(TREES)
def test_what_is_json_is_read(tree: object) -> None:
    """Any tree comes back from its text, with escapes or without, from text or from bytes."""
    for ascii_only in (True, False):
        text = json.dumps(tree, ensure_ascii=ascii_only)
        assert decode(text) == tree
        assert decode(text.encode()) == tree


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "c": 2, "a": 3}}]', '{"a": 1, "\\u0061": 1}'],
)
def test_repeated_keys_are_refused(text: str) -> None:
    """The same key twice in one object, however it is spelt and however deep the object lies."""
    with pytest.raises(RepeatedKeyError):
        decode(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{} {}",
        "NaN",
        "[Infinity]",
        '{"a": -Infinity}',
        '"\\ud800"',
        '{"\\udfff": 1}',
        "[" * 100_000,
        '"\n"',
        "{'a': 1}",
        b"\xff",
        b'"\xed\xa0\x80"',
        "\ufeff{}",
        "1" * 5000,
    ],
)
def test_what_is_no_strict_json_is_refused(text: str | bytes) -> None:
    """Numbers that are none, half characters, a wrong encoding, what goes too deep or is followed by more."""
    with pytest.raises(ValueError):  # noqa: PT011 - any of the library's own
        decode(text)
