"""Sessions as the CAS keeps them: create, replace by the right predecessor, read, history. Permission comes first."""

from collections.abc import Callable
from datetime import datetime
from itertools import islice

from scone_cas.audit.journal import Journal, NullJournal
from scone_cas.entra.client import Entra
from scone_cas.errors import Reason, Refusal
from scone_cas.federation.peers import Peers
from scone_cas.federation.protocol import Ask, Shared
from scone_cas.keystore.key_store import KeyStore
from scone_cas.registry.access import Access, nearest_namespace, withheld
from scone_cas.registry.resolvers import ResolverFactory
from scone_cas.registry.results import Listed, Uploaded
from scone_cas.registry.snapshots import SnapshotCache, is_salted
from scone_cas.registry.uploads import SessionWriter
from scone_cas.secrets import imports
from scone_cas.secrets.resolver import SecretResolver
from scone_cas.secrets.value import Value
from scone_cas.sessions import root_namespace
from scone_cas.sessions.authorization import Caller
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_cas.storage.database import Store, Version
from scone_cas.storage.reserve import UPLOADS
from scone_policy.model.secret_sharing import Import
from scone_policy.syntax.names import ROOT

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
        self._store, self._peers = store, peers
        self._journal = journal or NullJournal()
        self._snapshots = SnapshotCache(store)
        self._resolvers = ResolverFactory(
            store, self._journal, self._snapshots, clock=clock, entra=entra, peers=peers, key_store=key_store
        )
        self._writer = SessionWriter(
            store, self._journal, snapshots=self._snapshots, resolvers=self._resolvers, peers=peers
        )

    def live(self, name: str) -> SessionSnapshot | None:
        """The newest version of a session. One index look-up when it is known already."""
        return self._snapshots.find(name)

    def view(self, *, measurement: str | None = None) -> SecretResolver:
        """The sessions as one asker sees them; `measurement` is that of the service that asks."""
        return self._resolvers.view(measurement=measurement)

    def ready(self, name: str, *, measurement: str) -> SessionSnapshot | None:
        """The newest version of a session whose services can have their values without waiting.

        Raises PendingFetch when something must be fetched first, or when reading it takes long.
        """
        live = self._snapshots.at_once(name)
        if live is not None and live.reaches_out:
            self._resolvers.expecting(measurement).expect(live)
        return live

    def upload(self, body: bytes, caller: Caller) -> Uploaded:
        """Create a session, or replace the version that `predecessor` names. Raises Refusal, and StorageError."""
        self._store.reserve.require(UPLOADS)
        return self._writer.upload(body, caller)

    def read(self, name: str, caller: Caller, *, session_hash: str | None = None) -> Version:
        """The newest version, or the one with that hash. The newest version decides who may read. Raises Refusal."""
        live = self._permitted(name, caller, lambda access: access.may_read, "read the session")
        version = self._version(name, session_hash or live.hash)
        if version is None:
            raise Refusal(Reason.UNKNOWN, f"the session '{name}' has no version with this hash")
        return version

    def public_hash(self, version: Version) -> str | None:
        """The hash of a version where anyone may know it."""
        return version.hash if is_salted(self._store, version) else None

    def hash(self, name: str, caller: Caller) -> str:
        """The hash of the newest version, for those who may read it; with a salt for anyone. Raises Refusal."""
        what = "read the session"
        return self._permitted(name, caller, lambda access: access.may_compare, what).hash

    def listed(self, namespace: str, caller: Caller, *, after: str | None, limit: int) -> Listed:
        """Up to `limit` names right below a namespace, those after `after`. Raises Refusal.

        Time grows with the number of names given, and with the logarithm of the number of sessions.
        """
        self._permitted(namespace, caller, lambda access: access.may_list, "list the sessions of the namespace")
        names = tuple(islice(self._store.below(namespace, after=after), limit + 1))
        return Listed(names=names[:limit], following=names[limit - 1] if len(names) > limit else None)

    def exported(self, asked: Ask, peer: str | None) -> Shared:
        """A secret for a session of another CAS, whose key (hash) `peer` is proven. Raises Refusal."""
        if peer is None:
            raise imports.untrusted(peer, asked.importer)
        view = self._resolvers.local()
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

    def public_values(self, name: str, secret: str | None = None) -> dict[str, Value]:
        """Secret → value of those with `export_public`, of all or of one, for anyone. Raises Refusal."""
        view = self._resolvers.anyone()
        live = self.live(name)
        if live is None:
            return {}
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

    def _permitted(self, name: str, caller: Caller, may: Callable[[Access], bool], what: str) -> SessionSnapshot:
        """The session, for who may do this to it. Raises Refusal, the same one where there is none."""
        live = self.live(name)
        access = self._resolvers.access(live or root_namespace.LIVE, caller)
        permitted = may(access)  # asked in either case: it takes as long
        if live is not None and permitted:
            return live
        above = self._resolvers.access(nearest_namespace(name, self.live), caller)
        raise withheld(name, what, asked=access, above=above, missing=live is None)

    def _version(self, name: str, session_hash: str) -> Version | None:
        if name == ROOT and session_hash == root_namespace.DEFAULT.hash:
            return Version(
                hash=session_hash, name=ROOT, number=1, predecessor=None, description=root_namespace.DEFAULT.text
            )
        return self._store.version(name, session_hash)
