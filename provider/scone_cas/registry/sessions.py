"""Sessions as the CAS keeps them: create, replace by the right predecessor, read, history. Permission comes first."""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

from scone_cas.audit.audit_log import Journal, NullJournal
from scone_cas.audit.write_ahead import changing
from scone_cas.entra.client import Entra
from scone_cas.entra.settings import EntraSettings
from scone_cas.errors import Reason, Refusal
from scone_cas.federation.peers import Peers, check_number
from scone_cas.federation.protocol import Ask, Shared
from scone_cas.filesystems import volumes
from scone_cas.filesystems.tags import Tags
from scone_cas.keys import certificates
from scone_cas.keystore.key_store import KeyStore
from scone_cas.registry.access_placeholders import meaning
from scone_cas.registry.results import Listed, Uploaded
from scone_cas.secrets import generation, imports
from scone_cas.secrets.imports import LocalSecret
from scone_cas.secrets.remote import RemoteSecret
from scone_cas.secrets.resolver import ResolverDependencies, SecretResolver
from scone_cas.secrets.value import Value, to_stored
from scone_cas.sessions import descriptions, root_namespace
from scone_cas.sessions.authorization import Caller, Decision, creator_key_hash, effective, maker
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_cas.storage.database import Store, Version
from scone_policy.model.access import AccessPolicy
from scone_policy.model.secret_sharing import Import
from scone_policy.model.session import Session
from scone_policy.syntax.names import ROOT, parent

_CACHED = 512
_LARGEST_PUBLIC = 1024 * 1024
"""Bytes of all public values of a session in one answer: anybody may ask."""


class SessionRegistry:
    """All sessions of one CAS. Safe for threads and for several processes on one store."""

    def __init__(
        self,
        store: Store,
        journal: Journal | None = None,
        *,
        clock: Callable[[], datetime] | None = None,
        entra: Entra | None = None,
        peers: Peers | None = None,
        key_store: KeyStore | None = None,
    ) -> None:
        self._store = store
        self._peers = peers
        self._journal = journal or NullJournal()
        self._means = ResolverDependencies(
            find=self._find,
            renew=self._renew,
            clock=clock or _now,
            entra=entra or Entra(EntraSettings()),
            peers=peers,
            key_store=key_store,
        )
        self._unchanged = replace(self._means, renew=_as_stored)
        self._cache: OrderedDict[str, SessionSnapshot] = OrderedDict()
        self._lock = threading.Lock()

    def live(self, name: str) -> SessionSnapshot | None:
        """The newest version of a session. One index look-up when it is known already."""
        return self.view().live(name)

    def view(self, *, measurement: str | None = None) -> SecretResolver:
        """The sessions as one asker sees them; `measurement` is that of the service that asks."""
        return SecretResolver(self._means, measurement=measurement)

    def ready(self, name: str, *, measurement: str) -> SessionSnapshot | None:
        """The newest version of a session whose services can have their values without waiting.

        Raises NeededError when something must be fetched first.
        """
        live = self._find(name)
        if live is not None and live.reaches_out:
            view = SecretResolver(self._unchanged, measurement=measurement, waits=False)
            view.expect(live)
        return live

    def _find(self, name: str) -> SessionSnapshot | None:
        session_hash = self._store.current_hash(name)
        if session_hash is None:
            return root_namespace.LIVE if name == ROOT else None
        with self._lock:
            found = self._cache.get(session_hash)
            if found is not None:
                self._cache.move_to_end(session_hash)
                return found
        return self._load(name)

    def _load(self, name: str) -> SessionSnapshot | None:
        with self._store.reading():
            version = self._store.current(name)
            if version is None:
                return root_namespace.LIVE if name == ROOT else None
            generated = self._store.values(version)
            salted = self._is_salted(version)
            kept = self._store.kept(_maker(name)).decode() if self._store.keeps(_maker(name)) else None
        session = descriptions.stored(version.description)
        creator = creator_key_hash(session.creator)
        live = SessionSnapshot(
            hash=version.hash,
            number=version.number,
            session=session,
            creator=creator,
            generated=generated,
            salted=salted,
            maker=creator or kept,
        )
        if not self._store.is_writing:  # what this transaction changed may still come to nothing
            with self._lock:
                self._cache[version.hash] = live
                while len(self._cache) > _CACHED:
                    self._cache.popitem(last=False)
        return live

    def _renew(self, asked: SessionSnapshot, name: str) -> bytes:
        """The stored certificate of a secret after it was renewed, by this transaction or by a faster one."""
        with self._store.writing():
            newest = self._load(asked.session.name)
            if newest is None or newest.hash != asked.hash:
                # The session was replaced in this moment: what was asked for is answered as it stood.
                return asked.generated[name]
            view = self.view()
            if not view.is_stale(newest, name):
                stored = newest.generated[name]
            else:
                certificate = view.issued(newest, name)
                stored = to_stored(certificate)
                self._record_renewal(newest, name, certificate)
                self._store.renew(name=newest.session.name, session_hash=newest.hash, secret=name, value=stored)
        with self._lock:
            self._cache.pop(asked.hash, None)
        return stored

    def _record_renewal(self, live: SessionSnapshot, name: str, certificate: Value) -> None:
        found = certificates.load(certificate.content)
        self._journal.record(
            "certificate_renewed",
            session=live.session.name,
            hash=live.public_hash,
            secret=name,
            serial=f"{found.serial_number:x}",
            until=found.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        self._journal.sync()

    def upload(self, body: bytes, caller: Caller) -> Uploaded:
        """Create a session, or replace the version that `predecessor` names. Raises Refusal."""
        wanted = descriptions.read_upload(body)
        caller = caller.signed_by(wanted.signers)
        # Judged again in the transaction: here so that nobody makes the CAS work who may not.
        before, complete = self._permitted(wanted, caller)
        self._ask_others(complete)
        ready = generation.slow(self.view(), wanted.session, before)
        try:
            return self._announced(wanted, caller, ready)
        except sqlite3.IntegrityError:
            raise Refusal(Reason.CONFLICT, _lost(wanted.session.predecessor)) from None

    def _announced(self, wanted: descriptions.Description, caller: Caller, ready: Mapping[str, bytes]) -> Uploaded:
        """The change, with its entry in the log before it can be seen."""
        with changing(self._store, self._journal) as change:
            done = self._replace(wanted, caller, ready)
            change.announce(
                "session_created" if done.number == 1 else "session_updated",
                session=done.name,
                hash=done.public_hash,
                version=done.number,
                key=caller.key_hash,
                signers=caller.signer_hashes,
                address=caller.address,
            )
        return done

    def _ask_others(self, wanted: descriptions.Description) -> None:
        """Ask other CASes for what is imported from them, before the writer's turn: nobody waits for a network there.

        What was found out is judged in that turn.
        """
        view = SecretResolver(self._unchanged, waits=False, asks=True)
        found = imports.imports(wanted.session, wanted.hash, view.live)
        remote = [one for one in found.values() if isinstance(one, RemoteSecret)]
        check_number(remote)
        if remote and self._peers is not None:
            self._peers.ask(remote)
        for one in found.values():
            if isinstance(one, LocalSecret):
                with suppress(Refusal):  # what it is made from may be on other CASes
                    view.at(one)

    def _permitted(
        self, wanted: descriptions.Description, caller: Caller
    ) -> tuple[SessionSnapshot | None, descriptions.Description]:
        """The version to be replaced, and the description with its creator. Raises Refusal."""
        before = self._load(wanted.session.name)
        if before is None:
            self._may_create(wanted.session, caller)
        else:
            self._may_follow(wanted.session, before, caller)
        return before, wanted.created_by(caller)

    def _replace(self, wanted: descriptions.Description, caller: Caller, ready: Mapping[str, bytes]) -> Uploaded:
        before, wanted = self._permitted(wanted, caller)
        session = wanted.session
        view = self.view()
        for found in imports.imports(session, wanted.hash, view.live).values():
            if isinstance(found, RemoteSecret):
                view.elsewhere(found)
        volumes.check_volumes(session, wanted.hash, self.live)
        number = before.number + 1 if before else 1
        if session.salt is not None and not self._store.keeps(_salted(session.name)):
            self._store.keep(_salted(session.name), str(number).encode())
        self._keep_maker(wanted, caller)
        values = generation.carried(session, before)
        creator = creator_key_hash(wanted.session.creator)
        live = SessionSnapshot(hash=wanted.hash, number=number, session=session, creator=creator, generated=values)
        generation.complete(view, live, values, ready)
        version = Version(
            hash=wanted.hash,
            name=session.name,
            number=number,
            predecessor=session.predecessor,
            description=wanted.text,
        )
        self._store.add(version, values)
        volumes.provision(Tags(self._store), session, before.session if before else None)
        return Uploaded(name=session.name, hash=wanted.hash, number=number, salted=self._is_salted(version))

    def _keep_maker(self, wanted: descriptions.Description, caller: Caller) -> None:
        """Keep who uploads a version that does not refer to its creator: creators may always list."""
        found = maker(caller) if wanted.session.creator is None else None
        if found is not None:
            self._store.keep(_maker(wanted.session.name), found.encode())
        else:
            self._store.forget(_maker(wanted.session.name))

    def _is_salted(self, version: Version) -> bool:
        """True when a salt stands in this version, or in one before it."""
        key = _salted(version.name)
        return self._store.keeps(key) and int(self._store.kept(key)) <= version.number

    def _decision(self, live: SessionSnapshot, caller: Caller) -> tuple[AccessPolicy, Decision]:
        """The access policy that is in force for a session, and what it is decided with.

        Its secrets are taken as they are stored: a decision renews no certificate and waits for no token. Other CASes
        are asked outside of transactions only.
        """
        view = SecretResolver(self._unchanged, waits=False, asks=not self._store.is_writing)

        def fill(reference: str) -> object:
            return meaning(live.session, reference, lambda name: view.value(live, name))

        policy = effective(live.session.access_policy, fill)
        return policy, Decision(caller=caller, creator=live.creator, fill=fill)

    def _may_create(self, session: Session, caller: Caller) -> None:
        namespace = parent(session.name)
        assert namespace is not None
        above = self._load(namespace)
        if above is None:
            raise Refusal(
                Reason.UNKNOWN, f"the namespace '{namespace}' of '{session.name}' does not exist: create it first"
            )
        policy, decision = self._decision(above, caller)
        if not decision.permits(policy.may_create_sessions):
            raise Refusal(
                Reason.FORBIDDEN, f"no permission to create sessions in the namespace '{namespace}'{_as(caller)}"
            )
        if session.namespace_hash not in (None, above.hash):
            raise Refusal(Reason.CONFLICT, f"the namespace '{namespace}' has another hash than namespace_hash says")
        if session.predecessor is not None:
            raise Refusal(Reason.CONFLICT, _lost(session.predecessor))

    def _may_follow(self, session: Session, before: SessionSnapshot, caller: Caller) -> None:
        policy, decision = self._decision(before, caller)
        if not decision.permits(policy.update):
            raise Refusal(Reason.FORBIDDEN, f"no permission to update the session '{session.name}'{_as(caller)}")
        if before is root_namespace.LIVE and self._store.holds_sessions():
            raise Refusal(
                Reason.FORBIDDEN,
                "the root namespace is sealed: it can be claimed only while no other session exists, "
                "and this CAS holds some",
            )
        if session.predecessor is None:
            raise Refusal(
                Reason.CONFLICT, f"the session '{session.name}' exists already: its hash must be given as predecessor"
            )
        if session.predecessor != before.hash:
            raise Refusal(Reason.CONFLICT, _lost(session.predecessor))

    def read(self, name: str, caller: Caller, *, session_hash: str | None = None) -> Version:
        """The newest version, or the one with that hash. The newest version decides who may read. Raises Refusal."""
        live = self._existing(name)
        if not self._may_read(live, caller):
            raise Refusal(Reason.FORBIDDEN, f"no permission to read the session '{name}'{_as(caller)}")
        version = self._version(name, session_hash or live.hash)
        if version is None:
            raise Refusal(Reason.UNKNOWN, f"the session '{name}' has no version with this hash")
        return version

    def exported(self, asked: Ask, peer: str | None) -> Shared:
        """A secret for a session of another CAS, whose key (hash) `peer` is proven. Raises Refusal."""
        if peer is None:
            raise imports.untrusted(peer, asked.importer)
        view = SecretResolver(self._means, local=True)
        owner = imports.exported(
            Import(session=asked.session, secret=asked.secret),
            importer=asked.importer,
            importer_hash=asked.importer_hash,
            cas=peer,
            trusted=self._peers is not None and self._peers.settings.trusts(peer, asked.importer),
            find=view.live,
        )
        value = view.value(owner, asked.secret)
        if value.is_confined:
            raise Refusal(Reason.FORBIDDEN, f"'{asked.secret}' is a key in this CAS's key store, which it never leaves")
        return Shared(value=value, session_hash=owner.hash)

    def public_hash(self, version: Version) -> str | None:
        """The hash of a version where anyone may know it."""
        return version.hash if self._is_salted(version) else None

    def hash(self, name: str, caller: Caller) -> str:
        """The hash of the newest version, for those who may read it; with a salt for anyone. Raises Refusal."""
        live = self._existing(name)
        if live.public_hash is None and not self._may_read(live, caller):
            raise Refusal(
                Reason.FORBIDDEN, f"no permission to read the session '{name}', and no salt is in it{_as(caller)}"
            )
        return live.hash

    def listed(self, namespace: str, caller: Caller, *, after: str | None, limit: int) -> Listed:
        """Up to `limit` names right below a namespace, those after `after`. Raises Refusal.

        Time grows with the number of names given, and with the logarithm of the number of sessions.
        """
        live = self._existing(namespace)
        policy, decision = self._decision(live, caller)
        if not decision.permits(policy.may_list_sessions) and not replace(decision, creator=live.maker).is_creator():
            raise Refusal(
                Reason.FORBIDDEN, f"no permission to list the sessions of the namespace '{namespace}'{_as(caller)}"
            )
        names = tuple(islice(self._store.below(namespace, after=after), limit + 1))
        return Listed(names=names[:limit], following=names[limit - 1] if len(names) > limit else None)

    def _existing(self, name: str) -> SessionSnapshot:
        live = self.live(name)
        if live is None:
            raise Refusal(Reason.UNKNOWN, f"there is no session '{name}'")
        return live

    def _may_read(self, live: SessionSnapshot, caller: Caller) -> bool:
        policy, decision = self._decision(live, caller)
        return decision.permits(policy.read)

    def _version(self, name: str, session_hash: str) -> Version | None:
        if name == ROOT and session_hash == root_namespace.DEFAULT.hash:
            return Version(
                hash=session_hash, name=ROOT, number=1, predecessor=None, description=root_namespace.DEFAULT.text
            )
        return self._store.version(name, session_hash)

    def public_values(self, name: str, secret: str | None = None) -> dict[str, Value]:
        """Secret → value of those with `export_public`, of all or of one, for anyone. Raises Refusal."""
        view = SecretResolver(self._means, anyone=True)
        live = self._existing(name)
        found, size = {}, 0
        for key, definition in sorted(live.session.secrets.items()):
            if definition.export_public is True and secret in (None, key):
                found[key] = view.value(live, key)
                size += len(found[key].content)
                if size > _LARGEST_PUBLIC and secret is None:
                    raise Refusal(
                        Reason.TOO_LARGE,
                        f"the public values of '{name}' are too many for one answer: ask for each alone",
                    )
        return found


def _salted(name: str) -> str:
    """Where the store keeps the number of the first version of a session with a salt."""
    return f"salted {name}"


def _maker(name: str) -> str:
    """Where the store keeps who uploaded the newest version of a session, if its description does not say it."""
    return f"maker {name}"


def _as_stored(live: SessionSnapshot, name: str) -> bytes:
    return live.generated[name]


def _now() -> datetime:
    return datetime.now(UTC)


def _lost(predecessor: str | None) -> str:
    return f"Could not create successor session. Invalid previous session digest: {predecessor}"


def _as(caller: Caller) -> str:
    return f" for the key {caller.key_hash}" if caller.key_hash else ": no client certificate was presented"
