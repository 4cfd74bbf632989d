"""Encrypted sessions: the right key opens what was encrypted, and nothing else is ever opened."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

from scone_policy import PolicyError
from scone_policy.sealed.encrypted import LARGEST_TEXT, decrypt_session, encrypt_session

KEY = X25519PrivateKey.from_private_bytes(bytes(range(32)))
RECIPIENT = KEY.public_key().public_bytes_raw()
SEED = b"s" * 32
TEXT = "name: app\nversion: '0.3'\nsecrets: [{name: s, kind: ascii, value: hunter2}]\n"
GOOD: Any = encrypt_session(TEXT, recipient=RECIPIENT, seed=SEED)
SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
INFO = b"pulumi-scone encrypted session v1\0"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(TEXTS, st.binary(min_size=32, max_size=32))
def test_what_is_encrypted_opens(text: str, seed: bytes) -> None:
    """Any text comes back as it was, whatever the seed, also through JSON."""
    document = json.loads(json.dumps(encrypt_session(text, recipient=RECIPIENT, seed=seed)))
    assert decrypt_session(document, key=KEY) == text


@given(TEXTS, st.binary(min_size=32, max_size=32))
def test_the_library_opens_what_we_seal(text: str, seed: bytes) -> None:
    """Our sealing with a given ephemeral key is RFC 9180: an independent implementation opens it."""
    found = encrypt_session(text, recipient=RECIPIENT, seed=seed)
    both = base64.b64decode(found["encryption_key"]) + base64.b64decode(found["encrypted_session"])
    assert SUITE.decrypt(both, KEY, INFO).decode() == text


def test_we_open_what_the_library_seals() -> None:
    """Another program that follows the page is understood."""
    both = SUITE.encrypt(TEXT.encode(), KEY.public_key(), INFO)
    document = {
        "encryption_key": base64.b64encode(both[:32]).decode(),
        "encrypted_session": base64.b64encode(both[32:]).decode(),
    }
    assert decrypt_session(document, key=KEY) == TEXT


def test_only_equal_texts_give_equal_documents() -> None:
    """Deterministic under one seed; another text, recipient or seed gives another key, so no key is used twice."""
    other = X25519PrivateKey.from_private_bytes(b"o" * 32).public_key().public_bytes_raw()
    found = [
        encrypt_session(TEXT, recipient=RECIPIENT, seed=SEED),
        encrypt_session(TEXT + " ", recipient=RECIPIENT, seed=SEED),
        encrypt_session(TEXT, recipient=other, seed=SEED),
        encrypt_session(TEXT, recipient=RECIPIENT, seed=b"t" * 32),
    ]
    assert encrypt_session(TEXT, recipient=RECIPIENT, seed=SEED) == found[0] == GOOD
    assert len({each["encryption_key"] for each in found}) == len(found)


def test_nothing_of_the_text_shows() -> None:
    """Neither string holds any part of the session."""
    raw = b"".join(base64.b64decode(part) for part in GOOD.values())
    assert not [word for word in (b"name", b"hunter2", b"app", b"version") if word in raw]


@given(st.sampled_from(sorted(GOOD)), st.integers(0, 10_000))
def test_any_changed_bit_is_noticed(which: str, place: int) -> None:
    """No bit of either string can be changed, not even the one that X25519 itself ignores."""
    raw = bytearray(base64.b64decode(GOOD[which]))
    raw[place // 8 % len(raw)] ^= 1 << place % 8
    with pytest.raises(PolicyError, match="does not open"):
        decrypt_session(GOOD | {which: base64.b64encode(raw).decode()}, key=KEY)


def test_another_key_does_not_open_it() -> None:
    """A session for one CAS says nothing to another, and the error shows none of it."""
    with pytest.raises(PolicyError, match="another CAS's key") as refused:
        decrypt_session(GOOD, key=X25519PrivateKey.from_private_bytes(b"o" * 32))
    assert "hunter2" not in str(refused.value)


BAD = [
    ({}, "exactly the keys"),
    (GOOD | {"more": ""}, "exactly the keys"),
    (GOOD | {"encryption_key": ""}, "32 bytes"),
    (GOOD | {"encryption_key": "A" * 44}, "32 bytes"),
    (GOOD | {"encryption_key": "A" * 1000}, "base64"),
    (GOOD | {"encryption_key": "A" * 43 + "="}, "does not open"),
    (GOOD | {"encryption_key": 1}, "base64"),
    (GOOD | {"encrypted_session": None}, "base64"),
    (GOOD | {"encrypted_session": "é"}, "base64"),
    (GOOD | {"encrypted_session": ""}, "does not open"),
    (GOOD | {"encrypted_session": "A" * (LARGEST_TEXT * 2)}, "not larger"),
]


@pytest.mark.parametrize(("document", "said"), BAD, ids=[f"{number} {case[1]}" for number, case in enumerate(BAD)])
def test_bad_documents(document: dict[str, object], said: str) -> None:
    """Each flaw is a PolicyError in words."""
    with pytest.raises(PolicyError, match=said):
        decrypt_session(document, key=KEY)


@pytest.mark.parametrize(
    ("text", "recipient", "said"),
    [
        (TEXT, b"", "32 bytes"),
        (TEXT, bytes(32), "not a usable X25519 key"),
        ("\ud800", RECIPIENT, "valid Unicode"),
        ("x" * (LARGEST_TEXT + 1), RECIPIENT, f"at most {LARGEST_TEXT} can be encrypted"),
    ],
)
def test_what_cannot_be_encrypted(text: str, recipient: bytes, said: str) -> None:
    """Keys that are none, or of low order, and texts that no CAS would take."""
    with pytest.raises(PolicyError, match=said):
        encrypt_session(text, recipient=recipient, seed=SEED)


def test_content_that_is_not_text_is_refused() -> None:
    """Bytes that are not UTF-8 are no session."""
    both = SUITE.encrypt(b"\xff", KEY.public_key(), INFO)
    document = {
        "encryption_key": base64.b64encode(both[:32]).decode(),
        "encrypted_session": base64.b64encode(both[32:]).decode(),
    }
    with pytest.raises(PolicyError, match="UTF-8"):
        decrypt_session(document, key=KEY)
