"""Encrypted sessions: a description, signed or not, that only one CAS can read (docs/sealed-sessions.md).

The shape is the session language's (section 10); the cipher is ours, because the vendor's is not public: HPKE
(RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from scone_policy.errors import PolicyError
from scone_policy.sealed.signed import utf8
from scone_policy.syntax.yaml_source import MAX_BYTES

KEY_SIZE = 32
"""Bytes of a session encryption key, of a seed, and of what `encryption_key` holds."""
LARGEST_TEXT = (MAX_BYTES - 128) // 4 * 3 - 16
"""Bytes: in base64, with the cipher's tag and the other key of the document, it fits into a request to a CAS."""
_CONTEXT = b"pulumi-scone encrypted session v1\0"
_SEED_CONTEXT = b"pulumi-scone encrypted session seed v1\0"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_KEM_ID = b"KEM\x00\x20"
_SUITE_ID = b"HPKE\x00\x20\x00\x01\x00\x02"
_KEYS = {"encrypted_session", "encryption_key"}
_COPY_KEY = "Copy it again, whole, from `scone cas show-identification --session-encryption-key`."
_ENCRYPT_AGAIN = "Encrypt the session again, and send what that printed."


def encrypt_session(text: str, *, recipient: bytes, seed: bytes) -> dict[str, str]:
    """The document `{encrypted_session, encryption_key}` that only the CAS with this session encryption key can open.

    `text`: a description, or the JSON of a signed one. `recipient`: X25519, 32 bytes (`cas_encryption_key` of the
    Meshfile, 64 hex digits). `seed`: 32 secret bytes; fresh ones each time, or, for a preview that must not change,
    a stack's secret: the same text, recipient and seed give the same bytes, any other text another key.
    Raises PolicyError.
    """
    if len(seed) != KEY_SIZE:
        raise ValueError("a seed has 32 bytes")
    if len(recipient) != KEY_SIZE:
        raise PolicyError("a session encryption key has 32 bytes", where="cas_encryption_key", fix=_COPY_KEY)
    content = utf8(text)
    if len(content) > LARGEST_TEXT:
        raise PolicyError(
            f"has {len(content)} bytes, and at most {LARGEST_TEXT} can be encrypted: "
            f"a CAS takes at most {MAX_BYTES} in a request, and encryption adds a third",
            where="session",
            fix="Leave out what is not needed, or split the session.",
        )
    own = hmac.digest(seed, _SEED_CONTEXT + recipient + hashlib.sha256(content).digest(), "sha256")
    encapsulated, sealed = _seal(content, recipient=recipient, ephemeral=X25519PrivateKey.from_private_bytes(own))
    return {"encrypted_session": _base64(sealed), "encryption_key": _base64(encapsulated)}


def decrypt_session(document: Mapping[str, object], *, key: X25519PrivateKey) -> str:
    """What was encrypted to this key. Raises PolicyError when it was not, or is no text."""
    if set(document) != _KEYS:
        raise PolicyError(
            "an encrypted session has exactly the keys encrypted_session and encryption_key", fix=_ENCRYPT_AGAIN
        )
    encapsulated = _unbase64(document, "encryption_key", largest=KEY_SIZE)
    sealed = _unbase64(document, "encrypted_session", largest=LARGEST_TEXT + 16)
    if len(encapsulated) != KEY_SIZE:
        raise PolicyError("must have 32 bytes", where="encryption_key", fix=_ENCRYPT_AGAIN)
    try:
        return _SUITE.decrypt(encapsulated + sealed, key, _CONTEXT).decode()
    except UnicodeDecodeError:
        raise PolicyError("is not UTF-8 text", where="encrypted_session", fix=_ENCRYPT_AGAIN) from None
    except (InvalidTag, ValueError):
        raise PolicyError(
            "the encrypted session does not open: it was changed, or encrypted to another CAS's key",
            where="encrypted_session",
            fix="encrypt it to the session encryption key that this CAS's evidence names",
        ) from None


def _seal(content: bytes, *, recipient: bytes, ephemeral: X25519PrivateKey) -> tuple[bytes, bytes]:
    """RFC 9180's SealBase (sections 4.1, 5.1 and 6.1) with the ephemeral key given: the library only draws its own."""
    encapsulated = ephemeral.public_key().public_bytes_raw()
    try:
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    except ValueError:
        raise PolicyError("is not a usable X25519 key", where="cas_encryption_key", fix=_COPY_KEY) from None
    shared = _expand(_KEM_ID, _extract(_KEM_ID, b"", b"eae_prk", shared), b"shared_secret", encapsulated + recipient)
    context = b"\0" + _extract(_SUITE_ID, b"", b"psk_id_hash", b"") + _extract(_SUITE_ID, b"", b"info_hash", _CONTEXT)
    secret = _extract(_SUITE_ID, shared, b"secret", b"")
    key = _expand(_SUITE_ID, secret, b"key", context)
    nonce = _expand(_SUITE_ID, secret, b"base_nonce", context, size=12)
    return encapsulated, AESGCM(key).encrypt(nonce, content, b"")


def _extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + secret, "sha256")


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, *, size: int = 32) -> bytes:
    return HKDFExpand(SHA256(), size, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info).derive(secret)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _unbase64(document: Mapping[str, object], name: str, *, largest: int) -> bytes:
    value = document[name]
    if isinstance(value, str) and len(value) <= largest * 4 // 3 + 4:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise PolicyError("must be base64, and not larger than a session", where=name, fix=_ENCRYPT_AGAIN)
