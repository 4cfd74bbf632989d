"""Uploads of sessions: judged, made complete, announced in the log, and stored, all of it or nothing."""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress

from scone_cas.audit.journal import Journal
from scone_cas.audit.write_ahead import changing
from scone_cas.errors import Reason, Refusal
from scone_cas.federation.peers import Peers, check_number
from scone_cas.filesystems import volumes
from scone_cas.filesystems.tags import Tags
from scone_cas.registry.access import (
    Access,
    check_create,
    check_may_create,
    check_may_update,
    check_update,
    lost,
    nearest_namespace,
    no_upload,
)
from scone_cas.registry.resolvers import ResolverFactory
from scone_cas.registry.results import Uploaded
from scone_cas.registry.snapshots import SnapshotCache, is_salted, note_maker, note_salt
from scone_cas.secrets import generation, imports
from scone_cas.secrets.delivered_size import check_delivered
from scone_cas.secrets.imports import LocalSecret
from scone_cas.secrets.remote import RemoteSecret
from scone_cas.sessions import descriptions, root_namespace
from scone_cas.sessions.authorization import Caller, creator_key_hash, maker
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_cas.storage.database import Store, Version
from scone_policy.sealed.signed import Signed
from scone_policy.syntax.names import parent


class SessionWriter:
    """Creates sessions, and replaces the version that an upload names as its predecessor."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        *,
        snapshots: SnapshotCache,
        resolvers: ResolverFactory,
        peers: Peers | None,
        judge: Callable[[Signed], descriptions.Description] = descriptions.judged,
    ) -> None:
        self._store, self._journal, self._snapshots = store, journal, snapshots
        self._resolvers, self._peers, self._judge = resolvers, peers, judge

    def upload(self, body: bytes, caller: Caller) -> Uploaded:
        """Create a session, or replace the version that `predecessor` names. Raises Refusal."""
        signed = descriptions.open_signed(body)
        caller = caller.signed_by(signed.signers)
        self._may_upload(signed.text, caller)
        wanted = self._judge(signed)
        check_delivered(wanted.session)
        # Judged again in the transaction: here so that nobody makes the CAS work who may not.
        before, complete = self._permitted(wanted, caller)
        self._ask_others(complete, caller)
        ready = generation.slow(self._resolvers.view(), wanted.session, before)
        try:
            return self._announced(wanted, caller, ready)
        except sqlite3.IntegrityError:
            raise Refusal(Reason.CONFLICT, lost(wanted.session.predecessor)) from None

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

    def _ask_others(self, wanted: descriptions.Description, caller: Caller) -> None:
        """Ask other CASes for what is imported from them, before the writer's turn: nobody waits for a network there.

        What was found out is judged in that turn.
        """
        view = self._resolvers.asking(asks=True)
        found = imports.imports(wanted.session, wanted.hash, view.live, self._comparison(caller))
        remote = [one for one in found.values() if isinstance(one, RemoteSecret)]
        check_number(remote)
        if remote and self._peers is not None:
            self._peers.ask(remote)
        for one in found.values():
            if isinstance(one, LocalSecret):
                with suppress(Refusal):  # what it is made from may be on other CASes
                    view.at(one)

    def _may_upload(self, text: str, caller: Caller) -> None:
        """Raises Refusal where the name alone says that the caller may not: before anything is judged."""
        name = descriptions.name_in(text)
        before = self._snapshots.find(name) if name is not None else None
        if before is not None:
            check_may_update(self._resolvers.access(before, caller))
        elif name is not None:
            check_may_create(name, self._above(name, caller, self._snapshots.find))

    def _permitted(
        self, wanted: descriptions.Description, caller: Caller
    ) -> tuple[SessionSnapshot | None, descriptions.Description]:
        """The version to be replaced, and the description with its creator. Raises Refusal."""
        before = self._snapshots.load(wanted.session.name)
        if before is None:
            check_create(wanted.session, self._above(wanted.session.name, caller, self._snapshots.load))
        else:
            access = self._resolvers.access(before, caller)
            check_update(wanted.session, access, sealed=lambda: self._is_sealed(before))
        return before, wanted.created_by(caller)

    def _comparison(self, caller: Caller) -> Callable[[SessionSnapshot], bool]:
        return lambda live: self._resolvers.access(live, caller).may_compare

    def _above(self, name: str, caller: Caller, find: Callable[[str], SessionSnapshot | None]) -> Access:
        """What the caller may do to the namespace of a session. Raises Refusal."""
        namespace = parent(name)
        assert namespace is not None
        above = find(namespace)
        if above is None:
            nearest = self._resolvers.access(nearest_namespace(name, find), caller)
            if not nearest.may_create:
                raise no_upload(name, nearest)
            raise Refusal(Reason.UNKNOWN, f"the namespace '{namespace}' of '{name}' does not exist: create it first")
        return self._resolvers.access(above, caller)

    def _is_sealed(self, before: SessionSnapshot) -> bool:
        return before is root_namespace.LIVE and self._store.holds_sessions()

    def _replace(self, wanted: descriptions.Description, caller: Caller, ready: Mapping[str, bytes]) -> Uploaded:
        before, wanted = self._permitted(wanted, caller)
        session = wanted.session
        view = self._resolvers.view()
        for found in imports.imports(session, wanted.hash, view.live, self._comparison(caller)).values():
            if isinstance(found, RemoteSecret):
                view.elsewhere(found)
        volumes.check_volumes(session, wanted.hash, view.live)
        number = before.number + 1 if before else 1
        if session.salt is not None:
            note_salt(self._store, session.name, number)
        # Creators may always list: without one in the description it is noted beside it.
        note_maker(self._store, session.name, maker(caller) if session.creator is None else None)
        values = generation.carried(session, before)
        creator = creator_key_hash(session.creator)
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
        return Uploaded(name=session.name, hash=wanted.hash, number=number, salted=is_salted(self._store, version))
