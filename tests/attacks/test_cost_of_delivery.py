"""Somebody whose policy makes little into much: placeholders of large secrets, named often, in every place."""

import base64
import json
import os
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scone_cas.api.http import Request, Response
from scone_cas.server.assembly import CasComponents, assemble, initialise
from support.software_enclave import MEASUREMENT, SoftwareEnclave

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_SIZE = 60_000
_MIB = 1024 * 1024
_PUBLIC = "access_policy: {read: [ANY], update: [ANY]}\n"


@pytest.fixture
def parts(tmp_path: Path) -> CasComponents:
    """A CAS without ports."""
    initialise(tmp_path / "state", now=_NOW, random=os.urandom(32))
    return assemble(tmp_path / "state", clock=lambda: _NOW)


def upload(parts: CasComponents, text: str) -> Response:
    return parts.client_api.handle(Request(method="POST", path="/session", body=text.encode()))


def policy(name: str, service: str, *, secret: str, images: str = "") -> str:
    return (
        f"name: {name}\nversion: '0.3.12'\n{_PUBLIC}security: {{attestation: {{tolerate: [debug-mode]}}}}\n"
        f"services: [{{name: main, attestation: {{mrenclave: {MEASUREMENT}}}, {service}}}]\n"
        f"secrets: [{secret}]\n{images}"
    )


_MANY = 5_000
_OFTEN = "$$SCONE::a$$ " * _MANY
PLACES = {
    "command": ('command: "{}"', ""),
    "environment": ('command: x, environment: {{A: "{}"}}', ""),
    "variables": (
        "command: x, environment: {{" + ", ".join(f"A{n}: $$SCONE::a$$" for n in range(_MANY)) + "}}",
        "",
    ),
    "file": ("command: x, image_name: i", 'images: [{{name: i, injection_files: [{{path: /f, content: "{}"}}]}}]\n'),
    "files": (
        "command: x, image_name: i",
        "images: [{{name: i, injection_files: ["
        + ", ".join(f"{{{{path: /f{n}, content: $$SCONE::a$$}}}}" for n in range(_MANY))
        + "]}}]\n",
    ),
}
GIVEN = f"{{name: a, kind: ascii, value: {'x' * _SIZE}}}"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("secret", [GIVEN, f"{{name: a, kind: ascii, size: {_SIZE}}}"])
def test_what_can_never_be_delivered_is_refused(parts: CasComponents, place: str, secret: str) -> None:
    """A large secret that is named 5,000 times: the upload says that no service could ever receive that."""
    service, images = PLACES[place]
    answer = upload(parts, policy("n", service.format(_OFTEN), secret=secret, images=images.format(_OFTEN)))
    assert answer.status == 400
    assert b"at most 12582912 can be delivered" in answer.body


@pytest.mark.parametrize("place", PLACES)
def test_it_is_counted_while_it_is_filled_in(parts: CasComponents, place: str) -> None:
    """Where only CAS itself knows the size (a secret of another session): refused, in little time and memory."""
    owner = f"name: owner\nversion: '0.3.12'\n{_PUBLIC}secrets: [{GIVEN[:-1]}, export: {{session: n}}}}]\n"
    assert upload(parts, owner).status == 201
    service, images = PLACES[place]
    text = policy(
        "n",
        service.format(_OFTEN),
        secret="{name: a, kind: ascii, import: {session: owner, secret: a}}",
        images=images.format(_OFTEN),
    )
    answer = upload(parts, text)
    assert answer.status == 201, answer.body
    api = parts.enclave_api
    asked = api.handle(Request(method="POST", path="/v1/enclave/challenge", body=b'{"protocol": 1}'))
    request = SoftwareEnclave().request(json.loads(asked.body)["challenge"], "n/main")
    tracemalloc.start()
    try:
        began = time.process_time()
        answer = api.handle(Request(method="POST", path="/v1/enclave/attest", body=json.dumps(request).encode()))
        spent, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status == 403
    error = json.loads(answer.body)["error"]
    assert (error["code"], error["message"]) == (
        "secret_unavailable",
        "the configuration is too large to be delivered",
    )
    assert most < 64 * _MIB
    assert spent < 10


def test_what_is_just_small_enough_is_delivered(parts: CasComponents) -> None:
    """The limit is no larger a refusal than it says: 100 times 60,000 bytes are delivered."""
    text = policy("n", f"command: '{'$$SCONE::a$$ ' * 100}'", secret=GIVEN)
    assert upload(parts, text).status == 201
    api = parts.enclave_api
    asked = api.handle(Request(method="POST", path="/v1/enclave/challenge", body=b'{"protocol": 1}'))
    request = SoftwareEnclave().request(json.loads(asked.body)["challenge"], "n/main")
    answer = api.handle(Request(method="POST", path="/v1/enclave/attest", body=json.dumps(request).encode()))
    assert answer.status == 200
    assert len(base64.b64decode(json.loads(answer.body)["sealed"])) > 100 * _SIZE
