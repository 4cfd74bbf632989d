"""Signed sessions: what was signed comes out with its signers; anything else is refused in words."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from scone_policy import PolicyError
from scone_policy.keys.key_hash import SIGNER_VERSION, encode
from scone_policy.sealed.signed import MOST_SIGNATURES, parse_signed, sign_session, verify_signed
from scone_policy.syntax.yaml_source import MAX_BYTES

ED = [Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in range(1, 4)]
P384 = ec.derive_private_key(7, ec.SECP384R1())
TEXT = "name: app\nversion: '0.3'\n"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def signer(key: Any) -> str:
    """The public key as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@given(TEXTS, st.sets(st.sampled_from([*ED, P384]), min_size=1))
def test_what_is_signed_verifies(text: str, keys: set[Any]) -> None:
    """Any text comes back as it was, with exactly the keys that signed it, also through JSON."""
    document = sign_session(text, keys=sorted(keys, key=signer))
    found = verify_signed(json.loads(json.dumps(document)))
    assert found.text == text
    assert found.signers == tuple(sorted(signer(key) for key in keys))


def test_same_text_and_keys_give_the_same_document() -> None:
    """Signatures are deterministic: a preview of a signed session does not change by itself."""
    assert sign_session(TEXT, keys=[ED[0], P384]) == sign_session(TEXT, keys=[ED[0], P384])


def test_signature_is_over_context_and_text() -> None:
    """The documented bytes are what is signed: another program can check it."""
    document: Any = sign_session(TEXT, keys=[ED[0]])
    (entry,) = document["signatures"]
    message = b"pulumi-scone signed session v1\0" + TEXT.encode()
    ED[0].public_key().verify(base64.b64decode(entry["signature"]), message)


def test_old_spelling_of_a_signer_is_read() -> None:
    """A signer may be named by its Base58Check spelling; it comes out as PEM."""
    document: Any = sign_session(TEXT, keys=[ED[0]])
    document["signatures"][0]["signer"] = encode(SIGNER_VERSION, ED[0].public_key().public_bytes_raw())
    assert verify_signed(document).signers == (signer(ED[0]),)


@given(st.integers(0, 10_000), st.sampled_from([ED[0], P384]))
def test_any_changed_bit_is_noticed(place: int, key: Any) -> None:
    """No bit of a signature can be changed."""
    document: Any = sign_session(TEXT, keys=[key])
    raw = bytearray(base64.b64decode(document["signatures"][0]["signature"]))
    raw[place // 8 % len(raw)] ^= 1 << place % 8
    document["signatures"][0]["signature"] = base64.b64encode(raw).decode()
    with pytest.raises(PolicyError, match="does not verify"):
        verify_signed(document)


def test_changed_text_is_noticed() -> None:
    """A signature is for its text alone."""
    with pytest.raises(PolicyError, match=r"signatures.0.signature.*does not verify"):
        verify_signed(sign_session(TEXT, keys=[ED[0]]) | {"session": TEXT + " "})


def test_one_wrong_signature_refuses_all() -> None:
    """A right signature beside a wrong one is not enough: the error names the wrong one."""
    document: Any = sign_session(TEXT, keys=ED[:2])
    document["signatures"][1]["signature"] = document["signatures"][0]["signature"]
    with pytest.raises(PolicyError) as refused:
        verify_signed(document)
    assert refused.value.where == "signatures.1.signature"


GOOD: Any = sign_session(TEXT, keys=[ED[0]])
ENTRY: Any = GOOD["signatures"][0]
BAD = [
    ({"session": TEXT}, "exactly the keys"),
    (GOOD | {"more": 1}, "exactly the keys"),
    (GOOD | {"session": 1}, "exactly the keys"),
    (GOOD | {"session": "\ud800"}, "valid Unicode"),
    (GOOD | {"session": "x" * (1024 * 1024 + 1)}, "at most"),
    (GOOD | {"signatures": {}}, "a list"),
    (GOOD | {"signatures": []}, "1 to 64"),
    (GOOD | {"signatures": [ENTRY] * (MOST_SIGNATURES + 1)}, "1 to 64"),
    (GOOD | {"signatures": [ENTRY, ENTRY]}, "signed twice"),
    (GOOD | {"signatures": ["x"]}, "signer and signature"),
    (GOOD | {"signatures": [ENTRY | {"more": 1}]}, "signer and signature"),
    (GOOD | {"signatures": [ENTRY | {"signer": "x"}]}, "public key as PEM"),
    (GOOD | {"signatures": [ENTRY | {"signer": None}]}, "must have a value"),
    (GOOD | {"signatures": [ENTRY | {"signer": "$$SCONE::s$$"}]}, "public key as PEM"),
    (GOOD | {"signatures": [ENTRY | {"signer": signer(ec.derive_private_key(7, ec.SECP256R1()))}]}, "Ed25519 or a P"),
    (GOOD | {"signatures": [ENTRY | {"signature": 1}]}, "base64"),
    (GOOD | {"signatures": [ENTRY | {"signature": "!"}]}, "base64"),
    (GOOD | {"signatures": [ENTRY | {"signature": "A" * 260}]}, "base64"),
    (GOOD | {"signatures": [ENTRY | {"signer": signer(ED[1])}]}, "does not verify"),
    (GOOD | {"signatures": [ENTRY | {"signer": signer(P384)}]}, "does not verify"),
]


@pytest.mark.parametrize(("document", "said"), BAD, ids=[f"{number} {case[1]}" for number, case in enumerate(BAD)])
def test_bad_documents(document: dict[str, object], said: str) -> None:
    """Each flaw is a PolicyError in words."""
    with pytest.raises(PolicyError, match=said):
        verify_signed(document)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([], "1 to 64"),
        ([ED[0], ED[0]], "twice"),
        ([ec.derive_private_key(7, ec.SECP256R1())], "Ed25519 or a P-384"),
    ],
)
def test_what_cannot_sign(keys: list[Any], said: str) -> None:
    """No key, the same key twice and keys of other kinds are refused when signing already."""
    with pytest.raises(PolicyError, match=said):
        sign_session(TEXT, keys=keys)


def test_documents_that_no_request_holds_are_not_made() -> None:
    """The largest signed session is as large as a request; one byte more is refused when it is signed."""
    room = MAX_BYTES - len(json.dumps(sign_session("", keys=[ED[0]]), indent=1)) - 1
    assert len(json.dumps(sign_session("x" * room, keys=[ED[0]]), indent=1)) == MAX_BYTES - 1
    with pytest.raises(PolicyError, match=f"has {MAX_BYTES + 1} bytes as JSON, and a CAS takes at most {MAX_BYTES}"):
        sign_session("x" * (room + 1), keys=[ED[0]])
    with pytest.raises(PolicyError, match="bytes as JSON"):
        sign_session("\n" * (MAX_BYTES // 2), keys=[ED[0]])


def test_plain_descriptions_are_told_from_signed_ones() -> None:
    """YAML, and JSON that is a description, are plain; a document with signatures is not."""
    assert parse_signed(TEXT) is None
    assert parse_signed(json.dumps({"name": "app", "version": "0.3"})) is None
    assert parse_signed("{name: app}") is None
    assert parse_signed("{" * 100_000) is None
    assert parse_signed("\n " + json.dumps(GOOD)) == GOOD
    with pytest.raises(PolicyError, match="twice"):
        parse_signed(json.dumps(GOOD)[:-1] + ', "session": "other"}')


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_anything_is_judged_in_words(tree: Any) -> None:
    """Whatever stands where signatures should: an error of ours, nothing else."""
    with pytest.raises(PolicyError):
        verify_signed({"session": TEXT, "signatures": tree})
