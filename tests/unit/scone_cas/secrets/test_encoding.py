"""Values in the store and in texts: every suffix of the language has a form, and nothing else has one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_cas.secrets import encoding
from scone_cas.secrets.encoding import spell
from scone_cas.secrets.value import Value, from_stored, to_stored
from scone_policy.model.secret_kinds import KINDS
from scone_policy.syntax.placeholders import SUFFIXES, text_form

KIND_NAMES = st.sampled_from(sorted(KINDS))
SUFFIX = st.sampled_from(sorted({suffix for suffixes in SUFFIXES.values() for suffix in suffixes} | {":x", ":", "."}))
VALUES = st.builds(
    Value,
    kind=KIND_NAMES,
    content=st.binary(max_size=80),
    more=st.dictionaries(st.sampled_from(["private_key", "chain", "public_key"]), st.binary(max_size=80)),
)


def test_every_suffix_has_a_form() -> None:
    """What the language's placeholders may ask for is what this CAS can spell, kind by kind."""
    assert {kind: set(forms) for kind, forms in encoding._FORMS.items()} == {
        kind: set(suffixes) for kind, suffixes in SUFFIXES.items()
    }
    assert set(encoding._PUBLIC) == set(KINDS)


def test_text_instead_of_bytes_is_text() -> None:
    """Where raw bytes cannot stand, the form that is offered exists and is text itself."""
    for kind, suffixes in SUFFIXES.items():
        for suffix in suffixes:
            instead = text_form(kind, suffix)
            assert instead is None or (instead in suffixes and text_form(kind, instead) is None)


@given(VALUES)
def test_what_is_stored_is_read_again(value: Value) -> None:
    """A value comes out of the store as it went in; ascii and binary, which have no parts, in their own bytes."""
    if value.kind in ("ascii", "binary"):
        assert to_stored(value) == value.content
        value = Value(kind=value.kind, content=value.content)
    assert from_stored(value.kind, to_stored(value)) == value


@given(kind=KIND_NAMES, content=st.binary(max_size=80), suffix=SUFFIX, escape=st.booleans())
def test_spelling_gives_bytes_or_a_reason(kind: str, content: bytes, suffix: str, escape: bool) -> None:  # noqa: FBT001
    """Any suffix of any kind is spelt, or refused in words that do not hold the value."""
    if kind == "config-fragment":
        content = b"[1]"
    if kind == "pgp-key" or suffix == ":pkcs12-with-private-key":
        return
    value = Value(kind=kind, content=content, more={"private_key": content, "chain": b""})
    if suffix in SUFFIXES[kind] and not escape:
        assert isinstance(spell(value, suffix, escape_json=False), bytes)
    elif suffix not in SUFFIXES[kind]:
        with pytest.raises(ValueError, match=r"^the suffix .* does not fit a secret of kind"):
            spell(value, suffix, escape_json=escape)


@given(VALUES)
def test_values_never_show_themselves(value: Value) -> None:
    """What a log or an error shows of a value is its kind."""
    assert repr(value) == f"Value(kind={value.kind!r})"


@pytest.mark.parametrize("text", ["grün", "\u20ac\U0001f511", 'a"\\\n'])
def test_escaped_for_json_is_the_text_itself(text: str) -> None:
    """What JSON does not have to escape stays as it is, also beyond ASCII; read as JSON, it is the value again."""
    found = spell(Value(kind="ascii", content=text.encode()), "", escape_json=True).decode()
    assert json.loads(f'"{found}"') == text
    assert text.isprintable() == (found == text)
