"""Descriptions are kept as they were meant: what is written down reads back as what was uploaded."""

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import scone_policy
from scone_cas.sessions.descriptions import read_upload, stored

PRINTABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0$@"), max_size=40)
ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\t\n"), max_size=30)
AWKWARD = st.sampled_from(
    ["yes", "no", "~", "null", "1", "0.10", "1e3", "0o7", "2001-01-01", "<<", "=", "- a", "a: b", "'", " x "]
)


@st.composite
def descriptions(draw: st.DrawFn) -> dict:
    """Session descriptions full of texts that YAML could misread."""
    words = PRINTABLE | AWKWARD
    service = {
        "name": "s",
        "image_name": "i",
        "command": ["p", *draw(st.lists(words, max_size=3))],
        "environment": draw(st.dictionaries(st.from_regex("[A-Za-z_<~][A-Za-z0-9_<~.]{0,200}", fullmatch=True), words)),
        "attestation": {"mrenclave": draw(st.sampled_from(["ab" * 32, "12" * 32, "1e" + "1" * 62]))},
    }
    return {
        "name": draw(st.sampled_from(["x", "1", "0.10", "yes", "~"])),
        "version": "0.3.10",
        "services": [service],
        "secrets": [{"name": "k", "kind": "ascii", "value": draw(ASCII)}, {"name": "g", "kind": "ascii", "size": 7}],
        "images": [{"name": "i", "injection_files": [{"path": "/f", "content": draw(words), "permission": "0o400"}]}],
    }


@settings(deadline=None)
@given(descriptions())
def test_what_is_kept_means_what_was_uploaded(data: dict) -> None:
    """The stored text parses to the same session; written down again it is the same text, with the same hash."""
    text = yaml.safe_dump(data, allow_unicode=True)
    first = read_upload(text.encode())
    assert stored(first.text).canonical() == scone_policy.parse(text).canonical()
    again = read_upload(first.text.encode())
    assert (again.text, again.hash) == (first.text, first.hash)


def test_numbers_and_their_quoted_spelling_are_one_description() -> None:
    """`size: 10` and `size: '10'` are the same description; 11 is another."""
    text = "name: x\nversion: '0.3'\nsecrets: [{name: s, kind: ascii, size: %s}]\n"
    plain, quoted, other = (read_upload((text % size).encode()) for size in ("10", "'10'", "11"))
    assert plain.hash == quoted.hash != other.hash
