"""What placeholders in an access policy stand for: values of the session's secrets, as plain data (section 6)."""

from collections.abc import Callable, Iterator

from scone_cas.access import references, rights
from scone_cas.messages import Refusal
from scone_cas.values import Value
from scone_policy import fragments, pem
from scone_policy.placeholders import Placeholder, parts, resolve
from scone_policy.session import Session

_FRAGMENT = "config-fragment"
_ENTRIES = ("ascii", "x509", "x509-ca", "public-key", _FRAGMENT, None)
"""Kinds of secrets that can name somebody; None is an import that does not say its kind."""


def meaning(session: Session, reference: str, value: Callable[[str], Value]) -> object:
    """The text, PEM or tree that a placeholder of the access policy stands for. Raises ValueError when it is none."""
    try:
        found = value(_secret(session, reference))
    except Refusal as refusal:
        raise ValueError(refusal.message) from None
    match found.kind:
        case "ascii":
            return found.content.decode()
        case "x509" | "x509-ca":
            return pem.armour(pem.CERTIFICATE, found.content)
        case "public-key":
            return pem.armour(pem.PUBLIC_KEY, found.content)
        case "config-fragment":
            return fragments.load(found.content.decode())
    raise ValueError(f"a secret of kind {found.kind} names nobody")


def check_references(session: Session) -> None:
    """Raises Refusal for placeholders whose secret could never name anybody."""
    for where, reference, kinds in _all(session):
        name = _secret(session, reference)
        secret = session.secrets[name]
        if secret.kind not in kinds:
            wanted = ", ".join(kind for kind in kinds if kind)
            raise Refusal(400, f"{where}: {name} is a secret of kind {secret.kind}, and must be one of {wanted}")
        if secret.kind == "ascii" and secret.is_generated:
            raise Refusal(
                400, f"{where}: {name} is generated, and nobody is who a random text names: give its value or import it"
            )


def _all(session: Session) -> Iterator[tuple[str, str, tuple[str | None, ...]]]:
    policy = session.access_policy
    if policy.reference is not None:
        yield "access_policy", policy.reference, (_FRAGMENT, None)
        return
    for right, entries in rights(policy).items():
        for reference in references(entries):
            yield f"access_policy.{right}", reference, _ENTRIES


def _secret(session: Session, reference: str) -> str:
    (placeholder,) = parts(reference)
    assert isinstance(placeholder, Placeholder)
    name, _ = resolve(placeholder, {name: secret.kind for name, secret in session.secrets.items()})
    return name
