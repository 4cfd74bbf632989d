"""Secrets shared between sessions of this CAS: an import holds while its owner exports to the importer (section 3)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scone_cas.messages import Refusal
from scone_cas.values import Value
from scone_policy.secrets import Export, Secret
from scone_policy.session import Session

if TYPE_CHECKING:
    from scone_cas.sessions import Live

_LONGEST_CHAIN = 8

Find = Callable[[str], "Live | None"]


@dataclass(frozen=True, kw_only=True)
class _Importer:
    """A secret of a session, on the way to where its value lives; `length` counts the imports so far."""

    session: str
    session_hash: str
    name: str
    secret: Secret
    length: int = 0


def check_imports(session: Session, session_hash: str, find: Find) -> None:
    """Raises Refusal unless every import of a session to be stored is exported to it."""
    for name, secret in session.secrets.items():
        if secret.import_ is not None:
            _follow(_Importer(session=session.name, session_hash=session_hash, name=name, secret=secret), find)


def value(live: "Live", name: str, find: Find) -> Value:
    """The value of a secret, wherever it lives. Raises Refusal when an import is not exported any more."""
    secret = live.session.secrets[name]
    if secret.import_ is None:
        return live.own_value(name)
    importer = _Importer(session=live.session.name, session_hash=live.hash, name=name, secret=secret)
    owner, owned = _follow(importer, find)
    return owner.own_value(owned)


def _follow(importer: _Importer, find: Find) -> tuple["Live", str]:
    """The session that holds the value, and the secret's name there."""
    wanted = importer.secret.import_
    assert wanted is not None
    where = f"secrets.{importer.name}.import of '{importer.session}'"
    if importer.length >= _LONGEST_CHAIN or wanted.session == importer.session:
        raise Refusal(400, f"{where}: more than {_LONGEST_CHAIN} imports one after the other, or a circle")
    owner = find(wanted.session)
    found = owner.session.secrets.get(wanted.secret) if owner is not None else None
    if owner is None or found is None or not _reaches(found.export, importer):
        raise Refusal(
            400,
            f"{where}: the session '{wanted.session}' does not exist, "
            f"or does not export a secret '{wanted.secret}' to this session",
        )
    kinds = (importer.secret.kind, found.kind)
    if None not in kinds and kinds[0] != kinds[1]:
        raise Refusal(400, f"{where}: '{wanted.secret}' has the kind {found.kind}, not {importer.secret.kind}")
    if found.import_ is None:
        return owner, wanted.secret
    onward = _Importer(
        session=wanted.session,
        session_hash=owner.hash,
        name=wanted.secret,
        secret=found,
        length=importer.length + 1,
    )
    return _follow(onward, find)


def _reaches(exports: tuple[Export, ...], importer: _Importer) -> bool:
    for export in exports:
        if export.namespace is not None and f"{importer.session}/".startswith(f"{export.namespace}/"):
            return True
        if export.session == importer.session and export.session_hash in (None, importer.session_hash):
            return True
    return False
