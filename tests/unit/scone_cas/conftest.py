"""A CAS without ports: its parts over a state directory of the test."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from scone_cas.api.http import Request, Response
from scone_cas.attestation.challenges import Challenges
from scone_cas.entra.settings import EntraSettings
from scone_cas.keystore.settings import KeyStoreSettings
from scone_cas.keystore.unseal import sealer, unlock
from scone_cas.registry.results import Uploaded
from scone_cas.registry.sessions import SessionRegistry
from scone_cas.secrets.value import Value
from scone_cas.server.assembly import CasComponents, assemble, initialise
from scone_cas.sessions.authorization import Caller
from scone_cas.storage.database import Store
from scone_cas.storage.state_directory import prepare_directory
from scone_provider.cas.identity import Identity
from support.software_enclave import SoftwareEnclave

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
    """One CAS; `upload` and `read` speak for the person given. `sessions` and `parts` are as of two processes.

    `now` is the time for what is made with secrets; a test may move it.
    """

    def __init__(
        self, state: Path, *, entra: EntraSettings | None = None, key_store: KeyStoreSettings | None = None
    ) -> None:
        self.state = state
        self.now = NOW
        prepare_directory(state)
        unlocked = unlock(key_store, state, now=NOW, random=secrets.token_bytes(32)) if key_store else None
        initialise(state, now=NOW, random=secrets.token_bytes(32), entra=entra, unlocked=unlocked)
        self.store = Store(state, sealer(state, unlocked))
        held = unlocked.key_store() if unlocked else None
        self.sessions = SessionRegistry(self.store, clock=lambda: self.now, key_store=held)
        self.parts: CasComponents = assemble(state, clock=lambda: self.now, unlocked=unlocked)

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

    def attest(self, config_id: str, **changes: object) -> tuple[int, dict[str, Any]]:
        """What a service receives: 200 and its configuration, or the refusal."""
        challenge = self._post("/v1/enclave/challenge", {"protocol": 1})[1]["challenge"]
        enclave = SoftwareEnclave()
        status, answer = self._post("/v1/enclave/attest", enclave.request(challenge, config_id, **changes))
        return (status, enclave.open(answer)) if status == 200 else (status, answer["error"])

    def _post(self, path: str, body: object) -> tuple[int, dict[str, Any]]:
        answer = self.parts.enclave_api.handle(Request(method="POST", path=path, body=json.dumps(body).encode()))
        return answer.status, json.loads(answer.body)

    def stored(self, session: str, secret: str) -> Value:
        """The value of a secret that is not imported."""
        live = self.sessions.live(session)
        assert live is not None
        return self.sessions.view().own_value(live, secret)

    def close(self) -> None:
        """Close this thread's connections."""
        self.store.close()
        self.parts.challenges.close()
        self.parts.client_api._sessions._store.close()


@pytest.fixture
def new_cas(tmp_path: Path) -> Iterator[Callable[..., Cas]]:
    """Makes the CAS of a test, with settings of its own."""
    made = []

    def make(**settings: Any) -> Cas:
        made.append(Cas(tmp_path / "state", **settings))
        return made[-1]

    yield make
    for found in made:
        found.close()


@pytest.fixture
def cas(new_cas: Callable[..., Cas]) -> Cas:
    """A CAS with an empty store."""
    return new_cas()


@pytest.fixture
def challenges(tmp_path: Path) -> Iterator[tuple[Challenges, list[float]]]:
    """Challenges with a clock that the test moves."""
    clock = [1000.0]
    Challenges.reset(tmp_path)
    found = Challenges(tmp_path, bytes(32), clock=lambda: clock[0])
    yield found, clock
    found.close()
