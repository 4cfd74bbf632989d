"""Certificates that are secrets: issued, judged whether they still hold, and put together with their chain and key."""

from collections.abc import Callable
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scone_cas.keys import certificates, signing_keys
from scone_cas.keys.certificates import Issuer
from scone_cas.keys.signing_keys import SigningKey
from scone_cas.secrets.definitions import certificate_of, in_words, kind_of, named, spki
from scone_cas.secrets.dependencies import SecretValues
from scone_cas.secrets.value import CERTIFICATES, Value, from_stored
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_policy.keys import pem
from scone_policy.model.secrets import Secret


def issued(values: SecretValues, live: SessionSnapshot, name: str, now: datetime) -> Value:
    """A new certificate for a secret that CAS generates, without its other parts. Raises Refusal."""
    secret = live.session.secrets[name]
    assert secret.private_key is not None
    with in_words(live, name, "private_key"):
        key = values.signing_key(live, named(live, secret.private_key))
    with in_words(live, name, "issuer" if secret.issuer else ""):
        issuer = _issuer(values, live, secret)
        signer = _issuer_key(values, live, secret) if issuer is not None else key
        if issuer is not None and spki(issuer.certificate) != signing_keys.public_der(signer):
            raise ValueError("names a certificate of another key than the one that is reachable")
        certificate = certificates.issue(
            name, secret, subject_key=key.public_key(), signer=signer, issuer=issuer, now=now
        )
    return Value(kind=kind_of(secret), content=certificate.public_bytes(Encoding.DER))


def is_stale(values: SecretValues, live: SessionSnapshot, name: str, now: datetime) -> bool:
    """Whether a stored certificate must be made anew: it ends soon, or its issuer or itself has another key."""
    secret = live.session.secrets[name]
    with in_words(live, name):
        certificate = certificate_of(live, name)
        return _is_stale(values, live, secret, certificate, issuer=_issuer(values, live, secret), now=now)


def _is_stale(
    values: SecretValues,
    live: SessionSnapshot,
    secret: Secret,
    certificate: x509.Certificate,
    *,
    issuer: Issuer | None,
    now: datetime,
) -> bool:
    if certificates.is_due(certificate, now):
        return True
    if issuer is not None and not certificates.is_signed_by(certificate, issuer):
        return True
    key = named(live, secret.private_key)
    # A key of the session itself changes with the session only, and then the certificate is made anew.
    may_change = live.session.secrets[key].import_ is not None or values.is_held(live.session.name, key)
    return may_change and signing_keys.public_der(values.signing_key(live, key)) != spki(certificate)


def certificate_value(
    values: SecretValues,
    live: SessionSnapshot,
    name: str,
    *,
    now: datetime,
    renew: Callable[[SessionSnapshot, str], bytes],
) -> Value:
    """The certificate of a secret, given or stored, with its chain and, where it may be known, its key.

    One that is stale is replaced by what `renew` gives. Raises ValueError, in words, and Refusal.
    """
    secret = live.session.secrets[name]
    if secret.value is not None:
        content, *above = pem.blocks(secret.value, pem.CERTIFICATE)
        issuer = _issuer(values, live, secret)
        own = "".join(pem.armour(pem.CERTIFICATE, der) for der in above).encode()
        chain = own if issuer is None else issuer.whole_chain
    else:
        issuer = _issuer(values, live, secret)
        certificate = certificate_of(live, name)
        if _is_stale(values, live, secret, certificate, issuer=issuer, now=now):
            certificate = certificates.load(from_stored(kind_of(secret), renew(live, name)).content)
        content = certificate.public_bytes(Encoding.DER)
        chain = issuer.whole_chain if issuer is not None else b""
    more, signer = {"chain": chain}, None
    if secret.private_key is not None:
        key = named(live, secret.private_key)
        if secret.value is not None and signing_keys.public_der(values.signing_key(live, key)) != spki(
            certificates.load(content)
        ):
            raise ValueError(f"the certificate is not one of the key {key}")
        found = values.value(live, key)
        signer = found.signer
        if signer is None:
            more["private_key"] = found.content
    return Value(kind=kind_of(secret), content=content, more=more, signer=signer)


def _issuer(values: SecretValues, live: SessionSnapshot, secret: Secret) -> Issuer | None:
    if secret.issuer is None:
        return None
    name = named(live, secret.issuer)
    found = values.value(live, name)
    if found.kind not in CERTIFICATES:
        raise ValueError(f"{name} is a secret of kind {found.kind}, not x509-ca")
    return Issuer(certificate=certificates.load(found.content), chain=found.more.get("chain", b""))


def _issuer_key(values: SecretValues, live: SessionSnapshot, secret: Secret) -> SigningKey:
    """The key of the issuer, which need not be known where the issuer only is imported."""
    name = named(live, secret.issuer)
    issuer = live.session.secrets[name]
    if issuer.private_key is not None:
        return values.signing_key(live, named(live, issuer.private_key))
    found = values.value(live, name)
    if found.signer is not None:
        return found.signer
    key = found.more.get("private_key")
    if key is None:
        raise ValueError(
            f"the private key of {name} cannot be reached, and nothing can be signed without it: "
            "give private_key there, or import the certificate from where its key is"
        )
    return signing_keys.load(key)
