"""What a session, as it stands, says of its secrets: kinds, names, given values, stored certificates."""

from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scone_cas import log
from scone_cas.errors import KeyStoreError, Reason, Refusal
from scone_cas.keys import certificates
from scone_cas.secrets.value import Value, from_stored
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_policy.keys import pem
from scone_policy.model.secrets import Secret
from scone_policy.rules.secret_names import kinds_of
from scone_policy.syntax.placeholders import Placeholder, parts, resolve


def given(secret: Secret) -> Value:
    """The value that the description gives."""
    given, kind = str(secret.value), kind_of(secret)
    match kind:
        case "binary":
            return Value(kind=kind, content=bytes.fromhex(given))
        case "private-key" | "public-key":
            label = pem.PRIVATE_KEY if kind == "private-key" else pem.PUBLIC_KEY
            return Value(kind=kind, content=pem.blocks(given, label)[0])
    return Value(kind=kind, content=given.encode())


def certificate_of(live: SessionSnapshot, name: str) -> x509.Certificate:
    """The certificate that is stored for a secret that CAS generates."""
    kind = kind_of(live.session.secrets[name])
    return certificates.load(from_stored(kind, live.generated[name]).content)


def spki(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo (DER) that it certifies."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def kind_of(secret: Secret) -> str:
    """The kind of a secret that is no import without one."""
    assert secret.kind is not None
    return secret.kind


def named(live: SessionSnapshot, written: str | None) -> str:
    """The secret that a key such as `issuer` names, as its name or as a placeholder. Raises ValueError."""
    assert written is not None
    (part,) = parts(written)
    secrets = live.session.secrets
    if isinstance(part, Placeholder):
        return resolve(part, kinds_of(secrets))[0]
    if part not in secrets:
        raise ValueError(f"{part} is no secret of this session")
    return part


def place(live: SessionSnapshot, name: str) -> str:
    """A secret of a session, in words."""
    return f"secrets.{name} of '{live.session.name}'"


@contextmanager
def in_words(live: SessionSnapshot, name: str, key: str = "") -> Iterator[None]:
    """Turns ValueError, whose words are meant for the secret's owner, into a refusal; and what the key store says."""
    try:
        yield
    except KeyStoreError as problem:
        log.event("key-store-fault", session=live.session.name, secret=name, what=problem.what, where=problem.where)
        raise Refusal(Reason.UNAVAILABLE, f"{place(live, name)}: the CAS's key store: {problem.what}") from None
    except ValueError as problem:
        where = f"secrets.{name}.{key}" if key else f"secrets.{name}"
        raise Refusal(Reason.INVALID, f"{where} of '{live.session.name}': {problem}") from None
