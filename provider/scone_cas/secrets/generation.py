"""Makes the values of secrets: at an upload those that are stored, and when asked for those that follow from others."""

import graphlib
import secrets
import string
from collections.abc import Iterator, Mapping, MutableMapping, Sequence

from scone_cas.errors import Reason, Refusal
from scone_cas.keys import signing_keys
from scone_cas.secrets import pgp
from scone_cas.secrets.resolver import SecretResolver
from scone_cas.secrets.value import CERTIFICATES, Value, to_stored
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_policy.model.secret_kinds import DEFAULT_KEY_TYPE, RSA_KEYS
from scone_policy.model.secrets import Secret
from scone_policy.model.session import Session
from scone_policy.rules.secret_names import kinds_of
from scone_policy.syntax.placeholders import Placeholder, parts, resolve

_CHARACTERS = string.ascii_letters + string.digits + string.punctuation
"""Printable ASCII without white space: about 6.5 bits a character."""
_KEPT = frozenset({"ascii", "binary", "pgp-key"})
_DRAWN = frozenset({*_KEPT, "private-key"})
"""Kinds that are drawn at random, from nothing else."""
_MOST_RSA_KEYS = 16
"""New ones in one upload: each takes a good part of a second."""
_MOST_NEW = 1000
"""New secrets of any kind: keys and certificates take up to a millisecond each, while all other writers wait."""
_LARGEST_NEW = 4 * 1024 * 1024
"""Bytes of new random texts and bytes in one upload."""


def generate(name: str, secret: Secret) -> Value:
    """A fresh value of a kind that is drawn at random: exactly the secret's size and type."""
    match secret.kind:
        case "binary":
            return Value(kind="binary", content=secrets.token_bytes(_size(secret)))
        case "private-key":
            return Value(kind="private-key", content=signing_keys.private_der(signing_keys.generate(_key_type(secret))))
        case "pgp-key":
            return pgp.generate(name)
    text = "".join(secrets.choice(_CHARACTERS) for _ in range(_size(secret)))
    return Value(kind="ascii", content=text.encode())


def carried(session: Session, before: SessionSnapshot | None) -> dict[str, bytes]:
    """The stored values that outlive an update (section 3, migration): name, kind, size and type of key are as before.

    A private key is kept only when both versions say `migrate: true`, a certificate never.
    """
    if before is None:
        return {}
    return {
        name: before.generated[name]
        for name, secret in session.secrets.items()
        if secret.is_generated and name in before.generated and _migrates(before.session.secrets.get(name), secret)
    }


def slow(view: SecretResolver, session: Session, before: SessionSnapshot | None) -> dict[str, bytes]:
    """Fresh values for those secrets that take long to make, so that no transaction waits for them. Raises Refusal."""
    kept = carried(session, before)
    _check_amount([one for name, one in session.secrets.items() if one.is_generated and name not in kept])
    found = {
        name: secret
        for name, secret in session.secrets.items()
        if secret.is_generated
        and secret.key_type in RSA_KEYS
        and name not in kept
        and not view.is_held(session.name, name)
    }
    if len(found) > _MOST_RSA_KEYS:
        raise Refusal(
            Reason.INVALID, f"secrets: at most {_MOST_RSA_KEYS} new RSA keys can be made at once, not {len(found)}"
        )
    return {name: to_stored(generate(name, secret)) for name, secret in found.items()}


def _check_amount(new: Sequence[Secret]) -> None:
    """Raises Refusal for more secrets to be made than an upload may ask for."""
    if len(new) > _MOST_NEW:
        raise Refusal(Reason.INVALID, f"secrets: at most {_MOST_NEW} can be generated at once, not {len(new)}")
    size = sum(_size(secret) for secret in new if secret.kind in ("ascii", "binary"))
    if size > _LARGEST_NEW:
        raise Refusal(
            Reason.INVALID,
            f"secrets: at most {_LARGEST_NEW} bytes can be generated at once, not {size}: make some smaller",
        )


def complete(
    view: SecretResolver, live: SessionSnapshot, values: MutableMapping[str, bytes], ready: Mapping[str, bytes]
) -> None:
    """Bring `values`, those carried over, to all that a session stores; and try what will be made when asked for.

    `live` is the session as it will be, over the same `values`. `ready`: fresh values that were made before. Raises
    Refusal with path and rule.
    """
    for name in _in_order(live.session):
        secret = live.session.secrets[name]
        if view.is_held(live.session.name, name):
            values.pop(name, None)
        elif secret.is_generated and secret.kind in _DRAWN and name not in values:
            values[name] = ready.get(name) or to_stored(generate(name, secret))
        elif secret.is_generated and secret.kind in CERTIFICATES:
            values[name] = to_stored(view.issued(live, name))
        view.check(live, name)


def _in_order(session: Session) -> Iterator[str]:
    """The secrets, each after those that it is made from. Raises Refusal when they go in a circle."""
    kinds = kinds_of(session.secrets)
    graph = {name: set(_sources(secret, kinds)) for name, secret in session.secrets.items()}
    try:
        yield from graphlib.TopologicalSorter(graph).static_order()
    except graphlib.CycleError as problem:
        circle = " from ".join(reversed(problem.args[1]))
        raise Refusal(Reason.INVALID, f"secrets.{problem.args[1][0]}: is made from itself: {circle}") from None


def _sources(secret: Secret, kinds: Mapping[str, str | None]) -> Iterator[str]:
    texts = [secret.application_secret, *(secret.payload or {}).values()]
    named = [secret.private_key, secret.issuer, secret.signer]
    yield from (text for text in named if text is not None and text in kinds)
    for text in filter(None, [*texts, *(item for item in named if item and "-----" not in item)]):
        for part in parts(text):
            if isinstance(part, Placeholder) and not part.name.startswith("self::"):
                yield resolve(part, kinds)[0]


def _migrates(old: Secret | None, new: Secret) -> bool:
    if old is None or not old.is_generated or (old.kind, old.size) != (new.kind, new.size):
        return False
    both = old.migrate is True and new.migrate is True
    return new.kind in _KEPT or (new.kind == "private-key" and both and _key_type(old) == _key_type(new))


def _key_type(secret: Secret) -> str:
    return secret.key_type or DEFAULT_KEY_TYPE


def _size(secret: Secret) -> int:
    assert isinstance(secret.size, int)
    return secret.size
