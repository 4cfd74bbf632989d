"""`WWW-Authenticate` in every form that RFC 9110 allows: what was written is what is read, and nothing breaks it."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_provider.image.registry.challenges import Challenge, parse_challenges

WORD = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=8)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
PARAMETERS = st.dictionaries(WORD.map(str.lower), TEXT, max_size=4)
CHALLENGES = st.lists(st.tuples(WORD, PARAMETERS), min_size=1, max_size=4)


def written(scheme: str, parameters: dict[str, str]) -> str:
    """A challenge with quoted parameters."""
    pairs = (f'{name}="{value}"'.replace("\\", "\\\\") for name, value in parameters.items())
    quoted = (pair[: pair.index('"') + 1] + pair[pair.index('"') + 1 : -1].replace('"', '\\"') + '"' for pair in pairs)
    return f"{scheme} {', '.join(quoted)}".strip()


@given(challenges=CHALLENGES, one_header=st.booleans())
def test_what_is_written_is_read(*, challenges: list[tuple[str, dict[str, str]]], one_header: bool) -> None:
    """Any challenges, in one header or in one each: schemes, parameters and their order come back."""
    headers = [written(*challenge) for challenge in challenges]
    found = parse_challenges([", ".join(headers)] if one_header else headers)
    assert found == tuple(Challenge(scheme=scheme.lower(), parameters=wanted) for scheme, wanted in challenges)


@given(st.text(max_size=300))
def test_nothing_breaks_it(header: str) -> None:
    """Any text ends in challenges, maybe none, and in no exception."""
    assert all(challenge.scheme for challenge in parse_challenges([header]))


@pytest.mark.timeout(5)
def test_a_header_without_end_takes_no_time() -> None:
    """Hostile headers are cut, and cost no more than their length."""
    for header in ('a="' * 100_000, 'Bearer a="\\' * 50_000, "," * 1_000_000, "a " * 500_000, "a=" * 500_000):
        parse_challenges([header])


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Basic", [("basic", {})]),
        ("Negotiate YII=, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ("NTLM, Negotiate", [("ntlm", {}), ("negotiate", {})]),
        (
            'Bearer realm="https://a/t?x=1,2",scope="repository:a:pull,push"',
            [("bearer", {"realm": "https://a/t?x=1,2", "scope": "repository:a:pull,push"})],
        ),
        ("Bearer realm=https://a/t , service = b", [("bearer", {"realm": "https://a/t", "service": "b"})]),
        (', Basic realm="a\\"b" ,, Bearer realm=c', [("basic", {"realm": 'a"b'}), ("bearer", {"realm": "c"})]),
        ('Bearer realm="first", realm="second"', [("bearer", {"realm": "first"})]),
    ],
)
def test_forms(header: str, found: list[tuple[str, dict[str, str]]]) -> None:
    """Forms that registries send."""
    assert [(one.scheme, dict(one.parameters)) for one in parse_challenges([header])] == found
