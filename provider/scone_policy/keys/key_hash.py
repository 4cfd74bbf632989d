"""Base58Check spellings of keys: certificate key hashes and the old form of session signers.

A certificate key hash is Base58Check (Bitcoin's alphabet, checksum from double SHA-256) with version byte 0x01 over
SHA-256 of the certificate's SubjectPublicKeyInfo (session language 0.3.10, access_policy).
"""

import hashlib
import hmac

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scone_policy.errors import PolicyError

KEY_HASH_VERSION = 0x01
SIGNER_VERSION = 0x0A

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_DIGEST_SIZE = 32
_CHECKSUM_SIZE = 4
_LONGEST = 128
"""Characters. Every spelling in use has about 51; the limit keeps the quadratic conversion cheap."""


def encode(version: int, payload: bytes) -> str:
    """Base58Check of one version byte and the payload."""
    raw = bytes([version]) + payload
    raw += _checksum(raw)
    number = int.from_bytes(raw, "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + digits


def decode(text: str) -> tuple[int, bytes]:
    """Version byte and payload of a Base58Check text. Raises PolicyError when it is none."""
    if not text or len(text) > _LONGEST:
        raise PolicyError("not a Base58Check text: wrong length", fix="copy the key hash again, whole")
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            raise PolicyError("not a Base58Check text: a character outside of its alphabet", fix="copy it again, whole")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    body, checksum = raw[:-_CHECKSUM_SIZE], raw[-_CHECKSUM_SIZE:]
    if not body or not hmac.compare_digest(checksum, _checksum(body)):
        raise PolicyError("not a Base58Check text: its checksum is wrong", fix="copy the key hash again, whole")
    return body[0], body[1:]


def encode_key_hash(digest: bytes) -> str:
    """The spelling of a key hash. `digest`: SHA-256 of a SubjectPublicKeyInfo, 32 bytes."""
    if len(digest) != _DIGEST_SIZE:
        raise ValueError("a key hash has 32 bytes")
    return encode(KEY_HASH_VERSION, digest)


def decode_key_hash(text: str) -> bytes:
    """The 32 bytes that a certificate key hash stands for. Raises PolicyError."""
    version, digest = decode(text)
    if version != KEY_HASH_VERSION or len(digest) != _DIGEST_SIZE:
        raise PolicyError("not a certificate key hash: another version byte or size", fix="give a certificate key hash")
    return digest


def decode_signer(text: str) -> bytes:
    """The 32 bytes of an Ed25519 key in the old spelling of session signers, read only. Raises PolicyError."""
    version, key = decode(text)
    if version != SIGNER_VERSION or len(key) != _DIGEST_SIZE:
        raise PolicyError("not a session signer: another version byte or size", fix="give its public key as PEM")
    return key


def is_key_hash(text: str) -> bool:
    """True when the text is a certificate key hash with a right checksum."""
    try:
        decode_key_hash(text)
    except PolicyError:
        return False
    return True


def public_key_hash(key: CertificatePublicKeyTypes) -> str:
    """The certificate key hash of certificates of a public key."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encode_key_hash(hashlib.sha256(spki).digest())


def certificate_key_hash(certificate: x509.Certificate) -> str:
    """The certificate key hash of a certificate."""
    return public_key_hash(certificate.public_key())


def _checksum(raw: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(raw).digest()).digest()[:_CHECKSUM_SIZE]


def pinned(cas_key: str) -> str:
    """A key of a CAS in its one spelling: 64 hex digits are the same 32 bytes. Raises ValueError."""
    if is_key_hash(cas_key):
        return cas_key
    return encode_key_hash(bytes.fromhex(cas_key))


def same_key(found: str, expected: str) -> bool:
    """Compare two key hashes."""
    return hmac.compare_digest(found.encode(), expected.encode())
