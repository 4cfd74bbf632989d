"""Who receives which secret: an import holds while its owner's newest version exports to the importer (section 3).

Each secret costs as many look-ups as its chain of imports is long, however many sessions there are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from scone_cas.errors import Reason, Refusal
from scone_cas.secrets.remote import RemoteSecret, check_kind
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_policy.keys.key_hash import pinned, same_key
from scone_policy.model.secret_sharing import Import
from scone_policy.model.secrets import Export, Secret
from scone_policy.model.security import DEBUG_MODE
from scone_policy.model.session import Session
from scone_policy.syntax.names import ROOT

_LONGEST_CHAIN = 8

Find = Callable[[str], SessionSnapshot | None]
Compares = Callable[[SessionSnapshot], bool]


@dataclass(frozen=True, kw_only=True)
class LocalSecret:
    """Where a value lives on this CAS. `as_public`: reached because anyone may read it, so without private parts."""

    owner: SessionSnapshot
    name: str
    as_public: bool = False


@dataclass(frozen=True, kw_only=True)
class _Importer:
    """A session that receives a secret, on the way to where its value lives; `length` counts the imports so far.

    `cas` is the proven key (hash) of the CAS of a session that is none of this one's: what is known of it is its name
    and its hash. `trusted` is whether that CAS is believed for exports that name no CAS.
    """

    session: str
    session_hash: str
    where: str
    tolerates_debug: bool = False
    cas: str | None = None
    trusted: bool = True
    kind: str | None = None
    as_public: bool = False
    length: int = 0
    compares: Compares | None = None

    @classmethod
    def of(cls, session: Session, session_hash: str, compares: "Compares | None" = None) -> "_Importer":
        """A session of this CAS."""
        return cls(
            compares=compares,
            session=session.name,
            session_hash=session_hash,
            where="",
            tolerates_debug=DEBUG_MODE in session.security.attestation.tolerate,
        )


def imports(
    session: Session, session_hash: str, find: Find, compares: Compares | None = None
) -> dict[str, LocalSecret | RemoteSecret]:
    """Where each imported secret of a session comes from. Raises Refusal unless each is exported to it.

    `compares`: whether who uploads it may find out if a hash is another session's; None where that was asked before.
    """
    importer = _Importer.of(session, session_hash, compares)
    return {
        name: _source(importer, name, secret, find)
        for name, secret in session.secrets.items()
        if secret.import_ is not None
    }


def locate(live: SessionSnapshot, name: str, find: Find) -> LocalSecret | RemoteSecret:
    """Where the value of a secret lives. Raises Refusal when an import is not exported any more."""
    secret = live.session.secrets[name]
    if secret.import_ is None:
        return LocalSecret(owner=live, name=name)
    return _source(_Importer.of(live.session, live.hash), name, secret, find)


def exported(
    import_: Import, *, importer: str, importer_hash: str, cas: str, trusted: bool, find: Find
) -> SessionSnapshot:
    """The session that exports a secret to one of the CAS with the key `cas` (hash). Raises Refusal.

    A CAS that is not `trusted` reaches what is exported to it by its key, and learns of nothing else (403; else 404).
    A namespace's hash is not known there: exports to a namespace by hash do not reach another CAS.
    """
    where = f"for '{importer}'"
    asker = _Importer(session=importer, session_hash=importer_hash, where=where, cas=cas, trusted=trusted)
    owner = find(import_.session)
    secret = owner.session.secrets.get(import_.secret) if owner is not None else None
    if owner is None or secret is None or not _reaches(secret.export, asker, find):
        raise _none(import_, where, Reason.UNKNOWN) if trusted else untrusted(cas, importer)
    return owner


def untrusted(cas: str | None, importer: str) -> Refusal:
    """One answer for all that an unknown CAS asks for and is not given: nobody learns names by asking."""
    return Refusal(Reason.FORBIDDEN, f"this CAS does not trust the key {cas} to speak for the session '{importer}'")


def _source(importer: _Importer, name: str, secret: Secret, find: Find) -> LocalSecret | RemoteSecret:
    """Follow an import to the session of this CAS that holds the value, or to where this CAS ends."""
    wanted = secret.import_
    assert wanted is not None
    here = replace(importer, where=f"secrets.{name}.import of '{importer.session}'", kind=secret.kind or importer.kind)
    if wanted.cas_url is not None:
        if here.as_public:
            raise Refusal(Reason.INVALID, f"{here.where}: '{wanted.secret}' lives on another CAS: import it from there")
        return RemoteSecret(
            importer=here.session,
            importer_hash=here.session_hash,
            tolerates_debug=here.tolerates_debug,
            kind=here.kind,
            source=wanted,
            where=here.where,
        )
    if here.length >= _LONGEST_CHAIN or wanted.session == here.session:
        raise Refusal(
            Reason.INVALID, f"{here.where}: more than {_LONGEST_CHAIN} imports one after the other, or a circle"
        )
    owner, found = _exporter(wanted, here, find)
    exported_to = _reaches(found.export, here, find)
    if not exported_to and not found.export_public:
        raise _none(wanted, here.where, Reason.INVALID, _version_hint(found.export, here))
    if wanted.session_hash is not None and here.compares is not None and not here.compares(owner):
        raise Refusal(
            Reason.FORBIDDEN,
            f"{here.where}: session_hash can be given by who may read the session '{wanted.session}', "
            "or where it has a salt: leave it out",
        )
    if wanted.session_hash not in (None, owner.hash):
        raise _other_hash(wanted, here.where)
    check_kind(found.kind, here.kind, here.where, wanted.secret)
    as_public = here.as_public or not exported_to
    if found.import_ is None:
        return LocalSecret(owner=owner, name=wanted.secret, as_public=as_public)
    onward = _Importer.of(owner.session, owner.hash)
    onward = replace(onward, kind=here.kind, as_public=as_public, length=here.length + 1)
    return _source(onward, wanted.secret, found, find)


def _exporter(wanted: Import, importer: _Importer, find: Find) -> tuple[SessionSnapshot, Secret]:
    owner = find(wanted.session)
    found = owner.session.secrets.get(wanted.secret) if owner is not None else None
    if owner is None or found is None:
        raise _none(wanted, importer.where, Reason.INVALID)
    return owner, found


def _none(wanted: Import, where: str, reason: Reason, hint: str = "") -> Refusal:
    """One answer for what does not exist and for what is not shared: nobody learns names by asking."""
    return Refusal(
        reason,
        f"{where}: the session '{wanted.session}' does not exist, "
        f"or does not export a secret '{wanted.secret}' to this session{hint}",
    )


def _other_hash(wanted: Import, where: str) -> Refusal:
    return Refusal(
        Reason.INVALID,
        f"{where}: the session '{wanted.session}' has another hash than session_hash says: "
        "read what changed there, then give its new hash",
    )


def _version_hint(exports: tuple[Export, ...], importer: _Importer) -> str:
    """Who is exported to by hash learns the own one: it changes with every update, and must be known beforehand."""
    if any(export.session == importer.session and not export.is_elsewhere for export in exports):
        return f" in this version: it exports to another session_hash than {importer.session_hash}"
    return ""


def _reaches(exports: tuple[Export, ...], importer: _Importer, find: Find) -> bool:
    return any(_covers(export, importer, find) for export in exports)


def _covers(export: Export, importer: _Importer, find: Find) -> bool:
    if export.is_elsewhere:
        if importer.cas is None or export.cas_key is None or not same_key(importer.cas, pinned(export.cas_key)):
            return False
    elif not importer.trusted:
        return False
    if export.session is not None:
        return export.session == importer.session and export.session_hash in (None, importer.session_hash)
    assert export.namespace is not None
    if export.namespace != ROOT and not f"{importer.session}/".startswith(f"{export.namespace}/"):
        return False
    if export.session_hash is None:
        return True
    namespace = find(export.namespace) if importer.cas is None else None
    return namespace is not None and namespace.hash == export.session_hash
