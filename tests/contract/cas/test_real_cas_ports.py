"""The two ports and their supervisor: delivery, limits, hostile clients, stops, kills."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from scone_provider.cas.errors import CasConflict
from scone_provider.errors import CasError
from support.real_cas import PROVIDER
from support.software_enclave import MEASUREMENT

SERVICE = f"""
services:
  - name: main
    command: [prog, $$SCONE::s$$]
    attestation: {{mrenclave: {MEASUREMENT}}}
secrets: [{{name: s, kind: ascii, size: 24}}]
security: {{attestation: {{tolerate: [debug-mode]}}}}
"""


SALT = "salt: '00112233445566778899aabbccddeeff'\n"


def text(name: str, predecessor: str | None = None, rest: str = SERVICE) -> str:
    """A session with one service."""
    before = f"predecessor: {predecessor}\n" if predecessor else ""
    return f"name: {name}\nversion: '0.3.12'\n{before}{rest}"


def test_service_gets_its_configuration(cas, ann, name) -> None:
    """Challenge, evidence, sealed answer, over both ports' real TLS; the value is the same on both workers."""
    cas.client(ann).upload(text(name))
    values = set()
    for _ in range(12):
        status, found = cas.enclave.attest(f"{name}/main")
        assert status == 200, found
        values.add(found["arguments"][1])
    assert len(values) == 1
    assert len(values.pop()) == 24


def test_workers_share_used_challenges(cas, ann, name) -> None:
    """A challenge that one worker consumed is refused by all."""
    cas.client(ann).upload(text(name))
    challenge = cas.enclave.challenge()
    statuses = []
    for _ in range(8):
        from support.software_enclave import SoftwareEnclave

        statuses.append(cas.enclave.post("/v1/enclave/attest", SoftwareEnclave().request(challenge, f"{name}/main"))[0])
    assert sorted(statuses) == [200] + [403] * 7


def test_refusal_over_the_wire(cas, ann, name) -> None:
    """A refusal has the status, code and found of the protocol, and nothing of the policy."""
    cas.client(ann).upload(text(name))
    status, error = cas.enclave.attest(f"{name}/main", measurement="00" * 32)
    assert (status, error["code"], error["found"]) == (403, "unexpected_measurement", "00" * 32)
    assert MEASUREMENT not in str(error)


def test_both_ports_present_the_same_key(cas) -> None:
    """Launchers and clients pin one key."""
    certificates = {ssl.get_server_certificate(("127.0.0.1", port)) for port in (cas.port, cas.enclave_port)}
    assert len(certificates) == 1


def test_enclave_port_is_tls13_only(cas) -> None:
    """Older TLS is refused there, and TLS 1.1 on the client port."""
    for port, newest in ((cas.enclave_port, ssl.TLSVersion.TLSv1_2),):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode, context.maximum_version = False, ssl.CERT_NONE, newest
        with socket.create_connection(("127.0.0.1", port), 5) as raw, pytest.raises(ssl.SSLError):
            context.wrap_socket(raw)


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", os.urandom(400), b"\x16\x03\x01\xff\xff" + bytes(200)])
def test_junk_instead_of_tls_disturbs_nobody(cas, junk: bytes) -> None:
    """Whoever speaks no TLS is cut off; the ports go on."""
    for port in (cas.port, cas.enclave_port):
        with socket.create_connection(("127.0.0.1", port), 5) as raw:
            raw.settimeout(15)
            raw.sendall(junk)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(1000):
                pass
    assert cas.enclave.challenge()
    assert cas.client(None).version()


def secured(port: int) -> ssl.SSLSocket:
    """A raw TLS connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 15))


@pytest.mark.parametrize("kind", ["announced", "chunked"])
def test_huge_bodies_are_refused_early(cas, kind: str) -> None:
    """A body over the limit is refused before it is read whole, on both ports."""
    for port, path, limit, status in (
        (cas.port, "/session", 1 << 20, 413),
        (cas.enclave_port, "/v1/enclave/attest", 1 << 16, 400),
    ):
        with secured(port) as connection:
            how = "Transfer-Encoding: chunked" if kind == "chunked" else f"Content-Length: {limit * 64}"
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: cas\r\n{how}\r\n\r\n".encode())
            try:
                for _ in range(limit * 2 // 4096 if kind == "chunked" else 0):
                    connection.sendall(b"1000\r\n" + bytes(4096) + b"\r\n")
            except OSError:
                pass
            answer = connection.recv(4096)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:80]


def test_largest_session_is_taken(cas, ann, name) -> None:
    """A description just below the limit is stored and read back; its parser's limit is not below the port's."""
    filler = "".join(f"- {{name: s{number}, kind: ascii, value: {'x' * 4000}}}\n" for number in range(200))
    client = cas.client(ann)
    hash_ = client.upload(text(name, rest="secrets:\n" + filler))
    assert client.read(name).hash == hash_


def test_rate_limit(own_cas, ann) -> None:
    """Too many requests from one address get 429 with Retry-After on both ports, and later answers again."""
    own = own_cas("--rate", "4", "--workers", "1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for port, method, path, body in (
        (own.port, "GET", "/v1/version", None),
        (own.enclave_port, "POST", "/v1/enclave/challenge", b'{"protocol": 1}'),
    ):
        answers = []
        with closing(http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)) as connection:
            for _ in range(30):
                connection.request(method, path, body)
                answer = connection.getresponse()
                content = answer.read()
                answers.append((answer.status, answer.getheader("Retry-After")))
        assert answers[0] == (200, None)
        assert (429, "1") in answers
        assert b"too many requests" in content
    assert own.client(ann).version()


def test_slow_clients_do_not_stop_others(cas) -> None:
    """Connections that never finish their request leave room for those that do."""
    slow = [secured(port) for port in (cas.port, cas.enclave_port) for _ in range(30)]
    for connection in slow:
        connection.sendall(b"POST /session HTTP/1.1\r\nHost: cas\r\nContent-Length: 100\r\n\r\nx")
    assert cas.enclave.challenge()
    assert cas.client(None).version()
    for connection in slow:
        connection.close()


def test_graceful_stop(own_cas, ann, name) -> None:
    """SIGTERM: exit code 0, no process left, and what was stored is there after the next start."""
    own = own_cas()
    hash_ = own.client(ann).upload(text(name))
    children = own.children()
    assert len(children) >= 4
    assert own.stop() == 0
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    own.start()
    assert own.client(ann).read(name).hash == hash_


@pytest.mark.parametrize("which", [0, 1, -1], ids=["client", "enclave", "worker"])
def test_dead_child_stops_all(own_cas, which: int) -> None:
    """When a process dies the supervisor stops the others, says so, and fails."""
    own = own_cas()
    children = own.children()
    os.kill(children[which], signal.SIGKILL)
    assert own.process.wait(30) == 1
    assert b"ended by itself" in own.log.read_bytes()
    wait_gone(children)


def test_dead_supervisor_stops_all(own_cas) -> None:
    """A kill -9 of the supervisor alone leaves no process behind, and the state can be used again."""
    own = own_cas()
    children = own.children()
    os.kill(own.process.pid, signal.SIGKILL)
    own.process.wait()
    wait_gone(children)
    own.start()
    assert own.enclave.challenge()


def wait_gone(pids: list[int]) -> None:
    """Until none of these processes is there."""
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.02)


def refused_start(*options: str) -> str:
    """What a CAS says that cannot start."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "scone_cas", "serve", *options],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROVIDER)},
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_second_cas_on_the_state(cas) -> None:
    """Refused in words; the first one goes on."""
    said = refused_start("--state", str(cas.state), "--client-port", "0", "--enclave-port", "0")
    assert "another CAS runs on this state" in said
    assert cas.enclave.challenge()


@pytest.mark.parametrize("port", ["client", "enclave"])
def test_taken_port(cas, tmp_path, port: str) -> None:
    """A port that is in use is named, although granian's sockets may be shared."""
    taken = cas.port if port == "client" else cas.enclave_port
    other = "enclave" if port == "client" else "client"
    said = refused_start("--state", str(tmp_path / "s"), f"--{port}-port", str(taken), f"--{other}-port", "0")
    assert f"the port {taken} on 127.0.0.1 cannot be used" in said


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.long)])
def test_kill_in_a_storm_of_uploads(own_cas, ann, name, kills: int) -> None:
    """Kill -9 while sessions are uploaded and services attested.

    Every session is whole and as new as it was acknowledged; the log verifies, holds what was acknowledged, and says
    which of the announced changes did not happen.
    """
    own = own_cas()
    known: dict[str, list[str]] = {}

    for round_ in range(kills):
        names = [f"{name}-{number}" for number in range(3)]
        kill_in_storm(own, ann, names, known, uploads=6 + round_ % 17)
        assert own.audit().code in (0, 10)
        own.start()
        client = own.client(ann)
        for session in names:
            new = [
                version.hash
                for version in client.history(session, until_hash=known[session][-1] if known[session] else None)
            ][::-1]
            # What was acknowledged is there; at most the one upload that got no answer comes on top.
            assert new[:1] == known[session][-1:] or not known[session]
            assert len(new) <= 1 + bool(known[session])
            known[session] = known[session][:-1] + new
            assert cas_delivers(own, session) if known[session] else True
        verdict = own.audit()
        assert (verdict.code, verdict.crashes, verdict.cas_key) == (0, round_ + 1, own.key_hash)
    assert all(len(history) > 3 for history in known.values())
    assert logged_changes(own) == known


def kill_in_storm(own, ann, names: list[str], known: dict[str, list[str]], *, uploads: int) -> None:
    """Upload and attest at a time, kill after so many uploads; `known` gets what was acknowledged."""
    for session in names:
        known.setdefault(session, [])

    def storm(session: str, stop: threading.Event) -> None:
        history = known[session]
        try:
            client = own.client(ann)
            while not stop.is_set():
                # With a salt: then the audit log tells the hashes.
                history.append(client.upload(text(session, history[-1] if history else None, SALT + SERVICE)))
        except CasError:
            return

    def attest(session: str, stop: threading.Event) -> None:
        with suppress(OSError, http.client.HTTPException):
            while not stop.is_set():
                own.enclave.attest(f"{session}/main")

    stop = threading.Event()
    threads = [threading.Thread(target=storm, args=(session, stop)) for session in names]
    threads.append(threading.Thread(target=attest, args=(names[0], stop)))
    for thread in threads:
        thread.start()
    goal = sum(map(len, known.values())) + uploads
    while sum(map(len, known.values())) < goal:
        assert any(thread.is_alive() for thread in threads), own.log.read_text()[-2000:]
        time.sleep(0.001)
    own.kill()
    stop.set()
    for thread in threads:
        thread.join()


def logged_changes(own) -> dict[str, list[str]]:
    """Session → hashes of its versions, as the log tells: announced, and not told to have failed."""
    entries = [json.loads(line)["entry"] for line in (own.state / "audit.log").read_bytes().splitlines()]
    failed = {entry["fields"]["of"] for entry in entries if entry["event"] == "session_failed"}
    found: dict[str, list[str]] = {}
    for entry in entries:
        if entry["event"] in ("session_created", "session_updated") and entry["number"] not in failed:
            found.setdefault(entry["fields"]["session"], []).append(entry["fields"]["hash"])
    return found


@pytest.mark.parametrize("writers", [16, pytest.param(100, marks=pytest.mark.long)])
def test_one_of_many_writers_wins(cas, ann, name, writers: int) -> None:
    """Of N updates that name one predecessor exactly one is stored, N-1 get the conflict; readers never see half."""
    client = cas.client(ann)
    base = client.upload(text(name))
    outcomes: list[str] = []
    seen: set[tuple[str, str]] = set()
    begin, stop = threading.Barrier(writers + 3), threading.Event()

    def write(number: int) -> None:
        rest = f"secrets: [{{name: w, kind: ascii, value: w{number}}}, {{name: v, kind: ascii, value: w{number}}}]\n"
        begin.wait()
        try:
            outcomes.append(client.upload(text(name, base, rest)))
        except CasConflict:
            outcomes.append("conflict")

    def read() -> None:
        begin.wait()
        while not stop.is_set():
            found = client.read(name)
            seen.add((found.hash, found.description_yaml))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in (*threads, *readers):
        thread.start()
    begin.wait()
    for thread in threads:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert outcomes.count("conflict") == writers - 1
    (winner,) = set(outcomes) - {"conflict"}
    assert client.read(name).hash == winner
    # Whoever read saw the old version or the winner's, each with the one text that belongs to it.
    assert {hash_ for hash_, _ in seen} <= {base, winner}
    assert len(seen) <= 2


def cas_delivers(own, session: str) -> bool:
    """The values of the newest version are whole: a service gets them."""
    status, found = own.enclave.attest(f"{session}/main")
    return status == 200 and len(found["arguments"][1]) == 24
