"""Signed sessions: a description with the signatures of those who agree to it (docs/sealed-sessions.md).

The shape is the session language's (section 10); what exactly is signed is ours: the vendor's is not public.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP384R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from scone_policy.errors import PolicyError
from scone_policy.keys import pem
from scone_policy.syntax import strict_json
from scone_policy.syntax.placeholders import is_reference
from scone_policy.syntax.yaml_source import MAX_BYTES

MOST_SIGNATURES = 64
_LARGEST_SIGNATURE = 256
"""Characters of base64. A P-384 signature has at most 140."""
_CONTEXT = b"pulumi-scone signed session v1\0"
_KEYS = {"session", "signatures"}

SigningKey = Ed25519PrivateKey | EllipticCurvePrivateKey
_SIGN_AGAIN = "Sign the session again, and send what that printed."


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A description whose signatures verified, and the keys that made them (SubjectPublicKeyInfo as PEM, sorted)."""

    text: str = field(repr=False)
    signers: tuple[str, ...]


def sign_session(text: str, *, keys: Sequence[SigningKey]) -> dict[str, object]:
    """The document `{session, signatures: [{signer, signature}]}`; same text and keys, same bytes.

    Keys are Ed25519 or P-384 (ECDSA with SHA-384, deterministic). Raises PolicyError for others, none, or one twice,
    and for a document that would be larger, as indented JSON, than a CAS takes in a request.
    """
    signatures = [{"signer": _signer_of(key), "signature": _base64(_sign(key, _message(text)))} for key in keys]
    document: dict[str, object] = {"session": text, "signatures": signatures}
    verify_signed(document)
    size = len(_written(document))
    if size > MAX_BYTES:
        raise PolicyError(
            f"signed, the session has {size} bytes as JSON, and a CAS takes at most {MAX_BYTES} in a request",
            where="session",
            fix="Leave out what is not needed, or split the session.",
        )
    return document


def parse_signed(text: str) -> dict[str, object] | None:
    """The document when the text is JSON of a signed session; None when it is a plain description.

    No description has the key `signatures`, so the two cannot be taken for each other. Raises PolicyError when a key
    stands there twice.
    """
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = strict_json.decode(text)
    except strict_json.RepeatedKeyError as problem:
        raise PolicyError(str(problem), fix=_SIGN_AGAIN) from None
    except ValueError:
        return None
    return found if isinstance(found, dict) and "signatures" in found else None


def verify_signed(document: Mapping[str, object]) -> Signed:
    """The description and its signers. Raises PolicyError unless there are signatures and every one verifies."""
    text, listed = document.get("session"), document.get("signatures")
    if set(document) != _KEYS or not isinstance(text, str) or not isinstance(listed, list):
        raise PolicyError(
            "a signed session has exactly the keys session (text) and signatures (a list)", fix=_SIGN_AGAIN
        )
    if not 0 < len(listed) <= MOST_SIGNATURES:
        raise PolicyError(
            f"a signed session has 1 to {MOST_SIGNATURES} signatures", where="signatures", fix="Sign with fewer keys."
        )
    message = _message(text)
    signers = [_verified(f"signatures.{number}", entry, message) for number, entry in enumerate(listed)]
    if len(set(signers)) != len(signers):
        raise PolicyError("the same signer signed twice", where="signatures", fix="sign once with each key")
    return Signed(text=text, signers=tuple(sorted(signers)))


def _verified(where: str, entry: object, message: bytes) -> str:
    if not isinstance(entry, Mapping) or set(entry) != {"signer", "signature"}:
        raise PolicyError("must have exactly the keys signer and signature", where=where, fix=_SIGN_AGAIN)
    try:
        signer = pem.signer(entry["signer"])
    except ValueError as problem:
        raise PolicyError(str(problem), where=f"{where}.signer", fix=getattr(problem, "fix", _SIGN_AGAIN)) from None
    if is_reference(signer):
        raise PolicyError("must be a public key as PEM", where=f"{where}.signer", fix=_SIGN_AGAIN)
    signature = _unbase64(entry["signature"], f"{where}.signature")
    key = load_pem_public_key(signer.encode())
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, message)
        else:
            assert isinstance(key, EllipticCurvePublicKey)
            key.verify(signature, message, ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise PolicyError(
            "the signature does not verify: the session is not what this signer signed",
            where=f"{where}.signature",
            fix="sign the session as it is now",
        ) from None
    return signer


def _written(document: Mapping[str, object]) -> str:
    return json.dumps(document, indent=1) + "\n"


def _sign(key: SigningKey, message: bytes) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key.curve, SECP384R1):
        return key.sign(message, ECDSA(hashes.SHA384(), deterministic_signing=True))
    raise PolicyError(
        "a signer must have an Ed25519 or a P-384 key",
        where="keys",
        fix="Make one: openssl genpkey -algorithm ed25519.",
    )


def _signer_of(key: SigningKey) -> str:
    return pem.armour(pem.PUBLIC_KEY, key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def utf8(text: str) -> bytes:
    """A session's text as bytes. Raises PolicyError for half of a character."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise PolicyError(
            "must be valid Unicode", where="session", fix="Write it again: half of a surrogate pair stands in it."
        ) from None


def _message(text: str) -> bytes:
    content = utf8(text)
    if len(content) > MAX_BYTES:
        raise PolicyError(
            f"a session has at most {MAX_BYTES} bytes",
            where="session",
            fix="Leave out what is not needed, or split it.",
        )
    return _CONTEXT + content


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _unbase64(value: object, where: str) -> bytes:
    if isinstance(value, str) and len(value) <= _LARGEST_SIGNATURE:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise PolicyError("must be a signature in base64", where=where, fix=_SIGN_AGAIN)
