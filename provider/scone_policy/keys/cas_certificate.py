"""Which key a CAS's TLS certificate stands for: its own, or that of the identity which vouches for it.

A CAS whose identity key lives in a key store cannot serve TLS with it. It makes a key for TLS at each start, and its
identity key signs a certificate for it that says so: a URI in the subject alternative names holds the identity's
SubjectPublicKeyInfo (docs/cas-attestation.md). No other certificate of that key has such a name, so none can stand in.
"""

import base64
import binascii
import hmac
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import SignatureAlgorithmOID

from scone_policy.keys.key_hash import certificate_key_hash, public_key_hash

PREFIX = "pulumi-scone:tls-of:"
_LONGEST = 256
"""Characters of a SubjectPublicKeyInfo: that of a P-256 key has 122."""


def tls_name(identity: ec.EllipticCurvePublicKey) -> str:
    """The URI in the certificate of a TLS key that this identity vouches for."""
    spki = identity.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PREFIX + base64.urlsafe_b64encode(spki).rstrip(b"=").decode()


def is_vouched_for(certificate: x509.Certificate) -> bool:
    """True when the certificate says that another key vouches for its own, rightly or not. Raises ValueError."""
    return bool(_names(certificate))


def cas_public_key(certificate: x509.Certificate, *, now: datetime) -> CertificatePublicKeyTypes:
    """The CAS's key behind the certificate that a TLS peer has proven to hold.

    Raises ValueError, in words that follow `the certificate of the CAS`, when it refers to an identity that does not
    vouch for it, or not at this time.
    """
    names = _names(certificate)
    if not names:
        return certificate.public_key()
    if len(names) > 1:
        raise ValueError("names several identities")
    identity = _identity(names[0])
    if not _has_signed(identity, certificate):
        raise ValueError("names an identity that did not sign it")
    if _is_ca(certificate):
        raise ValueError("is one of a CA, which no TLS key is")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ValueError("is not valid at this time: its identity vouches for it no longer, or not yet")
    return identity


def cas_key_hash(certificate: x509.Certificate, *, now: datetime) -> str:
    """The certificate key hash of the CAS's key behind its TLS certificate. Raises ValueError like `cas_public_key`."""
    return public_key_hash(cas_public_key(certificate, now=now))


def evidence_key(certificate: x509.Certificate, tls_key: object, *, now: datetime) -> CertificatePublicKeyTypes:
    """The key that must have signed the evidence which comes over a connection with this certificate.

    `tls_key`: what the evidence claims under that name; where an identity only vouches for the TLS key it must name
    that very key, so that nobody with an earlier one passes evidence on. Raises ValueError like `cas_public_key`.
    """
    key = cas_public_key(certificate, now=now)
    if is_vouched_for(certificate):
        found = certificate_key_hash(certificate)
        if not hmac.compare_digest(str(tls_key).encode(), found.encode()):
            raise ValueError("is of another TLS key than its evidence names")
    return key


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [name for name in found.get_values_for_type(x509.UniformResourceIdentifier) if name.startswith(PREFIX)]
    except x509.ExtensionNotFound:
        return []
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise ValueError("has extensions that cannot be read") from None


def _identity(name: str) -> ec.EllipticCurvePublicKey:
    text = name.removeprefix(PREFIX)[:_LONGEST]
    try:
        spki = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        key = load_der_public_key(spki)
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) and tls_name(key) == name:
            return key
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        pass
    raise ValueError("names an identity that is no P-256 key")


def _has_signed(identity: ec.EllipticCurvePublicKey, certificate: x509.Certificate) -> bool:
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        return False
    try:
        identity.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return True
