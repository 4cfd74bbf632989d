"""The CAS's own key pair and certificate: made once, used on both ports and for its evidence."""

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

from scone_policy.keyhash import certificate_key_hash

_NAME = "cas"
_YEARS = 30


@dataclass(frozen=True, kw_only=True)
class CasIdentity:
    """Key and self-signed certificate of a CAS."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate

    @property
    def key_hash(self) -> str:
        """The certificate key hash, Base58Check: what clients pin."""
        return certificate_key_hash(self.certificate)

    @classmethod
    def create(cls, *, now: datetime) -> "CasIdentity":
        """A new P-256 key with a certificate for the name `cas`."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
        names = x509.SubjectAlternativeName(
            [x509.DNSName(_NAME), x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365 * _YEARS))
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key=key, certificate=certificate)

    @classmethod
    def from_pem(cls, pem: bytes) -> "CasIdentity":
        """What `to_pem` wrote."""
        key = load_pem_private_key(pem, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(key=key, certificate=x509.load_pem_x509_certificate(pem))

    def to_pem(self) -> bytes:
        """Key and certificate in clear: only ever for sealing."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + self.certificate.public_bytes(Encoding.PEM)
