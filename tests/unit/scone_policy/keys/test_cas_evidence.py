"""Evidence of a CAS counts only when every claim, the key, the signature and the nonce are right, and says of what."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from scone_policy.keys.cas_certificate import tls_name
from scone_policy.keys.cas_evidence import EvidenceError, Flaw, check_software, software_key, verify_evidence
from scone_policy.keys.key_hash import certificate_key_hash, encode_key_hash, public_key_hash

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY, OTHER, TLS = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
NONCE = "n" * 43
MEASURED = hashlib.sha256(b"the program").digest()
SOFTWARE = encode_key_hash(hashlib.sha256(b"scone-cas software v1\0" + MEASURED).digest())
ABSENT = object()


def certificate_of(key, *, signer=None, vouched_by=None, begin: datetime = NOW) -> x509.Certificate:
    """A certificate of a key: self-signed, or one that says which identity vouches for it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cas")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin - timedelta(days=1))
        .not_valid_after(begin + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if vouched_by is not None:
        uri = x509.UniformResourceIdentifier(tls_name(vouched_by.public_key()))
        built = built.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
    return built.sign(signer or key, hashes.SHA256())


CERTIFICATE = certificate_of(KEY)
VOUCHED = certificate_of(TLS, signer=KEY, vouched_by=KEY)
CLAIMS = {
    "format": "scone-cas-simulated-1",
    "debug": True,
    "nonce": NONCE,
    "cas_key": public_key_hash(KEY.public_key()),
    "software_key": SOFTWARE,
    "mrenclave": MEASURED.hex(),
    "mrsigner": "00" * 32,
    "isvprodid": 0,
    "isvsvn": 0,
    "tcb_status": "simulated",
    "session_encryption_key": "ab" * 32,
    "version": "0.2.0",
}


def signed(body: bytes, *, key=KEY, context: bytes = b"pulumi-scone cas evidence v1\0") -> bytes:
    """An answer with this body, signed."""
    return wrapped(body, key.sign(context + body, ec.ECDSA(hashes.SHA256())))


def wrapped(body: bytes, signature: bytes) -> bytes:
    """An answer with this body and signature."""
    both = {"body": base64.b64encode(body).decode(), "signature": base64.b64encode(signature).decode()}
    return json.dumps({"evidence": both}).encode()


def answer(**claims: object) -> bytes:
    """An answer with good claims but for these."""
    return signed(json.dumps({key: value for key, value in (CLAIMS | claims).items() if value is not ABSENT}).encode())


def flaw(text: bytes, *, certificate: x509.Certificate = CERTIFICATE, nonce: str = NONCE, now: datetime = NOW) -> Flaw:
    """Why it is refused."""
    with pytest.raises(EvidenceError) as refused:
        verify_evidence(text, certificate=certificate, nonce=nonce, now=now)
    return refused.value.flaw


def test_good_evidence() -> None:
    """All claims come out as they were made; what the format does not know is not looked at."""
    found = verify_evidence(answer(), certificate=CERTIFICATE, nonce=NONCE, now=NOW)
    assert vars(found) == {key: value for key, value in CLAIMS.items() if key not in ("nonce", "version")}
    for more in ({"session_encryption_key": ABSENT}, {"session_encryption_key": None}):
        older = verify_evidence(answer(**more), certificate=CERTIFICATE, nonce=NONCE, now=NOW)
        assert older.session_encryption_key is None
    assert verify_evidence(answer(new=1), certificate=CERTIFICATE, nonce=NONCE, now=NOW) == found
    assert software_key(MEASURED) == SOFTWARE


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"format": "sgx-dcap"}, Flaw.FORMAT),
        ({"format": ABSENT}, Flaw.FORMAT),
        ({"debug": False}, Flaw.CLAIMS),
        ({"debug": 1}, Flaw.CLAIMS),
        ({"debug": "true"}, Flaw.CLAIMS),
        ({"debug": ABSENT}, Flaw.CLAIMS),
        ({"nonce": NONCE[:-1]}, Flaw.NONCE),
        ({"nonce": NONCE.upper()}, Flaw.NONCE),
        ({"nonce": ABSENT}, Flaw.NONCE),
        ({"nonce": 1}, Flaw.NONCE),
        ({"nonce": "ä"}, Flaw.NONCE),
        ({"cas_key": public_key_hash(OTHER.public_key())}, Flaw.CAS_KEY),
        ({"cas_key": ""}, Flaw.CAS_KEY),
        ({"cas_key": ABSENT}, Flaw.CLAIMS),
        ({"cas_key": 1}, Flaw.CLAIMS),
        ({"software_key": software_key(bytes(32))}, Flaw.CONTRADICTION),
        ({"software_key": ABSENT}, Flaw.CLAIMS),
        ({"mrenclave": "00" * 32}, Flaw.CONTRADICTION),
        ({"mrenclave": MEASURED.hex().upper()}, Flaw.CLAIMS),
        ({"mrenclave": MEASURED.hex()[:-1]}, Flaw.CLAIMS),
        ({"mrenclave": MEASURED.hex() + "\n"}, Flaw.CLAIMS),
        ({"mrenclave": ABSENT}, Flaw.CLAIMS),
        ({"mrsigner": "zz" * 32}, Flaw.CLAIMS),
        ({"mrsigner": ABSENT}, Flaw.CLAIMS),
        ({"isvprodid": -1}, Flaw.CLAIMS),
        ({"isvprodid": True}, Flaw.CLAIMS),
        ({"isvprodid": 0.0}, Flaw.CLAIMS),
        ({"isvprodid": ABSENT}, Flaw.CLAIMS),
        ({"isvsvn": "0"}, Flaw.CLAIMS),
        ({"isvsvn": ABSENT}, Flaw.CLAIMS),
        ({"tcb_status": None}, Flaw.CLAIMS),
        ({"tcb_status": ABSENT}, Flaw.CLAIMS),
        ({"session_encryption_key": "AB" * 32}, Flaw.CLAIMS),
        ({"session_encryption_key": ""}, Flaw.CLAIMS),
        ({"session_encryption_key": 1}, Flaw.CLAIMS),
    ],
)
def test_each_wrong_claim_is_refused(claims: dict[str, object], expected: Flaw) -> None:
    """Evidence with one claim that is wrong, of another type, or missing is refused for that."""
    assert flaw(answer(**claims)) is expected


BODY = json.dumps(CLAIMS).encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", Flaw.NO_JSON),
        (b"[" * 100_000, Flaw.NO_JSON),
        (b"\xff", Flaw.NO_JSON),
        (b'{"evidence": {}, "evidence": {}}', Flaw.NO_JSON),
        (b"[]", Flaw.NO_OBJECT),
        (b"{}", Flaw.NO_OBJECT),
        (b'{"evidence": []}', Flaw.NO_OBJECT),
        (b'{"evidence": {}}', Flaw.UNREADABLE),
        (b'{"evidence": {"body": "e30=", "signature": 1}}', Flaw.UNREADABLE),
        (b'{"evidence": {"body": "!", "signature": ""}}', Flaw.UNREADABLE),
        (b'{"evidence": {"body": "e30", "signature": ""}}', Flaw.UNREADABLE),
        (signed(b"[]"), Flaw.NO_OBJECT),
        (signed(b"no"), Flaw.NO_JSON),
        (signed(BODY.replace(b"{", b'{"debug": true, ', 1)), Flaw.NO_JSON),
        (signed(BODY.replace(b'"simulated"', b"NaN")), Flaw.NO_JSON),
        (signed(BODY.replace(b"simulated", b"\\ud800", 2)), Flaw.NO_JSON),
        (signed(BODY, key=OTHER), Flaw.SIGNATURE),
        (signed(BODY, context=b""), Flaw.SIGNATURE),
        (signed(BODY, context=b"pulumi-scone cas evidence v2\0"), Flaw.SIGNATURE),
        (wrapped(BODY, b""), Flaw.SIGNATURE),
        (wrapped(BODY + b" ", base64.b64decode(json.loads(signed(BODY))["evidence"]["signature"])), Flaw.SIGNATURE),
    ],
)
def test_each_wrong_envelope_is_refused(text: bytes, expected: Flaw) -> None:
    """What cannot be read in one way only, or was signed by another key, for another purpose, or over other bytes."""
    assert flaw(text) is expected


def test_evidence_is_bound_to_the_connection() -> None:
    """It counts where the key that signed it is that of the connection, and for the nonce that was sent on it."""
    assert flaw(answer(), certificate=certificate_of(OTHER)) is Flaw.CAS_KEY
    assert flaw(answer(), nonce="m" * 43) is Flaw.NONCE
    assert flaw(answer(), nonce="") is Flaw.NONCE
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert flaw(answer(cas_key=public_key_hash(key.public_key())), certificate=certificate_of(key)) is Flaw.SIGNATURE


def test_evidence_of_an_identity_apart_from_the_tls_key() -> None:
    """It must name the very TLS key of the connection, whose certificate the identity has signed and that is valid."""
    named = answer(tls_key=certificate_key_hash(VOUCHED))
    assert verify_evidence(named, certificate=VOUCHED, nonce=NONCE, now=NOW).cas_key == CLAIMS["cas_key"]
    for wrong in (ABSENT, CLAIMS["cas_key"], "", 1):
        assert flaw(answer(tls_key=wrong), certificate=VOUCHED) is Flaw.CERTIFICATE
    forged = certificate_of(TLS, signer=OTHER, vouched_by=KEY)
    assert flaw(answer(tls_key=certificate_key_hash(forged)), certificate=forged) is Flaw.CERTIFICATE
    assert flaw(named, certificate=VOUCHED, now=NOW + timedelta(days=31)) is Flaw.CERTIFICATE
    with pytest.raises(EvidenceError, match=r"^is not valid at this time"):
        verify_evidence(named, certificate=VOUCHED, nonce=NONCE, now=NOW - timedelta(days=2))


def test_software() -> None:
    """Verified evidence passes for its own software key where debug is tolerated, and in no other case."""
    found = verify_evidence(answer(), certificate=CERTIFICATE, nonce=NONCE, now=NOW)
    check_software(found, expected=SOFTWARE, tolerates_debug=True)
    for expected, tolerates, why in [
        (SOFTWARE, False, Flaw.DEBUG),
        (software_key(bytes(32)), True, Flaw.SOFTWARE),
        (software_key(bytes(32)), False, Flaw.SOFTWARE),
        (SOFTWARE[:-1], True, Flaw.SOFTWARE),
        ("", True, Flaw.SOFTWARE),
    ]:
        with pytest.raises(EvidenceError) as refused:
            check_software(found, expected=expected, tolerates_debug=tolerates)
        assert refused.value.flaw is why


def test_what_decides_is_compared_in_constant_time(monkeypatch) -> None:
    """The key, the nonce and both software keys go through `hmac.compare_digest`, the right ones and the wrong."""
    seen: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def compare(claimed: bytes, expected: bytes) -> bool:
        seen.append((claimed, expected))
        return real(claimed, expected)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    found = verify_evidence(answer(), certificate=CERTIFICATE, nonce=NONCE, now=NOW)
    check_software(found, expected=SOFTWARE, tolerates_debug=True)
    compared = [CLAIMS["cas_key"], NONCE, SOFTWARE, SOFTWARE]
    assert seen == [(str(text).encode(),) * 2 for text in compared]
    seen.clear()
    assert flaw(answer(nonce="x")) is Flaw.NONCE
    assert seen[-1] == (b"x", NONCE.encode())


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_any_answer_is_refused_in_one_way(text: bytes | str) -> None:
    """Nothing that is no evidence causes another error, in the envelope or under the signature."""
    raw = text if isinstance(text, bytes) else text.encode()
    for one in (raw, signed(raw)):
        assert isinstance(flaw(one), Flaw)
