"""What placeholders in an access policy stand for: values of the session's secrets, as plain data (section 6)."""

from collections.abc import Callable

from scone_cas.errors import Refusal
from scone_cas.secrets.value import Value
from scone_policy.keys import pem
from scone_policy.model.session import Session
from scone_policy.syntax import config_fragments
from scone_policy.syntax.placeholders import Placeholder, parts, resolve


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
            return config_fragments.load(found.content.decode())
    raise ValueError(f"a secret of kind {found.kind} names nobody")


def _secret(session: Session, reference: str) -> str:
    (placeholder,) = parts(reference)
    assert isinstance(placeholder, Placeholder)
    name, _ = resolve(placeholder, {name: secret.kind for name, secret in session.secrets.items()})
    return name
