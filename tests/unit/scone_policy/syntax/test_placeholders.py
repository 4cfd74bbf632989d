"""Placeholders: what they look like, which secret and format they ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_policy.syntax.placeholders import Placeholder, parts, resolve


def test_text_around_placeholders_stays() -> None:
    """A text is taken apart into its pieces in order."""
    assert parts("a$$SCONE::x$$b$$SCONE::y:hex|escape(json)$$") == [
        "a",
        Placeholder(name="x"),
        "b",
        Placeholder(name="y", suffix=":hex", escape_json=True),
    ]


@given(st.text(alphabet="a$ :{}"))
def test_text_without_placeholders_is_one_piece(text: str) -> None:
    """Dollar signs alone mean nothing."""
    assert parts(text) == ([text] if text else [])


@pytest.mark.parametrize("text", ["$$SCONE::x", "a$$SCONE::$$", "$$SCONE::a b$$", "$$SCONE::x|escape(xml)$$"])
def test_malformed_placeholders_are_refused(text: str) -> None:
    """Something that begins like a placeholder and is none would reach the program as text: refused."""
    with pytest.raises(ValueError, match="placeholder"):
        parts(text)


def test_old_spelling_of_hex() -> None:
    """`key.hex` is the old spelling of `key:hex`, unless a secret is really named so."""
    assert resolve(Placeholder(name="key.hex"), {"key": "binary"}) == ("key", ":hex")
    assert resolve(Placeholder(name="key.hex"), {"key": "binary", "key.hex": "ascii"}) == ("key.hex", "")


@pytest.mark.parametrize(
    ("placeholder", "words"),
    [
        (Placeholder(name="none"), "names no secret"),
        (Placeholder(name="word", suffix=":hex"), "takes no suffix"),
        (Placeholder(name="key", suffix=":pem"), "does not fit the binary secret"),
        (Placeholder(name="word.hex"), "names no secret"),
    ],
)
def test_what_no_secret_can_give_is_refused(placeholder: Placeholder, words: str) -> None:
    """A missing secret and a format that its kind does not have are errors that say so."""
    with pytest.raises(ValueError, match=words):
        resolve(placeholder, {"word": "ascii", "key": "binary"})
