"""Strict JSON: one reader for all that comes from outside, so that no two readers take a text for different things."""

import pytest

from scone_cas.strict_json import MalformedError, bytes_of, read_object
from scone_policy.syntax.strict_json import decode


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b"{} {}",
        b"",
    ],
    ids=["twice", "twice-inside", "nan", "infinity", "half-a-character", "not-utf-8", "too-deep", "two", "nothing"],
)
def test_what_readers_disagree_on_is_refused(text: bytes) -> None:
    """What other readers take in different ways is no JSON here."""
    with pytest.raises(ValueError, match=r"\S"):
        decode(text)
    with pytest.raises(MalformedError, match="not one JSON object"):
        read_object(text, {"a": int})


def test_objects_have_exactly_their_keys() -> None:
    """A key too many, too few, or of another type is refused by name; what may be there need not be."""
    assert read_object(b'{"a": "\\u00e4"}', {"a": str}, {"b": int}) == {"a": "ä"}
    assert read_object(b'{"a": "", "b": 1}', {"a": str}, {"b": int}) == {"a": "", "b": 1}
    for text in (b'{"a": "", "c": 1}', b"{}", b'["a"]'):
        with pytest.raises(MalformedError, match="exactly the keys a"):
            read_object(text, {"a": str})
    with pytest.raises(MalformedError, match="a is of the wrong type"):
        read_object(b'{"a": 1}', {"a": str})


def test_base64_has_its_size() -> None:
    """Bytes come from base64 of exactly their size."""
    assert bytes_of({"a": "AP8="}, "a", size=2) == b"\x00\xff"
    for wrong in ("AP8", "AP8=*"):
        with pytest.raises(MalformedError, match="a is not base64"):
            bytes_of({"a": wrong}, "a")
    with pytest.raises(MalformedError, match="a does not have 3 bytes"):
        bytes_of({"a": "AP8="}, "a", size=3)
