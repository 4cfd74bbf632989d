"""PEM texts in their one spelling: certificates, public and private keys (session language, sections 3 and 6)."""

import base64
import binascii
import re
from collections.abc import Callable
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP384R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from scone_policy.errors import PolicyError, RuleError
from scone_policy.keys.key_hash import decode_signer
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.placeholders import is_reference
from scone_policy.syntax.scalars import text

_T = TypeVar("_T")

CERTIFICATE, PUBLIC_KEY, PRIVATE_KEY = "CERTIFICATE", "PUBLIC KEY", "PRIVATE KEY"
_CONVERT = {
    CERTIFICATE: "Write it as a block (`value: |`); openssl x509 -in FILE converts it.",
    PUBLIC_KEY: "Write it as a block (`value: |`); openssl pkey -pubin -in FILE -pubout converts it.",
    PRIVATE_KEY: "Write it as a block (`value: |`); openssl pkcs8 -topk8 -nocrypt -in FILE converts it.",
}

_BLOCK = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----(?P<body>[A-Za-z0-9+/=\s]+)-----END (?P=label)-----\s*")


def blocks(found: str, label: str) -> list[bytes]:
    """DER of each block of a PEM text that holds nothing but blocks with this label. Raises ValueError."""
    found = found.strip() + "\n"
    end, ders = 0, []
    for match in _BLOCK.finditer(found):
        if match.start() != end or match["label"] != label:
            break
        end = match.end()
        try:
            ders.append(base64.b64decode("".join(match["body"].split()), validate=True))
        except binascii.Error:
            raise RuleError(
                f"a PEM {label.lower()} is damaged: its body is not base64", fix="Copy it again, whole."
            ) from None
    if not ders or end != len(found):
        raise RuleError(f"must be PEM: -----BEGIN {label}-----, base64, -----END {label}-----", fix=_CONVERT[label])
    return ders


def armour(label: str, der: bytes) -> str:
    """PEM with lines of 64 characters and one line break at the end."""
    lines = re.findall(".{1,64}", base64.b64encode(der).decode())
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def certificates(found: str) -> str:
    """One or more X.509 certificates. Raises ValueError when one is none."""
    ders = blocks(found, CERTIFICATE)
    for der in ders:
        _loaded(x509.load_der_x509_certificate, der, "certificate")
    return "".join(armour(CERTIFICATE, der) for der in ders)


def private_key(found: str) -> str:
    """One unencrypted PKCS#8 private key. Raises ValueError, in which the key does not stand."""
    (der,) = _one(blocks(found, PRIVATE_KEY))
    _loaded(lambda key: load_der_private_key(key, password=None), der, "private key")
    return armour(PRIVATE_KEY, der)


def is_p384(key: str) -> bool:
    """True when a private key in PEM is one on the curve P-384, as ES384 needs it. Raises ValueError."""
    (der,) = _one(blocks(key, PRIVATE_KEY))
    found = _loaded(lambda one: load_der_private_key(one, password=None), der, "private key")
    return isinstance(found, EllipticCurvePrivateKey) and isinstance(found.curve, SECP384R1)


def is_authority(chain: str) -> bool:
    """True when the first certificate of a PEM text may sign others (RFC 5280, 4.2.1.9). Raises ValueError."""
    certificate = _loaded(x509.load_der_x509_certificate, blocks(chain, CERTIFICATE)[0], "certificate")
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def public_key(found: str) -> str:
    """One SubjectPublicKeyInfo. Raises ValueError."""
    (der,) = _one(blocks(found, PUBLIC_KEY))
    _loaded(load_der_public_key, der, "public key")
    return armour(PUBLIC_KEY, der)


def signer(value: object) -> str:
    """A session signer, Ed25519 or P-384, as PEM; its old Base58Check spelling becomes PEM. Raises ValueError."""
    found = text(value).strip()
    if has_hole(found) or is_reference(found):
        return found
    if not found.startswith("-----"):
        try:
            key: object = Ed25519PublicKey.from_public_bytes(decode_signer(found))
        except PolicyError:
            raise RuleError(
                "a signer must be a public key as PEM (Ed25519 or P-384), or its old spelling",
                fix=_CONVERT[PUBLIC_KEY],
            ) from None
    else:
        (der,) = _one(blocks(found, PUBLIC_KEY))
        key = _loaded(load_der_public_key, der, "public key")
    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP384R1)
    ):
        return armour(PUBLIC_KEY, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    raise RuleError("a signer must have an Ed25519 or a P-384 key", fix="Make one: openssl genpkey -algorithm ed25519.")


def _one(found: list[bytes]) -> list[bytes]:
    if len(found) != 1:
        raise RuleError("must be one PEM block, not several", fix="Keep the one that is meant.")
    return found


def _loaded(load: Callable[[bytes], _T], der: bytes, what: str) -> _T:
    try:
        return load(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise RuleError(
            f"the PEM text holds no {what} that can be read", fix="Copy it again, whole; keys without a passphrase."
        ) from None
