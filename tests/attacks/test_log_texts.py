"""Somebody who writes into CAS's logs through what they send: lines of their own, colours, reversed text, floods."""

import http.client
import json
import re
import socket
import ssl
from contextlib import closing, suppress
from urllib.parse import quote

import pytest

from scone_cas.audit.entry import LONGEST_LINE
from support.software_enclave import SoftwareEnclave

TEXTS = {
    "line": "x\n2026-01-01T00:00:00.000000Z session-stored session=forged",
    "return": "x\r\nforged: 1",
    "ansi": "x\x1b[2J\x1b[31mred",
    "bidi": "x\u202egnp\u2066.exe",
    "nul": "x\x00y",
    "c1": "x\x9b31my",
    "separator": "x\u2028forged\u2029\x85z",
    "surrogate": "x\udc80y",
    "quotes": 'x" forged="1',
    "long": "y" * 12_000,
}
_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z [a-z-]+(?: [a-z_]+=(?:[^\s\"=]+|\"(?:[^\"\\]|\\.)*\"))*")
_LONGEST = 2000


def spoken(port: int, request: bytes, *, name: str | None = None) -> None:
    """Send bytes over TLS, with a server name; whatever comes of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        suppress(OSError, ValueError),
        socket.create_connection(("127.0.0.1", port), 2) as raw,
        context.wrap_socket(raw, server_hostname=name) as secured,
    ):
        secured.sendall(request)
        secured.recv(4096)


def ask(port: int, method: str, path: str, body: bytes = b"") -> None:
    """One request whose path is sent percent-encoded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        closing(http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=15)) as connection,
        suppress(OSError, http.client.HTTPException),
    ):
        connection.request(method, path, body)
        connection.getresponse().read()


@pytest.mark.parametrize("kind", TEXTS)
def test_nothing_of_it_is_written_as_it_is(own_cas, ann, name, kind: str) -> None:
    """Hostile text in every field of every route: each line of the log is one event, short, printable, and ours.

    Names in paths and queries, methods, headers, the server name of TLS, YAML keys and values, JSON keys and values,
    evidence with its config id, measurement, host values and one-time password, messages under a lease.
    """
    text = TEXTS[kind]
    raw = text.encode("utf-8", "surrogateescape")
    quoted = quote(raw)[:7000]
    own = own_cas("--workers", "1")
    own.client(ann).upload(f"name: {name}\nversion: '0.3.12'\n")
    for port in (own.port, own.enclave_port):
        for path in ("session", "v1/sessions", "v1/session_hashes", "v1/values", "v1/enclave"):
            ask(port, "GET", f"/{path}/{quoted}")
        for query in ("namespace", "after", "limit", "nonce", "hash"):
            ask(port, "GET", f"/v1/sessions?{query}={quoted}")
            ask(port, "GET", f"/v1/attest?{query}={quoted}")
        spoken(port, b"GET /v1/version HTTP/1.1\r\nHost: " + raw + b"\r\nUser-Agent: " + raw + b"\r\n\r\n")
        spoken(port, raw[:200] + b" /session HTTP/1.1\r\nHost: x\r\n\r\n")
        spoken(port, b"GET / HTTP/1.1\r\nConnection: close\r\n" + raw + b": 1\r\n\r\n", name="x" * 60)
    written = json.dumps(text)
    for body in (
        f"name: {written}\nversion: '0.3.12'\n",
        f"name: a\nversion: {written}\n",
        f"name: a\nversion: '0.3.12'\n? {written}\n: 1\n",
        f"name: a\nversion: '0.3.12'\npredecessor: {written}\n",
        f"name: a\nversion: '0.3.12'\nsecrets: [{{name: {written}, kind: {written}}}]\n",
        text,
        json.dumps({"session": text, "signatures": [{"signer": text, "signature": text}]}),
    ):
        ask(own.port, "POST", "/session", body.encode("utf-8", "surrogateescape"))
    for message in ({text: text}, {"session": text, "secret": text, "importer": text, "importer_hash": text}):
        ask(own.port, "POST", "/v1/shared_secrets", json.dumps(message).encode())
        ask(own.port, "PUT", "/v1/encrypted_sessions", json.dumps(message).encode())
        ask(own.enclave_port, "POST", "/v1/enclave/attest", json.dumps(message).encode())
    for changes in (
        {"config_id": text[:1000]},
        {"config_id": f"{name}/{text[:900]}"},
        {"config_id": f"{name}/main@{text[:900]}"},
        {"measurement": text},
        {"format": text},
        {"host_arguments": [text]},
        {"host_environment": {text: text}},
        {"accepts": [text]},
    ):
        claims = {"config_id": f"{name}/main"} | changes
        request = SoftwareEnclave().request(own.enclave.challenge(), str(claims.pop("config_id")), **claims)
        ask(own.enclave_port, "POST", "/v1/enclave/attest", json.dumps(request).encode())
    ask(own.enclave_port, "POST", "/v1/enclave/renew", json.dumps({"lease": text, "body": "", "mac": ""}).encode())
    own.stop()
    assert own.audit().code == 0
    check_log(own.log.read_bytes().decode())
    check_audit((own.state / "audit.log").read_bytes())


def check_log(log: str) -> None:
    """One event a line; nothing that a terminal or a reader takes for something else."""
    lines = log.removesuffix("\n").split("\n")
    assert len(lines) > 2
    for line in lines:
        assert line.isprintable(), line
        assert len(line) <= _LONGEST, line
        assert _LINE.fullmatch(line), line
        assert " session-stored session=forged" not in line.split('"')[0]


def check_audit(log: bytes) -> None:
    """Each line is JSON of bounded length, and no control character stands in any of its values."""
    for line in log.splitlines(keepends=True):
        assert len(line) <= LONGEST_LINE
        for value in json.loads(line)["entry"]["fields"].values():
            assert not isinstance(value, str) or value.isprintable(), value
            assert not isinstance(value, str) or len(value) <= 1024, value
