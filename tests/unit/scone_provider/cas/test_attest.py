"""Evidence of a CAS is believed only when key, signature, format and nonce are right; in this order of refusals."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from scone_cas.identity.cas_evidence import CasEvidenceIssuer
from scone_cas.identity.cas_identity import TLS_DAYS, CasIdentity
from scone_provider.cas.attest import read_evidence
from scone_provider.errors import TrustError

NOW = datetime.now(UTC)  # the client judges by the clock
NONCE = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
CAS, OTHER = (CasIdentity.create(now=datetime(2026, 1, 1, tzinfo=UTC)) for _ in range(2))
SESSION_KEY = X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
GOOD: Any = CasEvidenceIssuer(CAS, bytes(32), SESSION_KEY).evidence(NONCE)["evidence"]
CLAIMS = json.loads(base64.b64decode(GOOD["body"]))


def answer(claims: object, *, signer: CasIdentity = CAS) -> bytes:
    """An answer of /v1/attest with these claims, signed."""
    body = json.dumps(claims).encode()
    signature = signer.key.sign(b"pulumi-scone cas evidence v1\0" + body, ec.ECDSA(hashes.SHA256()))
    return wrapped(body, signature)


def wrapped(body: bytes, signature: bytes) -> bytes:
    """The outer document."""
    both = {"body": base64.b64encode(body).decode(), "signature": base64.b64encode(signature).decode()}
    return json.dumps({"evidence": both}).encode()


def read(text: bytes, nonce: str = NONCE):
    """As the client reads it on a connection to CAS."""
    return read_evidence(text, certificate=CAS.certificate, nonce=nonce, url="cas.test")


def test_good_evidence() -> None:
    """The claims come out as they are."""
    found = read(json.dumps({"evidence": GOOD}).encode())
    assert found.cas_key == CAS.key_hash
    assert (found.debug, found.tcb_status, found.mrenclave) == (True, "simulated", "00" * 32)
    assert found.session_encryption_key == SESSION_KEY.public_bytes_raw().hex()


def test_evidence_of_an_older_cas() -> None:
    """Evidence that names no session encryption key is evidence all the same."""
    claims = {key: value for key, value in CLAIMS.items() if key != "session_encryption_key"}
    assert read(answer(claims)).session_encryption_key is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (answer(CLAIMS | {"cas_key": OTHER.key_hash}), "another key than its TLS key"),
        (answer(CLAIMS, signer=OTHER), "signature .* does not verify"),
        (wrapped(json.dumps(CLAIMS).encode(), b""), "signature .* does not verify"),
        (answer(CLAIMS | {"format": "sgx-dcap"}), "format that cannot be judged"),
        (answer(CLAIMS | {"nonce": "x"}), "not fresh"),
        (answer(CLAIMS | {"debug": False}), "no evidence"),
        (answer(CLAIMS | {"mrenclave": "AB" * 32}), "no evidence"),
        (answer(CLAIMS | {"isvsvn": True}), "no evidence"),
        (answer(CLAIMS | {"tcb_status": None}), "no evidence"),
        (answer(CLAIMS | {"session_encryption_key": "AB" * 32}), "no evidence"),
        (answer(CLAIMS | {"session_encryption_key": 1}), "no evidence"),
        (answer([]), "no evidence"),
        (b"{}", "no evidence"),
        (b"[" * 100_000, "no evidence"),
        (b'{"evidence": {"body": "!", "signature": ""}}', "no evidence"),
    ],
)
def test_bad_evidence(text: bytes, said: str) -> None:
    """Each flaw is a TrustError in words."""
    with pytest.raises(TrustError, match=said):
        read(text)


def test_evidence_is_good_for_one_nonce() -> None:
    """Evidence that was recorded earlier is not fresh."""
    with pytest.raises(TrustError, match="not fresh"):
        read(json.dumps({"evidence": GOOD}).encode(), nonce=NONCE[::-1])


HELD = CasIdentity.of_key(CAS.key, now=NOW)
FIRST, SECOND = (HELD.vouched_tls(now=NOW) for _ in range(2))


def test_identity_apart_from_the_tls_key() -> None:
    """Evidence of a CAS whose identity vouches for its TLS key is the identity's, and good on that connection alone."""
    text = json.dumps(CasEvidenceIssuer(HELD, bytes(32), SESSION_KEY, FIRST).evidence(NONCE)).encode()
    first, second = (one.certificates[0] for one in (FIRST, SECOND))
    assert read_evidence(text, certificate=first, nonce=NONCE, url="cas.test").cas_key == CAS.key_hash
    with pytest.raises(TrustError, match="another TLS key"):
        read_evidence(text, certificate=second, nonce=NONCE, url="cas.test")
    with pytest.raises(TrustError, match="another TLS key"):
        read_evidence(json.dumps({"evidence": GOOD}).encode(), certificate=second, nonce=NONCE, url="cas.test")


def test_identity_that_does_not_vouch() -> None:
    """A certificate that is over, or names an identity that did not sign it, is refused before its evidence counts."""
    text = json.dumps(CasEvidenceIssuer(HELD, bytes(32), SESSION_KEY, FIRST).evidence(NONCE)).encode()
    over = HELD.vouched_tls(now=NOW - timedelta(days=TLS_DAYS + 1)).certificates[0]
    with pytest.raises(TrustError, match="not valid at this time"):
        read_evidence(text, certificate=over, nonce=NONCE, url="cas.test")


@given(st.binary(max_size=200))
def test_any_answer_is_judged_in_words(text: bytes) -> None:
    """No answer makes the client fail in another way."""
    with pytest.raises(TrustError):
        read(text)
