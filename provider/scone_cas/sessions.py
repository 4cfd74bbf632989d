"""Sessions as the CAS keeps them: create, replace by the right predecessor, read, history. Permission comes first."""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType

from scone_cas import description, root, sharing
from scone_cas.access import Caller, Decision, creator_key_hash, creator_of, effective, may_name_creator, names_creator
from scone_cas.access_values import meaning
from scone_cas.audit import Journal, Silent
from scone_cas.messages import Refusal
from scone_cas.store import AUDIT_NOTE, Store, Version
from scone_cas.values import Value, carried, explicit
from scone_policy.access import AccessPolicy
from scone_policy.names import ROOT, parent
from scone_policy.session import Session, is_retired

_CACHED = 512


@dataclass(frozen=True, kw_only=True)
class Live:
    """The newest version of a session, parsed, with the values it holds itself. Never changes: safe to share."""

    hash: str
    number: int
    session: Session
    creator: str | None
    generated: Mapping[str, bytes] = field(repr=False)
    salted: bool = False

    @property
    def public_hash(self) -> str | None:
        """The hash where anyone may know it: a salt stands in the session, or in one that it replaced."""
        return self.hash if self.salted else None

    @property
    def retired(self) -> bool:
        """True when nothing is left in it."""
        return is_retired(self.session)

    def own_value(self, name: str) -> Value:
        """The value of a secret that is not imported."""
        secret = self.session.secrets[name]
        assert secret.kind is not None
        content = self.generated[name] if secret.is_generated else explicit(secret)
        return Value(kind=secret.kind, content=content)


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """What an upload led to. `number` counts the versions of the name from 1."""

    name: str
    hash: str
    number: int
    salted: bool

    @property
    def public_hash(self) -> str | None:
        """The hash where anyone may know it, for logs."""
        return self.hash if self.salted else None


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Names of sessions right below a namespace, in order; `following`: the last of them, if there are more."""

    names: tuple[str, ...]
    following: str | None


class Sessions:
    """All sessions of one CAS. Safe for threads and for several processes on one store."""

    def __init__(self, store: Store, journal: Journal | None = None) -> None:
        self._store = store
        self._journal = journal or Silent()
        self._cache: OrderedDict[str, Live] = OrderedDict()
        self._lock = threading.Lock()

    def live(self, name: str) -> Live | None:
        """The newest version of a session. One index look-up when it is known already."""
        session_hash = self._store.current_hash(name)
        if session_hash is None:
            return _DEFAULT_ROOT if name == ROOT else None
        with self._lock:
            found = self._cache.get(session_hash)
            if found is not None:
                self._cache.move_to_end(session_hash)
                return found
        return self._load(name)

    def _load(self, name: str) -> Live | None:
        with self._store.reading():
            version = self._store.current(name)
            if version is None:
                return _DEFAULT_ROOT if name == ROOT else None
            generated = self._store.values(version)
            salted = self._is_salted(version)
        session = description.stored(version.description)
        live = Live(
            hash=version.hash,
            number=version.number,
            session=session,
            creator=creator_key_hash(session.creator),
            generated=generated,
            salted=salted,
        )
        with self._lock:
            self._cache[version.hash] = live
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return live

    def upload(self, body: bytes, caller: Caller) -> Uploaded:
        """Create a session, or replace the version that `predecessor` names. Raises Refusal."""
        wanted = description.read_upload(body)
        try:
            return self._announced(wanted, caller.signed_by(wanted.signers))
        except sqlite3.IntegrityError:
            raise Refusal(409, _lost(wanted.session.predecessor)) from None

    def _announced(self, wanted: description.Description, caller: Caller) -> Uploaded:
        """The change, with its entry in the log before it can be seen, and a note of the entry in the store."""
        entry = None
        try:
            with self._store.writing():
                done = self._replace(wanted, caller)
                entry = self._journal.record(
                    "session_created" if done.number == 1 else "session_updated",
                    session=done.name,
                    hash=done.public_hash,
                    version=done.number,
                    key=caller.key_hash,
                    signers=caller.signer_hashes,
                    address=caller.address,
                )
                if entry is not None:
                    self._store.keep(AUDIT_NOTE, entry.note.encode())
        except BaseException:
            if entry is not None:
                self._journal.record("session_failed", of=entry.number)
            raise
        return done

    def _replace(self, wanted: description.Description, caller: Caller) -> Uploaded:
        session = wanted.session
        before = self._load(session.name)
        if before is None:
            self._may_create(session, caller)
        else:
            self._may_follow(session, before, caller)
        wanted = _with_creator(wanted, caller)
        sharing.check_imports(session, wanted.hash, self.live)
        generated = carried(session, before.session if before else None, before.generated if before else {})
        number = before.number + 1 if before else 1
        if session.salt is not None and not self._store.keeps(_salted(session.name)):
            self._store.keep(_salted(session.name), str(number).encode())
        version = Version(
            hash=wanted.hash,
            name=session.name,
            number=number,
            predecessor=session.predecessor,
            description=wanted.text,
        )
        self._store.add(version, generated)
        return Uploaded(name=session.name, hash=wanted.hash, number=number, salted=self._is_salted(version))

    def _is_salted(self, version: Version) -> bool:
        """True when a salt stands in this version, or in one before it."""
        key = _salted(version.name)
        return self._store.keeps(key) and int(self._store.kept(key)) <= version.number

    def _decision(self, live: Live, caller: Caller) -> tuple[AccessPolicy, Decision]:
        """The access policy that is in force for a session, and what it is decided with."""

        def fill(reference: str) -> object:
            return meaning(live.session, reference, lambda name: sharing.value(live, name, self.live))

        policy = effective(live.session.access_policy, fill)
        return policy, Decision(caller=caller, creator=live.creator, fill=fill)

    def _may_create(self, session: Session, caller: Caller) -> None:
        namespace = parent(session.name)
        assert namespace is not None
        above = self._load(namespace)
        if above is None:
            raise Refusal(404, f"the namespace '{namespace}' of '{session.name}' does not exist: create it first")
        policy, decision = self._decision(above, caller)
        if not decision.permits(policy.may_create_sessions):
            raise Refusal(403, f"no permission to create sessions in the namespace '{namespace}'{_as(caller)}")
        if session.namespace_hash not in (None, above.hash):
            raise Refusal(409, f"the namespace '{namespace}' has another hash than namespace_hash says")
        if session.predecessor is not None:
            raise Refusal(409, _lost(session.predecessor))

    def _may_follow(self, session: Session, before: Live, caller: Caller) -> None:
        policy, decision = self._decision(before, caller)
        if not decision.permits(policy.update):
            raise Refusal(403, f"no permission to update the session '{session.name}'{_as(caller)}")
        if before is _DEFAULT_ROOT and self._store.holds_sessions():
            raise Refusal(
                403,
                "the root namespace is sealed: it can be claimed only while no other session exists, "
                "and this CAS holds some",
            )
        if session.predecessor is None:
            raise Refusal(409, f"the session '{session.name}' exists already: its hash must be given as predecessor")
        if session.predecessor != before.hash:
            raise Refusal(409, _lost(session.predecessor))

    def read(self, name: str, caller: Caller, *, session_hash: str | None = None) -> Version:
        """The newest version, or the one with that hash. The newest version decides who may read. Raises Refusal."""
        live = self._existing(name)
        if not self._may_read(live, caller):
            raise Refusal(403, f"no permission to read the session '{name}'{_as(caller)}")
        version = self._version(name, session_hash or live.hash)
        if version is None:
            raise Refusal(404, f"the session '{name}' has no version with this hash")
        return version

    def public_hash(self, version: Version) -> str | None:
        """The hash of a version where anyone may know it."""
        return version.hash if self._is_salted(version) else None

    def hash(self, name: str, caller: Caller) -> str:
        """The hash of the newest version, for those who may read it; with a salt for anyone. Raises Refusal."""
        live = self._existing(name)
        if live.public_hash is None and not self._may_read(live, caller):
            raise Refusal(403, f"no permission to read the session '{name}', and no salt is in it{_as(caller)}")
        return live.hash

    def listed(self, namespace: str, caller: Caller, *, after: str | None, limit: int) -> Listed:
        """Up to `limit` names right below a namespace, those after `after`. Raises Refusal.

        Time grows with the number of names given, and with the logarithm of the number of sessions.
        """
        live = self._existing(namespace)
        policy, decision = self._decision(live, caller)
        if not decision.permits(policy.may_list_sessions) and not decision.is_creator():
            raise Refusal(403, f"no permission to list the sessions of the namespace '{namespace}'{_as(caller)}")
        names = tuple(islice(self._store.below(namespace, after=after), limit + 1))
        return Listed(names=names[:limit], following=names[limit - 1] if len(names) > limit else None)

    def _existing(self, name: str) -> Live:
        live = self.live(name)
        if live is None:
            raise Refusal(404, f"there is no session '{name}'")
        return live

    def _may_read(self, live: Live, caller: Caller) -> bool:
        policy, decision = self._decision(live, caller)
        return decision.permits(policy.read)

    def _version(self, name: str, session_hash: str) -> Version | None:
        if name == ROOT and session_hash == root.DEFAULT.hash:
            return Version(hash=session_hash, name=ROOT, number=1, predecessor=None, description=root.DEFAULT.text)
        return self._store.version(name, session_hash)

    def public_values(self, name: str) -> dict[str, Value]:
        """Secret → value of those with `export_public`, for anyone. Raises Refusal."""
        live = self._existing(name)
        return {
            secret: sharing.value(live, secret, self.live)
            for secret, definition in sorted(live.session.secrets.items())
            if definition.export_public is True
        }


_DEFAULT_ROOT = Live(
    hash=root.DEFAULT.hash, number=1, session=root.DEFAULT.session, creator=None, generated=MappingProxyType({})
)
"""What `/` is until somebody claims it: the one session that is not in the store."""


def _salted(name: str) -> str:
    """Where the store keeps the number of the first version of a session with a salt."""
    return f"salted {name}"


def _with_creator(wanted: description.Description, caller: Caller) -> description.Description:
    """The description with its creator, where its access policy depends on one or may do so."""
    policy = wanted.session.access_policy
    if names_creator(policy):
        creator = creator_of(caller)
        if creator is None:
            raise Refusal(403, "no client certificate was presented, and the access policy refers to CREATOR")
        return wanted.with_creator(creator)
    if may_name_creator(policy) and len(caller.signers) < 2:
        creator = creator_of(caller)
        return wanted if creator is None else wanted.with_creator(creator)
    return wanted


def _lost(predecessor: str | None) -> str:
    return f"Could not create successor session. Invalid previous session digest: {predecessor}"


def _as(caller: Caller) -> str:
    return f" for the key {caller.key_hash}" if caller.key_hash else ": no client certificate was presented"
