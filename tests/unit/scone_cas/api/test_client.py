"""The client port as a function of requests: routes, answers and errors of the published interface."""

import base64
import json
import re
import secrets

import pytest

from scone_cas import VERSION, log
from scone_cas.identity.cas_evidence import measure
from scone_cas.limits import Gate, RateLimit
from scone_cas.tally import Tally
from scone_policy.keys.cas_evidence import software_key

TEXT = """name: app/x
version: '0.3'
secrets: [{name: p, kind: ascii, value: open, export_public: true}, {name: q, kind: ascii}]
"""


@pytest.fixture
def filled(cas, person):
    """A CAS with the namespace `app` and the session `app/x` of ann."""
    cas.upload("name: app\nversion: '0.3'\n", person("ann"))
    cas.upload(TEXT, person("ann"))
    return cas


def test_created_text(cas, person) -> None:
    """201, and the text that clients take the hash from."""
    answer = cas.ask("POST", "/session", who=person("ann"), body=b"name: n\nversion: '0.3'\n")
    assert answer.status == 201
    assert re.fullmatch(rb"Created Session\[id=[0-9a-f]{64}, name='n', status='\w+'\]", answer.body)


def test_session_yaml(filled, person) -> None:
    """GET /session gives the YAML; names hold slashes as they are."""
    answer = filled.ask("GET", "/session/app/x", who=person("ann"))
    assert answer.status == 200
    assert answer.body.startswith(b"name: app/x\n")


def test_versioned_read(filled, person) -> None:
    """/v1/sessions gives session, hash and predecessor; with an old hash, that version."""
    first = json.loads(filled.ask("GET", "/v1/sessions/app/x", who=person("ann")).body)
    filled.upload(TEXT.replace("open", "more") + f"predecessor: {first['hash']}\n", person("ann"))
    second = json.loads(filled.ask("GET", "/v1/sessions/app/x", who=person("ann")).body)
    old = json.loads(filled.ask("GET", "/v1/sessions/app/x", who=person("ann"), hash=first["hash"].upper()).body)
    assert second["predecessor"] == first["hash"]
    assert old == first
    assert first["predecessor"] is None


def test_values(filled) -> None:
    """Public values are for anyone; the others are not told from missing ones."""
    all_values = json.loads(filled.ask("GET", "/v1/values/session=app/x").body)
    one = json.loads(filled.ask("GET", "/v1/values/session=app/x,secret=p").body)
    assert all_values == {"values": {"p": {"kind": "ascii", "value": "open"}}}
    assert one == {"value": "open"}
    hidden, missing = (filled.ask("GET", f"/v1/values/session=app/x,secret={name}") for name in ("q", "zzz"))
    assert hidden.status == missing.status == 404
    assert hidden.body == missing.body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/session/none", 403),
        ("GET", "/session/app/x", 403),
        ("GET", "/v1/sessions/app/x", 403),
        ("GET", "/v1/sessions/none", 403),
        ("GET", "/v1/sessions/a//b", 400),
        ("GET", "/v1/values/app/x", 400),
        ("GET", "/v1/values/session=none", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/", 404),
        ("DELETE", "/session/app/x", 405),
        ("POST", "/session", 400),
        ("GET", "/v1/attest", 400),
    ],
)
def test_errors_carry_the_version(filled, method: str, path: str, status: int) -> None:
    """Errors are text under /session and JSON under /v1, and both name the CAS's version."""
    answer = filled.ask(method, path)
    assert answer.status == status
    assert VERSION.encode() in answer.body
    if path.startswith("/v1/"):
        assert set(json.loads(answer.body)) == {"error", "version"}
    else:
        assert answer.body.startswith(b"Error: ")


def test_faults_are_not_explained_to_clients(filled, person, capfd, monkeypatch) -> None:
    """When the store breaks, the client gets 500 in words and the log the kind of fault."""
    monkeypatch.setattr(log, "_REPEATED", Tally())
    with filled.store.writing() as db:
        db.execute("UPDATE session SET description = x'00'")
    answer = filled.ask("GET", "/session/app/x", who=person("ann"))
    assert answer.status == 500
    assert b"log says more" in answer.body
    assert "client-fault" in capfd.readouterr().err


def test_evidence_is_bound(cas) -> None:
    """The evidence repeats the nonce, names the key, and says that it is simulated debug."""
    nonce = secrets.token_urlsafe(32)
    body = json.loads(base64.b64decode(json.loads(cas.ask("GET", "/v1/attest", nonce=nonce).body)["evidence"]["body"]))
    assert body["nonce"] == nonce
    assert body["debug"] is True
    assert body["cas_key"] == cas.parts.identity.key_hash
    assert body["mrenclave"] == measure().hex()
    assert body["software_key"] == software_key(measure())


@pytest.mark.parametrize("nonce", ["", "A", "A" * 42, "A" * 44, "A" * 42 + "!", "é" * 43])
def test_bad_nonces_are_refused(cas, nonce: str) -> None:
    """A nonce has exactly 32 bytes."""
    assert cas.ask("GET", "/v1/attest", nonce=nonce).status == 400


def test_measurement_follows_the_sources(tmp_path) -> None:
    """Any change of a source file, its name or its place changes the measurement; other files do not matter."""
    (tmp_path / "a.py").write_text("x = 1")
    first = measure(tmp_path)
    (tmp_path / "notes.txt").write_text("ignored")
    assert measure(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2")
    second = measure(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, second, measure(tmp_path)}) == 3


def test_rate_limit_fills_again() -> None:
    """After the burst an address waits; others do not; time gives tokens back up to the burst."""
    clock = [0.0]
    limit = RateLimit(rate=2, burst=3, clock=lambda: clock[0])
    assert [limit.admits("a") for _ in range(4)] == [True, True, True, False]
    assert limit.admits("b")
    clock[0] = 0.5
    assert [limit.admits("a") for _ in range(2)] == [True, False]
    clock[0] = 100
    assert sum(limit.admits("a") for _ in range(10)) == 3


def test_rate_limit_remembers_a_bounded_number_of_addresses() -> None:
    """Many addresses cannot fill the memory."""
    limit = RateLimit(rate=1, burst=1)
    for number in range(10_050):
        limit.admits(str(number))
    assert len(limit._buckets) == 10_000


def test_gate() -> None:
    """As many as fit, and again after somebody left."""
    gate = Gate(2)
    assert [gate.enter() for _ in range(3)] == [True, True, False]
    gate.leave()
    assert gate.enter()
