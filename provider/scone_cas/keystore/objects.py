"""Objects of a token by their label: found, told apart, read where they may be, and judged by their protection."""

import os
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding

from scone_cas.errors import KeyStoreError, MissingObjectError
from scone_cas.keys import signing_keys
from scone_cas.keys.signing_keys import VerifyingKey

if TYPE_CHECKING:
    import pkcs11

NONCE_SIZE = 12
_KEY_SIZE = 32
_TAG_SIZE = 16
_LARGEST = 64 * 1024
_CURVES: dict[bytes, ec.EllipticCurve] = {
    bytes.fromhex("06082a8648ce3d030107"): ec.SECP256R1(),
    bytes.fromhex("06052b81040022"): ec.SECP384R1(),
}
"""CKA_EC_PARAMS, the DER of a curve's object identifier."""


def private_key(session: "pkcs11.Session", label: str) -> Any:  # noqa: ANN401 - its methods come with its mechanisms
    """The private key with this label. Raises KeyStoreError unless there is exactly one, which signs."""
    from pkcs11 import Attribute, ObjectClass  # noqa: PLC0415

    found = _only(session, label, ObjectClass.PRIVATE_KEY, "private key")
    if not found[Attribute.SIGN]:
        raise KeyStoreError("the key is not one to sign with (CKA_SIGN is false)", where=_place(label))
    return found


def public_key(session: "pkcs11.Session", label: str) -> VerifyingKey:
    """The public half of the private key with this label, found by the same CKA_ID. Raises KeyStoreError."""
    from pkcs11 import Attribute, KeyType, ObjectClass  # noqa: PLC0415

    same = {Attribute.ID: private_key(session, label)[Attribute.ID]}
    half = _only(session, label, ObjectClass.PUBLIC_KEY, "public key of the same CKA_ID", same)
    try:
        if half.key_type == KeyType.RSA:
            exponent, modulus = (int.from_bytes(half[a]) for a in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        point = bytes(half[Attribute.EC_POINT])  # in a DER OCTET STRING, or as it is
        if half.key_type == KeyType.EC_EDWARDS:
            return Ed25519PublicKey.from_public_bytes(point[-32:])
        curve = _CURVES[bytes(half[Attribute.EC_PARAMS])]
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, point[-(1 + 2 * (curve.key_size // 8)) :])
    except (KeyError, ValueError):
        raise KeyStoreError(
            "the key has a type that cannot be used here",
            where=_place(label),
            fix="use an EC key on P-256 or P-384, an RSA or an Ed25519 key",
        ) from None


def data(session: "pkcs11.Session", label: str) -> bytes:
    """The content of the data object with this label. Raises KeyStoreError."""
    from pkcs11 import Attribute, ObjectClass  # noqa: PLC0415

    content = bytes(_only(session, label, ObjectClass.DATA, "data object")[Attribute.VALUE])
    if not 0 < len(content) <= _LARGEST:
        raise KeyStoreError(f"the object must hold 1 to {_LARGEST} bytes", where=_place(label))
    return content


def secret_key(session: "pkcs11.Session", label: str) -> Any:  # noqa: ANN401 - see private_key
    """The AES-256 key with this label. Raises KeyStoreError unless there is exactly one."""
    from pkcs11 import Attribute, KeyType, ObjectClass  # noqa: PLC0415

    found = _only(session, label, ObjectClass.SECRET_KEY, "secret key")
    if found.key_type != KeyType.AES or found[Attribute.VALUE_LEN] != _KEY_SIZE:
        raise KeyStoreError("the key is no AES key of 32 bytes (CKA_VALUE_LEN)", where=_place(label))
    return found


def require_confined(key: "pkcs11.Key", label: str) -> None:
    """Raises KeyStoreError unless the key can never leave its token."""
    from pkcs11 import Attribute  # noqa: PLC0415

    if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
        raise KeyStoreError(
            "the key could be taken out of its token (CKA_EXTRACTABLE, or not CKA_SENSITIVE)",
            where=_place(label),
            fix="make a key in the token that is sensitive and not extractable",
        )


def encrypt(session: "pkcs11.Session", label: str, plaintext: bytes, context: bytes) -> bytes:
    """Nonce and AES-256-GCM ciphertext, made inside the token. Raises KeyStoreError."""
    nonce = os.urandom(NONCE_SIZE)
    return nonce + bytes(secret_key(session, label).encrypt(plaintext, **_gcm(nonce, context)))


def decrypt(session: "pkcs11.Session", label: str, sealed: bytes, context: bytes) -> bytes:
    """What `encrypt` made. Raises the library's error when it does not open: tokens differ in which."""
    key = secret_key(session, label)
    return bytes(key.decrypt(sealed[NONCE_SIZE:], **_gcm(sealed[:NONCE_SIZE], context)))


def extracted(session: "pkcs11.Session", label: str) -> bytes:
    """PKCS#8 DER of a private key that may leave the token: wrapped there for a key that lives for this moment.

    Raises KeyStoreError.
    """
    from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass  # noqa: PLC0415

    key = private_key(session, label)
    if not key[Attribute.EXTRACTABLE]:
        raise KeyStoreError(
            "the key cannot leave its token (CKA_EXTRACTABLE is false)",
            where=_place(label),
            fix="leave `deliver` out: CAS then signs with the key, and delivers it to nobody",
        )
    transport = os.urandom(32)
    wrapping: Any = session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE: transport,
            Attribute.WRAP: True,
            Attribute.TOKEN: False,
        }
    )
    try:
        wrapped = bytes(wrapping.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP_PAD))
        return signing_keys.private_der(
            signing_keys.load(_without_padding(aes_key_unwrap_with_padding(transport, wrapped)))
        )
    except (InvalidUnwrap, ValueError):
        raise KeyStoreError("the token gives the key in a form that cannot be read", where=_place(label)) from None
    finally:
        wrapping.destroy()


def _without_padding(der: bytes) -> bytes:
    """The one DER value at the beginning: SoftHSM fills its input up to whole blocks before it wraps it."""
    if len(der) < 4 or der[0] != 0x30:
        raise ValueError
    count = der[1] & 0x7F if der[1] & 0x80 else 0
    size = int.from_bytes(der[2 : 2 + count]) if count else der[1]
    return der[: 2 + count + size]


def _gcm(nonce: bytes, context: bytes) -> dict[str, Any]:
    from pkcs11 import GCMParams, Mechanism  # noqa: PLC0415

    return {"mechanism": Mechanism.AES_GCM, "mechanism_param": GCMParams(nonce, context, 8 * _TAG_SIZE)}


def _only(
    session: "pkcs11.Session", label: str, sort: "pkcs11.ObjectClass", words: str, more: "dict[Any, Any] | None" = None
) -> Any:  # noqa: ANN401 - the library's objects have attributes by their kind
    from pkcs11 import Attribute  # noqa: PLC0415

    found = list(session.get_objects({Attribute.CLASS: sort, Attribute.LABEL: label, **(more or {})}))
    if len(found) == 1:
        return found[0]
    if found:
        raise KeyStoreError(f"the token has {len(found)} of them: it must be one {words}", where=_place(label))
    raise MissingObjectError(
        f"the token has no {words} with this label", where=_place(label), fix="make or restore it, or correct the label"
    )


def _place(label: str) -> str:
    return f"object '{label}'"
