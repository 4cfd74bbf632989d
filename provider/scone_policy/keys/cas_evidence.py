"""Evidence of a CAS: what it claims, and whether it is that of the CAS at the other end of one connection.

Whoever is about to trust a CAS judges here (docs/cas-attestation.md): the provider, and a CAS that imports from another
one. How they ask for evidence, and in which words they refuse, is theirs. Nothing here asks anybody or tells the time.
"""

import base64
import binascii
import enum
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from scone_policy.keys.cas_certificate import evidence_key
from scone_policy.keys.key_hash import encode_key_hash, public_key_hash
from scone_policy.syntax import strict_json

FORMAT = "scone-cas-simulated-1"
"""Without a root in hardware: anybody can forge it, so that it always says `debug`."""
CONTEXT = b"pulumi-scone cas evidence v1\0"
"""Stands before the body under the signature."""
_SOFTWARE = b"scone-cas software v1\0"
_HEX = re.compile("[0-9a-f]{64}")
_TEXTS = ("format", "mrenclave", "mrsigner", "tcb_status", "cas_key", "software_key")
_NUMBERS = ("isvprodid", "isvsvn")


class Flaw(enum.Enum):
    """What is wrong with evidence: the first that was found, in this order."""

    NO_JSON = enum.auto()
    NO_OBJECT = enum.auto()
    UNREADABLE = enum.auto()
    FORMAT = enum.auto()
    """It may be good evidence, but of a kind that cannot be judged here."""
    CLAIMS = enum.auto()
    """A claim is missing or of another shape than the format has it."""
    CERTIFICATE = enum.auto()
    """The certificate of the connection stands for no key; the error's text follows `the certificate`."""
    CAS_KEY = enum.auto()
    """It is for another key than that of this connection."""
    SIGNATURE = enum.auto()
    NONCE = enum.auto()
    CONTRADICTION = enum.auto()
    """Its software key is not the one of its measurement."""
    SOFTWARE = enum.auto()
    """Other software than expected."""
    DEBUG = enum.auto()
    """A debug enclave's, which is not tolerated."""


class EvidenceError(ValueError):
    """Evidence that proves nothing. `flaw` says why; the text is for `Flaw.CERTIFICATE` alone."""

    def __init__(self, flaw: Flaw, text: str = "") -> None:
        super().__init__(text)
        self.flaw = flaw


@dataclass(frozen=True, kw_only=True)
class CasEvidence:
    """What a CAS says about itself, signature and freshness checked. Hex in lower case, key hashes Base58Check.

    `session_encryption_key`: X25519, 32 bytes in hex; None where the CAS names none.
    """

    format: str
    debug: bool
    mrenclave: str
    mrsigner: str
    isvprodid: int
    isvsvn: int
    tcb_status: str
    cas_key: str
    software_key: str
    session_encryption_key: str | None = None


def software_key(mrenclave: bytes) -> str:
    """Names the program rather than the instance, spelt like a key hash. `mrenclave`: 32 bytes."""
    return encode_key_hash(hashlib.sha256(_SOFTWARE + mrenclave).digest())


def verify_evidence(answer: bytes, *, certificate: x509.Certificate, nonce: str, now: datetime) -> CasEvidence:
    """The claims in an answer to `/v1/attest`, when they are those of the CAS with this certificate, for this nonce.

    `certificate`: the one whose key the other end of the connection has proven to hold. Says nothing about whether
    the claims are good enough. Raises EvidenceError.
    """
    wrapped = _mapping(_object(answer).get("evidence"))
    body, signature = _bytes(wrapped.get("body")), _bytes(wrapped.get("signature"))
    claims = _object(body)
    if claims.get("format") != FORMAT:
        raise EvidenceError(Flaw.FORMAT)
    evidence = _claims(claims)
    try:
        key = evidence_key(certificate, claims.get("tls_key"), now=now)
    except ValueError as problem:
        raise EvidenceError(Flaw.CERTIFICATE, str(problem)) from None
    if not _same(evidence.cas_key, public_key_hash(key)):
        raise EvidenceError(Flaw.CAS_KEY)
    if not _has_signed(key, signature, CONTEXT + body):
        raise EvidenceError(Flaw.SIGNATURE)
    if not _same(claims.get("nonce"), nonce):
        raise EvidenceError(Flaw.NONCE)
    if not _same(evidence.software_key, software_key(bytes.fromhex(evidence.mrenclave))):
        raise EvidenceError(Flaw.CONTRADICTION)
    return evidence


def check_software(evidence: CasEvidence, *, expected: str, tolerates_debug: bool) -> None:
    """Whether verified evidence is of the expected software (`software_key`). Raises EvidenceError unless it is."""
    if not _same(evidence.software_key, expected):
        raise EvidenceError(Flaw.SOFTWARE)
    if evidence.debug and not tolerates_debug:
        raise EvidenceError(Flaw.DEBUG)


def _claims(claims: Mapping[str, object]) -> CasEvidence:
    texts = {key: claims.get(key) for key in _TEXTS}
    numbers = {key: claims.get(key) for key in _NUMBERS}
    session_key = claims.get("session_encryption_key")
    right = all(isinstance(value, str) for value in texts.values())
    right = right and all(type(value) is int and value >= 0 for value in numbers.values())
    right = right and all(_HEX.fullmatch(str(texts[key])) for key in ("mrenclave", "mrsigner"))
    right = right and (session_key is None or (isinstance(session_key, str) and bool(_HEX.fullmatch(session_key))))
    # Evidence without a root in hardware that denies to be debug would pass for what it is not.
    if not right or claims.get("debug") is not True:
        raise EvidenceError(Flaw.CLAIMS)
    return CasEvidence(debug=True, session_encryption_key=session_key, **texts, **numbers)  # type: ignore[arg-type]


def _has_signed(key: object, signature: bytes, message: bytes) -> bool:
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            return True
    except InvalidSignature:
        pass
    return False


def _same(claimed: object, expected: str) -> bool:
    return isinstance(claimed, str) and hmac.compare_digest(claimed.encode(), expected.encode())


def _object(text: bytes) -> Mapping[str, object]:
    try:
        found = strict_json.decode(text)
    except ValueError:
        raise EvidenceError(Flaw.NO_JSON) from None
    return _mapping(found)


def _mapping(found: object) -> Mapping[str, object]:
    if not isinstance(found, dict):
        raise EvidenceError(Flaw.NO_OBJECT)
    return found


def _bytes(value: object) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise EvidenceError(Flaw.UNREADABLE)
