"""Certificates of secrets: issued, judged for renewal, chained (session language, section 3, x509 and x509-ca)."""

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scone_cas.keys.signing_keys import SigningKey, VerifyingKey, signature_hash
from scone_policy.model.secret_kinds import MAX_COMMON_NAME
from scone_policy.model.secrets import Secret
from scone_policy.syntax import durations

_NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The end of a certificate that has none (RFC 5280, 4.1.2.5)."""
_SKEW = timedelta(minutes=5)
"""A certificate begins a little early: clocks of those who check it may be late."""
_RENEWED = 3
"""Renewed when less than this part of the life, a third, is left."""
_USAGE = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """Who signs a certificate: its own certificate and, PEM, those above it."""

    certificate: x509.Certificate
    chain: bytes = field(repr=False)

    @property
    def whole_chain(self) -> bytes:
        """The chain of what it signs, PEM, from itself to the root."""
        return self.certificate.public_bytes(Encoding.PEM) + self.chain


def load(der: bytes) -> x509.Certificate:
    """A certificate in DER. Raises ValueError."""
    return x509.load_der_x509_certificate(der)


def issue(
    name: str, secret: Secret, *, subject_key: VerifyingKey, signer: SigningKey, issuer: Issuer | None, now: datetime
) -> x509.Certificate:
    """A certificate for `subject_key` as the secret called `name` describes it, signed by `signer`.

    Without an issuer it is self-signed, and `signer` is the key of the subject. It ends with its issuer at the latest.
    Raises ValueError, in words for the secret's owner, when the description or the issuer does not allow it.
    """
    now = now.replace(microsecond=0)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _common_name(name, secret))])
    end = min(_end(secret, now), _checked_end(issuer, secret, now))
    identifier = x509.SubjectKeyIdentifier.from_public_key(subject_key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(subject_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
        .add_extension(_constraints(secret, issuer), critical=True)
        .add_extension(_key_usage(secret, subject_key), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(_authority(issuer, identifier), critical=False)
    )
    if secret.endpoint is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([_USAGE[secret.endpoint]]), critical=False)
    names = _alternative_names(secret)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, signature_hash(signer))


def is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether less than a third of its life since it was issued is left. What has no end is never due."""
    begin, end = certificate.not_valid_before_utc + _SKEW, certificate.not_valid_after_utc
    return end != _NEVER and now >= end - (end - begin) / _RENEWED


def is_signed_by(certificate: x509.Certificate, issuer: Issuer) -> bool:
    """Whether the signature is one of the issuer's present key; false once the issuer has another one."""
    try:
        certificate.verify_directly_issued_by(issuer.certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _common_name(name: str, secret: Secret) -> str:
    """As given; else the first DNS name, else the secret's name."""
    if secret.common_name is not None:
        return secret.common_name
    names = [*secret.dns, *(entry.removeprefix("dns:") for entry in secret.san if entry.startswith("dns:"))]
    first = names[0].rstrip(".") if names else name
    return first if len(first) <= MAX_COMMON_NAME else name[:MAX_COMMON_NAME]


def _end(secret: Secret, now: datetime) -> datetime:
    return _NEVER if secret.valid_for is None else now + timedelta(seconds=durations.seconds(secret.valid_for))


def _checked_end(issuer: Issuer | None, secret: Secret, now: datetime) -> datetime:
    """The end of the issuer. Raises ValueError when it may not sign this."""
    if issuer is None:
        return _NEVER
    constraints = _constraints_of(issuer.certificate)
    if constraints is None or not constraints.ca:
        raise ValueError("names a certificate that is not one of a CA: it cannot sign others")
    if secret.kind == "x509-ca" and constraints.path_length == 0:
        raise ValueError("names a CA that may not sign other CAs: its path length is 0")
    if issuer.certificate.not_valid_after_utc <= now:
        raise ValueError("names a CA whose certificate has expired")
    return issuer.certificate.not_valid_after_utc


def _constraints_of(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None


def _constraints(secret: Secret, issuer: Issuer | None) -> x509.BasicConstraints:
    """A CA may have CAs below it as deep as its issuer allows."""
    if secret.kind != "x509-ca":
        return x509.BasicConstraints(ca=False, path_length=None)
    above = _constraints_of(issuer.certificate) if issuer is not None else None
    limit = above.path_length if above is not None else None
    return x509.BasicConstraints(ca=True, path_length=None if limit is None else limit - 1)


def _key_usage(secret: Secret, key: VerifyingKey) -> x509.KeyUsage:
    is_ca = secret.kind == "x509-ca"
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        # What RSA key exchange in TLS 1.2 asks for.
        key_encipherment=not is_ca and isinstance(key, rsa.RSAPublicKey),
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(issuer: Issuer | None, own: x509.SubjectKeyIdentifier) -> x509.AuthorityKeyIdentifier:
    if issuer is None:
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
    try:
        found = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = issuer.certificate.public_key()
        assert isinstance(key, VerifyingKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)


def _alternative_names(secret: Secret) -> list[x509.GeneralName]:
    found: dict[x509.GeneralName, None] = {}
    for entry in [*(f"dns:{name}" for name in secret.dns), *secret.san]:
        sort, _, name = entry.partition(":")
        found[x509.DNSName(name.rstrip(".")) if sort == "dns" else x509.IPAddress(ipaddress.ip_address(name))] = None
    return list(found)
