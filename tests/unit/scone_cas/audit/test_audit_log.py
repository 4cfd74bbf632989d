"""The audit log of a CAS: what is recorded, that it comes before the effect, and what a crash or a thief leaves."""

import io
import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from scone_cas.api.http import Request
from scone_cas.audit import verify
from scone_cas.audit.verify import Verdict
from scone_cas.server.assembly import assemble, finish, initialise
from scone_policy.errors import SconeError
from support.software_enclave import SoftwareEnclave

TEXT = """name: n
version: '0.3.10'
services: [{name: main, command: [prog, $$SCONE::s$$], attestation: {mrenclave: %s}}]
secrets: [{name: s, kind: ascii, value: hidden-value}]
security: {attestation: {tolerate: [debug-mode]}}
""" % ("ab" * 32)


def entries(state: Path) -> list[dict]:
    """The entries of a log that verifies."""
    verdict = check(state)
    assert verdict.code == 0, verdict
    return [json.loads(line)["entry"] for line in (state / "audit.log").read_bytes().splitlines()]


def check(state: Path) -> Verdict:
    """The verdict on a state's log."""
    return verify.verify(io.BytesIO((state / "audit.log").read_bytes()))


def events(state: Path) -> list[str]:
    """The events of a log that verifies."""
    return [entry["event"] for entry in entries(state)]


def attest(cas, config_id: str = "n/main", **changes: object) -> int:
    """The status of one attestation."""
    api = cas.parts.enclave_api
    asked = api.handle(Request(method="POST", path="/v1/enclave/challenge", body=b'{"protocol": 1}'))
    body = SoftwareEnclave().request(json.loads(asked.body)["challenge"], config_id, **changes)
    request = Request(method="POST", path="/v1/enclave/attest", body=json.dumps(body).encode(), address="192.0.2.7")
    return api.handle(request).status


def restart(cas, **options: Any) -> None:
    """The next start of the CAS."""
    initialise(cas.state, random=bytes(32), **options)
    cas.parts.journal.close()
    cas.parts = assemble(cas.state)


def test_what_is_recorded(cas, person) -> None:
    """Every event with who and what; never a value, an argument or a secret; the file is private."""
    ann = person("ann")
    first = cas.ask("POST", "/session", who=ann, body=TEXT.encode())
    hash_ = first.body.decode().split("id=")[1][:64]
    cas.ask("POST", "/session", who=ann, body=f"{TEXT}predecessor: {hash_}\n".encode())
    cas.ask("GET", "/session/n", who=ann)
    cas.ask("GET", "/v1/sessions/n", who=ann, hash=hash_)
    assert attest(cas, host_arguments=["host-argument"]) == 200
    assert attest(cas, measurement="00" * 32) == 403
    cas.parts.journal.close()
    finish(cas.state, reason="stopped")
    found = entries(cas.state)
    assert [entry["event"] for entry in found] == [
        "cas_started",
        "log_enabled",
        "session_created",
        "session_updated",
        "session_read",
        "session_read",
        "service_attested",
        "service_refused",
        "cas_exited",
    ]
    created = {"session": "n", "hash": None, "version": 1, "key": ann.key_hash, "signers": [], "address": ""}
    assert found[2]["fields"] == created
    assert found[5]["fields"] == {"session": "n", "hash": None, "key": ann.key_hash, "address": ""}
    assert found[6]["fields"] == {
        "session": "n",
        "hash": None,
        "service": "main",
        "measurement": "ab" * 32,
        "address": "192.0.2.7",
    }
    assert found[7]["fields"]["code"] == "unexpected_measurement"
    written = (cas.state / "audit.log").read_bytes()
    assert b"hidden-value" not in written
    assert b"host-argument" not in written
    assert (cas.state / "audit.log").stat().st_mode & 0o777 == 0o600


def test_refused_changes_are_not_announced(cas, person) -> None:
    """A wrong predecessor, a foreign key and a missing session leave no entry."""
    cas.ask("POST", "/session", who=person("ann"), body=TEXT.encode())
    before = len(entries(cas.state))
    assert cas.ask("POST", "/session", who=person("ann"), body=TEXT.encode()).status == 409
    assert cas.ask("GET", "/session/n", who=person("bob")).status == 403
    assert cas.ask("GET", "/session/other", who=person("bob")).status == 404
    assert len(entries(cas.state)) == before


@pytest.mark.parametrize("harm", ["moved", "shortened", "disk"])
def test_no_effect_without_an_entry(cas, person, harm: str, monkeypatch) -> None:
    """When the log cannot be written nothing is changed, read or delivered."""
    ann = person("ann")
    cas.ask("POST", "/session", who=ann, body=TEXT.encode())
    path = cas.state / "audit.log"
    if harm == "moved":
        path.rename(cas.state / "moved.log")
    elif harm == "shortened":
        os.truncate(path, path.stat().st_size // 2)
    else:

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fdatasync", full)
    assert cas.ask("POST", "/session", who=ann, body=b"name: m\nversion: '0.3'\n").status in (503, 507)
    assert cas.ask("GET", "/session/n", who=ann).status in (503, 507)
    assert attest(cas) == 503
    assert cas.sessions.live("m") is None


def test_half_written_entry_is_taken_back(cas, person, monkeypatch) -> None:
    """A disk that takes half of a line fails the request; the log stays whole, and goes on when there is room again."""
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        return real(descriptor, data[: len(data) // 2]) if data.startswith(b'{"entry"') else real(descriptor, data)

    cas.ask("POST", "/session", who=person("ann"), body=TEXT.encode())
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        assert cas.ask("GET", "/session/n", who=person("ann")).status in (503, 507)
    assert cas.ask("GET", "/session/n", who=person("ann")).status == 200
    assert events(cas.state)[-2:] == ["session_created", "session_read"]


def test_unfinished_line_of_a_killed_writer(cas, person) -> None:
    """10 until the next writer, of this process or another, removes it; then the chain goes on."""
    cas.ask("POST", "/session", who=person("ann"), body=TEXT.encode())
    for cut in (1, 100, 300):
        path = cas.state / "audit.log"
        with path.open("ab") as file:
            file.write(path.read_bytes().splitlines(keepends=True)[-1][:cut])
        assert check(cas.state).code == 10
        assert cas.ask("GET", "/session/n", who=person("ann")).status == 200
        assert events(cas.state)[-1] == "session_read"


def test_killed_before_the_commit(cas, person, monkeypatch) -> None:
    """The one change that was announced and did not happen is told by the next start, and only once."""

    class KilledError(BaseException):
        """The end of the process."""

    def kill(*_arguments: object) -> None:
        raise KilledError

    cas.ask("POST", "/session", who=person("ann"), body=TEXT.encode())
    journal = cas.parts.client_api._sessions._journal
    with monkeypatch.context() as patch:
        # A killed process tells nothing more: its entry of the failure is not written either.
        patch.setattr(cas.parts.client_api._sessions._store, "keep", kill)
        real = journal.record
        patch.setattr(journal, "record", lambda event, **f: real(event, **f) if event != "session_failed" else kill())
        with pytest.raises(KilledError):
            cas.ask("POST", "/session", who=person("ann"), body=b"name: m\nversion: '0.3'\n")
    assert events(cas.state)[-1] == "session_created"
    number = entries(cas.state)[-1]["number"]
    assert cas.sessions.live("m") is None
    restart(cas)
    assert events(cas.state)[-2:] == ["cas_started", "session_failed"]
    assert entries(cas.state)[-1]["fields"] == {"of": number}
    restart(cas)
    assert events(cas.state)[-1:] == ["cas_started"]
    assert events(cas.state).count("session_failed") == 1


def test_failed_commit(cas, person, monkeypatch) -> None:
    """A commit that fails in a running CAS is told at once, and not again at the next start."""

    def fail(*_arguments: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(cas.parts.client_api._sessions._store, "keep", fail)
        assert cas.ask("POST", "/session", who=person("ann"), body=TEXT.encode()).status == 500
    assert events(cas.state)[-2:] == ["session_created", "session_failed"]
    assert cas.sessions.live("n") is None
    restart(cas)
    assert events(cas.state).count("session_failed") == 1


@pytest.mark.parametrize("harm", ["lost", "emptied", "older", "changed"])
def test_start_without_the_log(cas, person, harm: str) -> None:
    """A log that lacks what the store knows stops the start; to give it up and begin anew is a decision."""
    path = cas.state / "audit.log"
    older = path.read_bytes()
    cas.ask("POST", "/session", who=person("ann"), body=TEXT.encode())
    whole = path.read_bytes()
    path.unlink()
    if harm != "lost":
        path.write_bytes(
            {"emptied": b"", "older": older, "changed": whole.replace(b"session_created", b"session_credited")}[harm]
        )
    with pytest.raises(SconeError, match="audit log"):
        restart(cas)
    restart(cas, audit_log=False)
    assert cas.ask("GET", "/session/n", who=person("ann")).status == 200
    if path.exists():
        path.rename(cas.state / "kept.log")
    restart(cas)
    assert events(cas.state) == ["cas_started", "log_enabled"]


def test_log_off_and_on(cas, person) -> None:
    """Switching the log off and on is in the log; in between nothing is, and the chain holds."""
    restart(cas, audit_log=False)
    cas.ask("POST", "/session", who=person("ann"), body=TEXT.encode())
    finish(cas.state, reason="stopped")
    restart(cas)
    assert events(cas.state) == [
        "cas_started",
        "log_enabled",
        "cas_started",
        "log_disabled",
        "cas_started",
        "log_enabled",
    ]


def test_writers_at_a_time(cas, person) -> None:
    """Threads of several processes' logs append to one chain without a gap."""
    cas.ask("POST", "/session", who=person("ann"), body=TEXT.encode())
    others = [assemble(cas.state) for _ in range(3)]

    def write(number: int) -> None:
        for _ in range(25):
            others[number % 3].journal.record("session_read", session=str(number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = entries(cas.state)
    assert len(found) == 3 + 150
    assert sorted(entry["fields"]["session"] for entry in found[3:]) == sorted(
        str(n) for n in range(6) for _ in range(25)
    )
    for other in others:
        other.journal.close()


def test_one_disk_write_for_many(cas, monkeypatch) -> None:
    """Entries that wait together share one write to disk, and none is carried by a write that began before it."""
    journal = cas.parts.journal
    journal.record("session_read")
    real, inside, go, count = os.fdatasync, threading.Event(), threading.Event(), []

    def slow(descriptor: int) -> None:
        count.append(descriptor)
        inside.set()
        go.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    threads = [threading.Thread(target=journal.record, args=("session_read",)) for _ in range(9)]
    threads[0].start()
    assert inside.wait(10)
    for thread in threads[1:]:
        thread.start()
    while check(cas.state).entries < 12:
        assert threads[1].is_alive()
    assert all(thread.is_alive() for thread in threads)
    go.set()
    for thread in threads:
        thread.join()
    assert len(count) == 2
