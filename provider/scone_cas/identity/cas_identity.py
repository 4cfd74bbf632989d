"""The CAS's own key pair and certificate: made once, the root of its evidence, and what its TLS key answers for."""

import ipaddress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scone_policy.keys.cas_certificate import tls_name
from scone_policy.keys.key_hash import certificate_key_hash

TLS_DAYS = 398
"""Days for which an identity in a key store vouches for the TLS key of one start."""

_NAME, _TLS_NAME = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("cas", "cas tls"))
_NAMES = (x509.DNSName("cas"), x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
_YEARS = 30


@dataclass(frozen=True, kw_only=True)
class TlsKey:
    """What a port presents: a key in memory, its certificate, and after it those above it."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificates: tuple[x509.Certificate, ...]

    @classmethod
    def from_pem(cls, pem: bytes) -> "TlsKey":
        """What `to_pem` wrote."""
        key = load_pem_private_key(pem, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(key=key, certificates=tuple(x509.load_pem_x509_certificates(pem)))

    def to_pem(self) -> bytes:
        """Key and certificates in clear: only ever in memory."""
        return _pem(self.key) + b"".join(one.public_bytes(Encoding.PEM) for one in self.certificates)


@dataclass(frozen=True, kw_only=True)
class CasIdentity:
    """Key and self-signed certificate of a CAS. The key may be one that only signs: it lives in a key store then."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate

    @property
    def key_hash(self) -> str:
        """The certificate key hash, Base58Check: what clients pin."""
        return certificate_key_hash(self.certificate)

    @property
    def tls(self) -> TlsKey:
        """The identity as its own TLS key, where its key is in memory."""
        return TlsKey(key=self.key, certificates=(self.certificate,))

    @classmethod
    def create(cls, *, now: datetime) -> "CasIdentity":
        """A new P-256 key with a certificate for the name `cas`."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        certificate = (
            _certificate(key.public_key(), now, timedelta(days=365 * _YEARS), _NAMES)
            .subject_name(_NAME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key=key, certificate=certificate)

    @classmethod
    def of_key(cls, key: ec.EllipticCurvePrivateKey, *, now: datetime) -> "CasIdentity":
        """The identity of a P-256 key that is there already and may only sign, with a certificate that can vouch."""
        certificate = (
            _certificate(key.public_key(), now, timedelta(days=365 * _YEARS), _NAMES)
            .subject_name(_NAME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key=key, certificate=certificate)

    def vouched_tls(self, *, now: datetime) -> TlsKey:
        """A new TLS key that this identity vouches for, with its certificate (scone_policy.keys.cas_certificate)."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = (*_NAMES, x509.UniformResourceIdentifier(tls_name(self.key.public_key())))
        certificate = (
            _certificate(key.public_key(), now, timedelta(days=TLS_DAYS), names)
            .subject_name(_TLS_NAME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return TlsKey(key=key, certificates=(certificate, self.certificate))

    @classmethod
    def from_pem(cls, pem: bytes) -> "CasIdentity":
        """What `to_pem` wrote."""
        key = load_pem_private_key(pem, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(key=key, certificate=x509.load_pem_x509_certificate(pem))

    def to_pem(self) -> bytes:
        """Key and certificate in clear: only ever for sealing."""
        return _pem(self.key) + self.certificate.public_bytes(Encoding.PEM)


def _certificate(
    key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta, names: tuple[x509.GeneralName, ...]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(_NAME)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + life)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
