"""Resolvers of secrets over the sessions of one store, for each kind of asker; and the certificates they renew."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from scone_cas.audit.journal import Journal
from scone_cas.entra.client import Entra
from scone_cas.entra.settings import EntraSettings
from scone_cas.federation.peers import Peers
from scone_cas.keys import certificates
from scone_cas.keystore.key_store import KeyStore
from scone_cas.registry.access import Access
from scone_cas.registry.snapshots import SnapshotCache
from scone_cas.secrets.dependencies import ResolverDependencies
from scone_cas.secrets.resolver import SecretResolver
from scone_cas.secrets.value import Value, to_stored
from scone_cas.sessions.authorization import Caller
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_cas.storage.database import Store


class ResolverFactory:
    """Makes a resolver for each request. Safe for threads."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        snapshots: SnapshotCache,
        *,
        clock: Callable[[], datetime] | None,
        entra: Entra | None,
        peers: Peers | None,
        key_store: KeyStore | None,
    ) -> None:
        self._store, self._journal, self._snapshots = store, journal, snapshots
        self._means = ResolverDependencies(
            find=snapshots.find,
            renew=self._renew,
            clock=clock or _now,
            entra=entra or Entra(EntraSettings()),
            peers=peers,
            key_store=key_store,
        )
        self._unchanged = replace(self._means, renew=_as_stored)
        self._expecting = replace(self._unchanged, find=snapshots.at_once)

    def view(self, *, measurement: str | None = None) -> SecretResolver:
        """For the CAS itself, or for an attested service with this `measurement`."""
        return SecretResolver(self._means, measurement=measurement)

    def expecting(self, measurement: str) -> SecretResolver:
        """To find out what must be fetched before that service can be answered; changes nothing."""
        return SecretResolver(self._expecting, measurement=measurement, waits=False)

    def asking(self, *, asks: bool) -> SecretResolver:
        """For decisions: takes certificates as they are stored, and waits for no token; `asks` other CASes or not."""
        return SecretResolver(self._unchanged, waits=False, asks=asks)

    def local(self) -> SecretResolver:
        """For another CAS: shows what lives here."""
        return SecretResolver(self._means, local=True)

    def anyone(self) -> SecretResolver:
        """For whoever asks for public values."""
        return SecretResolver(self._means, anyone=True)

    def access(self, live: SessionSnapshot, caller: Caller) -> Access:
        """What a caller may do to a session.

        Its secrets are taken as they are stored: a decision renews no certificate and waits for no token. Other CASes
        are asked outside of transactions only.
        """
        view = self.asking(asks=not self._store.is_writing)
        return Access.of(live, caller, lambda name: view.value(live, name))

    def _renew(self, asked: SessionSnapshot, name: str) -> bytes:
        """The stored certificate of a secret after it was renewed, by this transaction or by a faster one."""
        with self._store.writing():
            newest = self._snapshots.load(asked.session.name)
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
        self._snapshots.drop(asked.hash)
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


def _as_stored(live: SessionSnapshot, name: str) -> bytes:
    return live.generated[name]


def _now() -> datetime:
    return datetime.now(UTC)
