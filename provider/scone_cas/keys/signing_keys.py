"""Key pairs of secrets. Only the abstract classes of `cryptography` are used: a key may also live in a token."""

import functools

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

SigningKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey | rsa.RSAPrivateKey
VerifyingKey = ec.EllipticCurvePublicKey | Ed25519PublicKey | rsa.RSAPublicKey

_CURVES: dict[str, type[ec.EllipticCurve]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}
_NO_KEY = "holds no private key that can sign (EC, Ed25519 or RSA)"
_RSA = {"RSA-2048": 2048, "RSA-3072": 3072}


def generate(key_type: str) -> SigningKey:
    """A fresh key of one of the language's types (section 3, private-key). RSA takes up to seconds."""
    if key_type in _RSA:
        return rsa.generate_private_key(public_exponent=65537, key_size=_RSA[key_type])
    if key_type == "Ed25519":
        return Ed25519PrivateKey.generate()
    return ec.generate_private_key(_CURVES[key_type]())


def load(der: bytes) -> SigningKey:
    """The key in PKCS#8 DER. Raises ValueError, in which the key does not stand, when it cannot sign."""
    try:
        # Checking an RSA key takes a hundred times as long as signing with it. Those that people give were checked when
        # they were taken (scone_policy.keys.pem).
        return _signing(load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(_NO_KEY) from None


@functools.lru_cache(maxsize=64)
def load_pem(pem: str) -> SigningKey:
    """The key in unencrypted PEM of any of the usual frames, checked. Raises ValueError like `load`."""
    try:
        return _signing(load_pem_private_key(pem.encode(), password=None))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(_NO_KEY) from None


def _signing(key: object) -> SigningKey:
    if isinstance(key, SigningKey):
        return key
    raise TypeError


def private_der(key: SigningKey) -> bytes:
    """PKCS#8, unencrypted."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def public_der(key: SigningKey) -> bytes:
    """SubjectPublicKeyInfo of the public half."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signature_hash(key: SigningKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """The hash to sign certificates with: as strong as the key; Ed25519 takes none."""
    if isinstance(key, Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256:
        return hashes.SHA384() if key.curve.key_size <= 384 else hashes.SHA512()
    return hashes.SHA256()


def is_p384(key: SigningKey) -> bool:
    """Whether ES384 can be signed with it (RFC 7518, section 3.4)."""
    return isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1)


def sign_es384(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """ECDSA on P-384 with SHA-384: both numbers as 48 bytes (RFC 7518, section 3.4)."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA384())))
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def sign_ps256(key: rsa.RSAPrivateKey, message: bytes) -> bytes:
    """RSASSA-PSS with SHA-256 and a salt of 32 bytes (RFC 7518, section 3.5)."""
    return key.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())


def sign_rs256(key: rsa.RSAPrivateKey, message: bytes) -> bytes:
    """RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, section 3.3)."""
    return key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def key_type(key: SigningKey) -> str:
    """The session language's name of a key's type, as far as it has one."""
    public = key.public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        return f"P-{public.curve.key_size}"
    return "Ed25519" if isinstance(public, Ed25519PublicKey) else f"RSA-{public.key_size}"
