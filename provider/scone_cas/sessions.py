"""Sessions as the CAS keeps them: create, replace by the right predecessor, read, history. Permission comes first."""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from scone_cas import description, sharing
from scone_cas.access import Caller, creator_key_hash, names_creator, permits
from scone_cas.audit import Journal, Silent
from scone_cas.messages import Refusal
from scone_cas.peer_protocol import Ask, Shared
from scone_cas.peers import Peers, PeersNeededError, check_number
from scone_cas.sharing import Wanted
from scone_cas.store import AUDIT_NOTE, Store, Version
from scone_cas.values import Value, carried, explicit
from scone_policy.names import ROOT, parent
from scone_policy.session import Session, is_retired
from scone_policy.sharing import Import

_CACHED = 512
_LARGEST_PUBLIC = 1024 * 1024
"""Bytes of all public values of a session in one answer: anybody may ask."""


@dataclass(frozen=True, kw_only=True)
class Live:
    """The newest version of a session, parsed, with the values it holds itself. Never changes: safe to share."""

    hash: str
    number: int
    session: Session
    creator: str | None
    generated: Mapping[str, bytes] = field(repr=False)

    @property
    def retired(self) -> bool:
        """True when nothing is left in it."""
        return is_retired(self.session)

    @cached_property
    def imports(self) -> tuple[str, ...]:
        """The secrets that are imported."""
        return tuple(name for name, secret in self.session.secrets.items() if secret.import_ is not None)

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


class Sessions:
    """All sessions of one CAS. Safe for threads and for several processes on one store."""

    def __init__(self, store: Store, journal: Journal | None = None, peers: Peers | None = None) -> None:
        self._store = store
        self._peers = peers
        self._journal = journal or Silent()
        self._cache: OrderedDict[str, Live] = OrderedDict()
        self._lock = threading.Lock()

    def live(self, name: str) -> Live | None:
        """The newest version of a session. One index look-up when it is known already."""
        session_hash = self._store.current_hash(name)
        if session_hash is None:
            return None
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
                return None
            generated = self._store.values(version)
        session = description.stored(version.description)
        live = Live(
            hash=version.hash,
            number=version.number,
            session=session,
            creator=creator_key_hash(session.creator),
            generated=generated,
        )
        with self._lock:
            self._cache[version.hash] = live
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return live

    def upload(self, body: bytes, caller: Caller) -> Uploaded:
        """Create a session, or replace the version that `predecessor` names. Raises Refusal."""
        wanted = description.read_upload(body)
        if any(secret.import_ is not None for secret in wanted.session.secrets.values()):
            self._ask_elsewhere(wanted, caller)
        try:
            return self._announced(wanted, caller)
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
                    hash=done.hash,
                    version=done.number,
                    key=caller.key_hash,
                    address=caller.address,
                )
                if entry is not None:
                    self._store.keep(AUDIT_NOTE, entry.note.encode())
        except BaseException:
            if entry is not None:
                self._journal.record("session_failed", of=entry.number)
            raise
        return done

    def _ask_elsewhere(self, wanted: description.Description, caller: Caller) -> None:
        """Ask other CASes for what is imported from them, before the writer's turn: nobody waits for a network there.

        What was found out is judged in that turn. Nobody without permission makes this CAS ask others.
        """
        _, complete = self._permitted(wanted, caller)
        found = sharing.imports(complete.session, complete.hash, self.live).values()
        remote = [one for one in found if isinstance(one, Wanted)]
        check_number(remote)
        if remote and self._peers is not None:
            self._peers.ask(remote)

    def _permitted(
        self, wanted: description.Description, caller: Caller
    ) -> tuple[Live | None, description.Description]:
        """The version to be replaced, and the description with its creator. Raises Refusal."""
        session = wanted.session
        before = self._load(session.name)
        if before is None:
            self._may_create(session, caller)
        else:
            self._may_follow(session, before, caller)
        if names_creator(session.access_policy):
            if caller.certificate is None:
                raise Refusal(403, "no client certificate was presented, and the access policy refers to CREATOR")
            wanted = wanted.with_creator(caller.certificate)
        return before, wanted

    def _replace(self, wanted: description.Description, caller: Caller) -> Uploaded:
        before, wanted = self._permitted(wanted, caller)
        session = wanted.session
        for found in sharing.imports(session, wanted.hash, self.live).values():
            if isinstance(found, Wanted):
                self._elsewhere(found)
        generated = carried(session, before.session if before else None, before.generated if before else {})
        number = before.number + 1 if before else 1
        version = Version(
            hash=wanted.hash,
            name=session.name,
            number=number,
            predecessor=session.predecessor,
            description=wanted.text,
        )
        self._store.add(version, generated)
        return Uploaded(name=session.name, hash=wanted.hash, number=number)

    def _may_create(self, session: Session, caller: Caller) -> None:
        namespace = parent(session.name)
        if namespace not in (None, ROOT):
            assert namespace is not None
            above = self._load(namespace)
            if above is None:
                raise Refusal(404, f"the namespace '{namespace}' of '{session.name}' does not exist: create it first")
            if not permits(above.session.access_policy.may_create_sessions, caller, above.creator):
                raise Refusal(403, f"no permission to create sessions in the namespace '{namespace}'{_as(caller)}")
            if session.namespace_hash not in (None, above.hash):
                raise Refusal(409, f"the namespace '{namespace}' has another hash than namespace_hash says")
        elif session.namespace_hash is not None:
            raise Refusal(501, "namespace_hash: the root namespace has no hash in this version")
        if session.predecessor is not None:
            raise Refusal(409, _lost(session.predecessor))

    def _may_follow(self, session: Session, before: Live, caller: Caller) -> None:
        if not permits(before.session.access_policy.update, caller, before.creator):
            raise Refusal(403, f"no permission to update the session '{session.name}'{_as(caller)}")
        if session.predecessor is None:
            raise Refusal(409, f"the session '{session.name}' exists already: its hash must be given as predecessor")
        if session.predecessor != before.hash:
            raise Refusal(409, _lost(session.predecessor))

    def read(self, name: str, caller: Caller, *, session_hash: str | None = None) -> Version:
        """The newest version, or the one with that hash. The newest version decides who may read. Raises Refusal."""
        live = self.live(name)
        if live is None:
            raise Refusal(404, f"there is no session '{name}'")
        if not permits(live.session.access_policy.read, caller, live.creator):
            raise Refusal(403, f"no permission to read the session '{name}'{_as(caller)}")
        version = self._store.version(name, session_hash or live.hash)
        if version is None:
            raise Refusal(404, f"the session '{name}' has no version with this hash")
        return version

    def value(self, live: Live, name: str) -> Value:
        """The value of a secret for the session's own services. Never waits: see `expect`. Raises Refusal."""
        return sharing.value(live, name, self.live, self._elsewhere)

    def expect(self, name: str) -> None:
        """Raises PeersNeededError when other CASes must be asked for this session's imports first."""
        live = self.live(name)
        if live is None or self._peers is None or not live.imports:
            return
        remote = []
        for secret in live.imports:
            with suppress(Refusal):  # said at delivery, if a service needs it
                found = sharing.source(live, secret, self.live)
                remote += [found] if isinstance(found, Wanted) else []
        if missing := self._peers.unknown(remote):
            raise PeersNeededError(self._peers, missing)

    def exported(self, asked: Ask, peer: str | None) -> Shared:
        """A secret for a session of another CAS, whose key (hash) `peer` is proven. Raises Refusal."""
        if peer is None or self._peers is None or not self._peers.settings.trusts(peer, asked.importer):
            raise Refusal(403, f"this CAS does not trust the key {peer} to speak for the session '{asked.importer}'")
        owner, value = sharing.exported(
            Import(session=asked.session, secret=asked.secret),
            importer=asked.importer,
            importer_hash=asked.importer_hash,
            find=self.live,
        )
        return Shared(value=value, session_hash=owner.hash)

    def public_values(self, name: str, secret: str | None = None) -> dict[str, Value]:
        """Secret → value of those with `export_public`, of all or of one, for anyone. Raises Refusal."""
        live = self.live(name)
        if live is None:
            raise Refusal(404, f"there is no session '{name}'")
        found, size = {}, 0
        for key, definition in sorted(live.session.secrets.items()):
            if definition.export_public is True and secret in (None, key):
                found[key] = sharing.value(live, key, self.live)
                size += len(found[key].content)
                if size > _LARGEST_PUBLIC and secret is None:
                    raise Refusal(413, f"the public values of '{name}' are too many for one answer: ask for each alone")
        return found

    def _elsewhere(self, wanted: Wanted) -> Value:
        if self._peers is None:
            raise Refusal(501, f"{wanted.where}: this CAS asks no others")
        return self._peers.known(wanted)


def _lost(predecessor: str | None) -> str:
    return f"Could not create successor session. Invalid previous session digest: {predecessor}"


def _as(caller: Caller) -> str:
    return f" for the key {caller.key_hash}" if caller.key_hash else ": no client certificate was presented"
