"""Key hashes: the published samples, what they decode to, and every way to mistype one."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_policy.errors import PolicyError
from scone_policy.keys import key_hash

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "enclave.json").read_text())
PUBLISHED = "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"
OLD_SIGNER = "LtLcbPVddnCkH36ZcRdgYsw4H8xDbYaFZfuefkDc25uq2qdjmM"


def test_published_sample_decodes_and_comes_back() -> None:
    """The sample in the vendor's documents is version 1 with 32 bytes, and our spelling of these is the sample."""
    assert key_hash.encode_key_hash(key_hash.decode_key_hash(PUBLISHED)) == PUBLISHED


def test_golden_vectors() -> None:
    """Launcher and CAS spell the key hashes of the same keys alike."""
    for vector in VECTORS["key_hashes"]:
        digest = hashlib.sha256(base64.b64decode(vector["spki"])).digest()
        assert digest.hex() == vector["sha256"]
        assert key_hash.encode_key_hash(digest) == vector["key_hash"]
    assert key_hash.encode_key_hash(bytes(32)) == VECTORS["key_hash_of_zeros"]


@pytest.mark.parametrize("text", [*VECTORS["bad_key_hashes"], "1" * 200, "é" * 50, OLD_SIGNER, PUBLISHED + " "])
def test_bad_key_hashes_are_refused(text: str) -> None:
    """A mistyped, cut, foreign or older spelling is never taken for a key hash, and the refusal does not repeat it."""
    assert not key_hash.is_key_hash(text)
    with pytest.raises(PolicyError) as refusal:
        key_hash.decode_key_hash(text)
    assert text == "" or text not in str(refusal.value)


def test_old_signer_spelling_is_read() -> None:
    """The old spelling of session signers holds an Ed25519 key of 32 bytes; a key hash is not taken for one."""
    assert len(key_hash.decode_signer(OLD_SIGNER)) == 32
    with pytest.raises(PolicyError):
        key_hash.decode_signer(PUBLISHED)


@given(st.integers(0, 255), st.binary(max_size=60))
def test_encoding_comes_back(version: int, payload: bytes) -> None:
    """Decoding gives back what was encoded, leading zeros included."""
    assert key_hash.decode(key_hash.encode(version, payload)) == (version, payload)


@given(st.binary(min_size=32, max_size=32), st.data())
def test_one_wrong_character_is_noticed(digest: bytes, data: st.DataObject) -> None:
    """A single wrong character anywhere makes the checksum fail."""
    text = key_hash.encode_key_hash(digest)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([c for c in "123456789ABCabcxyz" if c != text[place]]))
    assert not key_hash.is_key_hash(text[:place] + other + text[place + 1 :])


@given(st.text(max_size=80))
def test_any_text_is_answered_in_words(text: str) -> None:
    """Whatever stands there, the answer is yes or a PolicyError."""
    try:
        key_hash.decode(text)
    except PolicyError as refusal:
        assert refusal.what  # noqa: PT017 - either outcome is right
