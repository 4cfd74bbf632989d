"""A CAS without ports: its parts over a state directory of the test."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from scone_cas.access import Caller
from scone_cas.challenges import Challenges
from scone_cas.messages import Request, Response
from scone_cas.parts import Parts, assemble, initialise
from scone_cas.sessions import Sessions, Uploaded
from scone_cas.state import seal_key
from scone_cas.store import Store
from scone_provider.cas.identity import Identity

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody with a key."""

    certificate: x509.Certificate
    key_hash: str

    @property
    def caller(self) -> Caller:
        """As the sessions know them."""
        return Caller.of(self.certificate)


@pytest.fixture(scope="session")
def person() -> Callable[[str], Person]:
    """People by name, each with one key."""
    known: dict[str, Person] = {}

    def find(name: str) -> Person:
        if name not in known:
            identity = Identity.create(common_name=name, now=NOW)
            certificate = x509.load_pem_x509_certificate(identity.certificate_pem.encode())
            known[name] = Person(certificate=certificate, key_hash=identity.key_hash)
        return known[name]

    return find


class Cas:
    """One CAS; `upload` and `read` speak for the person given."""

    def __init__(self, state: Path) -> None:
        self.state = state
        initialise(state, now=NOW, random=secrets.token_bytes(32))
        self.store = Store(state, seal_key(state))
        self.sessions = Sessions(self.store)
        self.parts: Parts = assemble(state)

    def upload(self, text: str, who: Person | None) -> Uploaded:
        """Upload a session description."""
        return self.sessions.upload(text.encode(), who.caller if who else Caller())

    def send(self, document: Mapping[str, object], who: Person | None) -> Uploaded:
        """Upload a signed session."""
        return self.upload(json.dumps(document), who)

    def ask(self, method: str, path: str, *, who: Person | None = None, body: bytes = b"", **query: str) -> Response:
        """One request on the client port."""
        certificate = who.certificate if who else None
        request = Request(method=method, path=path, query=query, body=body, certificate=certificate)
        return self.parts.client_api.handle(request)

    def close(self) -> None:
        """Close this thread's connections."""
        self.store.close()
        self.parts.challenges.close()
        self.parts.client_api._sessions._store.close()


@pytest.fixture
def cas(tmp_path: Path) -> Iterator[Cas]:
    """A CAS with an empty store."""
    found = Cas(tmp_path / "state")
    yield found
    found.close()


@pytest.fixture
def challenges(tmp_path: Path) -> Iterator[tuple[Challenges, list[float]]]:
    """Challenges with a clock that the test moves."""
    clock = [1000.0]
    Challenges.reset(tmp_path)
    found = Challenges(tmp_path, bytes(32), clock=lambda: clock[0])
    yield found, clock
    found.close()
