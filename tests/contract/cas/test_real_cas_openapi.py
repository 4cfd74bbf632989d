"""Requests that schemathesis makes up from the served documents, on both real ports: right, wrong, and at the edges."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

load_all_checks()
DOCUMENTS = Path(__file__).parents[3] / "docs" / "openapi"
OPERATIONS = [
    pytest.param((port, path, method), mode, id=f"{port} {method} {path} {mode.value}")
    for port in ("client", "enclave")
    for path, operations in json.loads((DOCUMENTS / f"{port}.json").read_bytes())["paths"].items()
    for method, operation in operations.items()
    for mode in GenerationMode
    # What takes nothing cannot be asked wrongly.
    if mode is GenerationMode.POSITIVE or {"parameters", "requestBody"} & set(operation)
]
# No schema tells which descriptions keep every rule of the session language, what is encrypted to this CAS, which CASes
# are trusted, or which evidence and messages are signed.
BEYOND_SCHEMAS = {
    path: ["positive_data_acceptance"] for path in ("/session", "/v1/encrypted_sessions", "/v1/shared_secrets")
} | {f"/v1/enclave/{what}": ["positive_data_acceptance"] for what in ("attest", "tag", "renew", "exit")}


@pytest.fixture(scope="session")
def caller(cas, ann, tmp_path_factory) -> requests.Session:
    """An HTTP session with a client certificate that trusts the CAS's certificate alone."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cas.pem").write_text(ssl.get_server_certificate(("127.0.0.1", cas.port)))
    (folder / "ann.pem").write_text(ann.private_key_pem + ann.certificate_pem)
    (folder / "ann.pem").chmod(0o600)
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = str(folder / "cas.pem"), str(folder / "ann.pem")
    return session


@pytest.mark.parametrize("examples", [40, pytest.param(1500, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize(("where", "mode"), OPERATIONS)
def test_answers_are_as_described(cas, caller, where: tuple[str, str, str], mode: Any, examples: int) -> None:
    """Every answer's status, type, headers and body are as described; wrong requests are refused; nothing is 500."""
    port, path, method = where
    address = f"https://127.0.0.1:{cas.port if port == 'client' else cas.enclave_port}"
    document = caller.get(f"{address}/v1/openapi.json").json()
    operation = schemathesis.openapi.from_dict(document)[path][method]
    excluded: Any = [CHECKS.get_one(name) for name in BEYOND_SCHEMAS.get(path, [])]

    @settings(max_examples=examples, database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(
            base_url=address, session=caller, verify=caller.verify, excluded_checks=excluded, timeout=20
        )

    ask()
