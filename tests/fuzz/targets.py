"""What is fuzzed: functions of bytes that end quietly or in an error of ours; whatever else they raise is a find."""

import atexit
import base64
import io
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from scone_cas.api.enclave import EnclaveApi
from scone_cas.api.http import Request
from scone_cas.audit.verify import verify
from scone_cas.registry.sessions import SessionRegistry
from scone_cas.server.assembly import assemble, initialise
from scone_cas.sessions.authorization import Caller
from scone_cas.storage.database import Store
from scone_cas.storage.state_directory import seal_key
from scone_policy import PolicyError, parse
from scone_policy.diff.compare import compare
from scone_policy.syntax.config_fragments import dump, load
from scone_policy.syntax.placeholders import is_reference, parts
from scone_provider.errors import ManifestError
from scone_provider.manifest import load_mesh, load_service
from support.software_enclave import SoftwareEnclave

SEEDS = Path(__file__).parent / "seeds"
VARIABLES = {"NAME": "name", "APP_IMAGE_REPO": "registry.example.com/team", "CAS_URL": "cas", "API_USER": "me"}
SESSION = f"""name: fuzz
version: "0.3.10"
services:
  - name: main
    command: [prog, $$SCONE::s$$]
    environment: {{HOST: "@@HOST"}}
    attestation: {{mrenclave: {"ab" * 32}}}
secrets: [{{name: s, kind: ascii, size: 24}}]
security: {{attestation: {{tolerate: [debug-mode]}}}}
"""
STATUSES = {200, 400, 403, 405}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def session(data: bytes) -> None:
    """A session description as text: what is taken means the same in each of its forms."""
    with suppress(PolicyError):
        found = parse(_text(data), file="fuzz.yaml")
        canonical = found.canonical()
        assert parse(found.wire()).canonical() == canonical
        assert parse(canonical).canonical() == canonical
        assert compare(canonical, canonical) == []


def policy(data: bytes) -> None:
    """A session as plain data, as it comes from a program."""
    with suppress(ValueError, RecursionError):
        tree = json.loads(data)
        if isinstance(tree, dict):
            with suppress(PolicyError):
                found = parse(tree)
                assert parse(found.canonical()).canonical() == found.canonical()


def service(data: bytes) -> None:
    """A service manifest."""
    with suppress(ManifestError):
        load_service(_text(data), file="fuzz.yaml", variables=VARIABLES)


def mesh(data: bytes) -> None:
    """A Meshfile."""
    with suppress(ManifestError):
        load_mesh(_text(data), file="fuzz.yaml", variables=VARIABLES)


def placeholder(data: bytes) -> None:
    """Texts with placeholders: the pieces are the text."""
    text = _text(data)
    is_reference(text)
    with suppress(ValueError):
        pieces = parts(text)
        assert "".join(piece for piece in pieces if isinstance(piece, str)) in text or len(pieces) > 1


def fragment(data: bytes) -> None:
    """Config fragments as JSON text: one spelling for one meaning."""
    with suppress(ValueError):
        once = dump(load(_text(data)))
        assert dump(load(once)) == once


def audit(data: bytes) -> None:
    """An audit log: there always is a verdict, and it is fine for no log that was changed."""
    verdict = verify(io.BytesIO(data))
    if verdict.code == 0 and data != _seed("audit"):
        assert _seed("audit").startswith(data), "an edited log verifies"


def attest(data: bytes) -> None:
    """The body of a request on the enclave port, whatever it says."""
    for path in ("/v1/enclave/challenge", "/v1/enclave/attest"):
        answer = _enclave().handle(Request(method="POST", path=path, body=data))
        assert answer.status in STATUSES, answer.body


def evidence(data: bytes) -> None:
    """Evidence that is signed as it should be, with a fresh challenge in the place of CHALLENGE."""
    port, enclave = _enclave(), SoftwareEnclave()
    answer = port.handle(Request(method="POST", path="/v1/enclave/challenge", body=b'{"protocol":1}'))
    challenge = json.loads(answer.body).get("challenge", "").encode()
    key = base64.b64encode(enclave.quoting_key.public_key().public_bytes_raw())
    body = data.replace(b"CHALLENGE", challenge).replace(b"QUOTING_KEY", key)
    request = json.dumps(enclave.sign(body)).encode()
    answer = port.handle(Request(method="POST", path="/v1/enclave/attest", body=request))
    assert answer.status in STATUSES, answer.body


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (session, policy, service, mesh, placeholder, fragment, audit, attest, evidence)
}


def seeds(target: str) -> list[bytes]:
    """The documents to begin with."""
    return [path.read_bytes() for path in sorted((SEEDS / target).iterdir())]


@cache
def _seed(target: str) -> bytes:
    (found,) = seeds(target)
    return found


@cache
def _enclave() -> EnclaveApi:
    """The enclave port of a CAS with one session, as a function."""
    state = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, state, ignore_errors=True)
    initialise(state, now=datetime(2026, 1, 1, tzinfo=UTC), random=secrets.token_bytes(32))
    SessionRegistry(Store(state, seal_key(state))).upload(SESSION.replace("CREATOR", "ANY").encode(), _somebody())
    return assemble(state).enclave_api


def _somebody() -> Caller:
    from cryptography import x509

    from scone_provider.cas.identity import Identity

    who = Identity.create(common_name="fuzz", now=datetime(2026, 1, 1, tzinfo=UTC))
    return Caller.of(x509.load_pem_x509_certificate(who.certificate_pem.encode()))
