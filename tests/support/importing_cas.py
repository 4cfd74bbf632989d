"""A CAS without ports that imports from other CASes over real TLS, and descriptions for it."""

import secrets
from pathlib import Path

import pytest

from scone_cas.api.client import STATUS
from scone_cas.errors import Refusal
from scone_cas.federation.peers import Peers
from scone_cas.federation.settings import PeerSettings
from scone_cas.registry.sessions import SessionRegistry
from scone_cas.secrets.pending import PendingFetch
from scone_cas.secrets.value import Value
from scone_cas.server.assembly import initialise
from scone_cas.sessions.authorization import Caller
from scone_cas.storage.database import Store
from scone_cas.storage.state_directory import seal_key
from support.software_enclave import MEASUREMENT

EXPORTED = "secrets: [{{name: s, kind: ascii, size: 30, export: {export}}}]\n"
OPEN = "access_policy: {read: [ANY], update: [ANY], create_sessions: [ANY]}\n"
DEBUG = "security: {attestation: {tolerate: [debug-mode]}}\n"


SERVED = f"""services: [{{name: main, command: [p, $$SCONE::s$$], attestation: {{mrenclave: {MEASUREMENT}}}}}]
{DEBUG}"""


def session(name: str, rest: str, predecessor: str | None = None) -> str:
    """A description that anybody may update."""
    before = f"predecessor: {predecessor}\n" if predecessor else ""
    return f"name: {name}\nversion: '0.3.12'\n{before}{OPEN}{rest}"


def importing(cas_url: str, key: str, *, kind: str = "ascii", rest: str = "", exporter: str = "out") -> str:
    """Secrets with one that is imported from another CAS."""
    source = f"session: {exporter}, secret: s, cas_url: '{cas_url}', {key}"
    return f"secrets: [{{name: s, {f'kind: {kind}, ' if kind else ''}import: {{{source}{rest}}}}}]\n"


def refused(status: int, *parts: str):
    """The refusal that is expected."""
    words = ".*".join(parts)
    return pytest.raises(Refusal, match=words or None, check=lambda refusal: STATUS[refusal.reason] == status)


class Importer:
    """A CAS without ports, whose time and patience a test decides on. It asks others over real TLS."""

    def __init__(self, state: Path) -> None:
        self.identity = initialise(state, random=secrets.token_bytes(32))
        self.store = Store(state, seal_key(state))
        self.now = 1000.0
        self.peers = Peers(PeerSettings(), self.identity)
        self.use(PeerSettings())

    def use(self, settings: PeerSettings, *, answer_time: float = 5.0) -> None:
        """Begin anew with these settings: nothing is remembered."""
        self.peers.close()
        self.peers = Peers(settings, self.identity, clock=lambda: self.now, answer_time=answer_time)
        self.sessions = SessionRegistry(self.store, peers=self.peers)

    def upload(self, text: str) -> str:
        """The hash of the new version."""
        return self.sessions.upload(text.encode(), Caller()).hash

    def value(self, name: str, which: str = "s") -> Value:
        """What a service of the session would receive, asking first as the enclave port does."""
        try:
            self.sessions.ready(name, measurement=MEASUREMENT)
        except PendingFetch as needed:
            needed.ask()
        live = self.sessions.live(name)
        assert live is not None
        return self.sessions.view(measurement=MEASUREMENT).value(live, which)

    def close(self) -> None:
        """Hang up."""
        self.peers.close()
        self.store.close()
