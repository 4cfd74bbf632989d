"""Somebody who fills the disk, or whose neighbour does: CAS says so, starts, reads, refuses, and loses nothing."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scone_cas.api.http import Request
from scone_cas.audit.rotation import files_in
from scone_cas.audit.verify import TRUNCATED_OLD
from scone_cas.server.assembly import assemble, finish, initialise
from scone_cas.storage.reserve import Reserve
from scone_provider.cas.client import CasClient
from scone_provider.cas.identity import Identity
from scone_provider.errors import CasError
from support.real_cas import RealCas
from support.small_disk import SYSTEM_CALLS, empty, fail, fill, small_disk
from support.software_enclave import MEASUREMENT, SoftwareEnclave

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_REST = f"""
services: [{{name: main, command: prog, attestation: {{mrenclave: {MEASUREMENT}}}}}]
security: {{attestation: {{tolerate: [debug-mode]}}}}
"""


def text(name: str, *, filler: int = 0) -> str:
    """A session, with so many bytes more."""
    return f"name: {name}\nversion: '0.3.12'\n{_REST}secrets: [{{name: s, kind: ascii, value: '{'x' * filler}y'}}]\n"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    with small_disk(tmp_path / "disk") as found:
        yield found


@pytest.fixture
def served(disk: Path) -> Iterator[RealCas]:
    """A CAS on it, whose log goes elsewhere."""
    found = RealCas(disk / "state")
    found.log = disk.parent / "cas.log"
    found.start()
    yield found
    empty(disk)
    if found.process is not None and found.process.poll() is None:
        found.stop()


def read_hash(served: RealCas, who: Identity, name: str) -> str:
    """The hash of a session that is there."""
    found = served.client(who).read(name)
    assert found is not None
    return found.hash


def test_replays_write_nothing(served: RealCas, ann, name) -> None:
    """A used attestation, sent 1,000 times: a few entries in the audit log and lines in the log, not thousands."""
    served.client(ann).upload(text(name))
    request = SoftwareEnclave().request(served.enclave.challenge(), f"{name}/main")
    assert served.enclave.post("/v1/enclave/attest", request)[0] == 200
    before = (served.state / "audit.log").stat().st_size, served.log.stat().st_size
    for _ in range(1000):
        status, answer = served.enclave.post("/v1/enclave/attest", request)
        assert (status, answer["error"]["code"]) == (403, "bad_challenge")
    assert (served.state / "audit.log").stat().st_size - before[0] < 4096
    assert served.log.stat().st_size - before[1] < 4096
    assert served.audit().code == 0


def test_full_disk(served: RealCas, disk: Path, ann, name) -> None:
    """A full disk is said in words, the CAS starts on it, reads and refuses; with room again all goes on as before."""
    hash_ = served.client(ann).upload(text(name))
    for again in (False, True):
        fill(disk)
        if again:
            served.kill()
            served.start()
            assert read_hash(served, ann, name) == hash_
        with pytest.raises(CasError, match=r"disk is (nearly )?full"):
            served.client(ann).upload(text(f"{name}-2"))
        request = SoftwareEnclave().request(served.enclave.challenge(), f"{name}/main")
        status, answer = served.enclave.post("/v1/enclave/attest", request)
        assert (status, answer["error"]["code"]) == (503, "storage")
        assert "full" in answer["error"]["message"]
        empty(disk)
        assert served.enclave.attest(f"{name}/main")[0] == 200
    served.client(ann).upload(text(f"{name}-2"))
    assert served.audit().code == 0
    assert b"Traceback" not in served.log.read_bytes()


def test_many_starts_on_a_full_disk(served: RealCas, disk: Path, ann, name) -> None:
    """A CAS that is killed and started again and again on a full disk comes up each time."""
    hash_ = served.client(ann).upload(text(name))
    fill(disk)
    for _ in range(6):
        served.kill()
        served.start()
        assert read_hash(served, ann, name) == hash_


def test_no_inodes(tmp_path: Path, ann, name) -> None:
    """Where no file can be made any more it is the same: words, a start, reads."""
    with small_disk(tmp_path / "disk", inodes=40) as disk:
        served = RealCas(disk / "state")
        served.log = tmp_path / "cas.log"
        served.start()
        try:
            hash_ = served.client(ann).upload(text(name))
            while os.statvfs(disk).f_favail:
                (disk / os.urandom(8).hex()).touch()
            with pytest.raises(CasError, match=r"disk is (nearly )?full"):
                served.client(ann).upload(text(f"{name}-2"))
            assert read_hash(served, ann, name) == hash_
        finally:
            served.stop()


def parts(state: Path) -> Callable[..., tuple[int, str]]:
    """A CAS without ports on a state: `ask(method, path, body)` gives status and text."""
    initialise(state, now=_NOW, random=os.urandom(32))
    found = assemble(state, clock=lambda: _NOW)

    def ask(method: str, path: str, body: str = "") -> tuple[int, str]:
        if path.startswith("/v1/enclave"):
            answer = found.enclave_api.handle(Request(method=method, path=path, body=body.encode()))
        else:
            answer = found.client_api.handle(Request(method=method, path=path, body=body.encode()))
        return answer.status, answer.body.decode()

    return ask


_PUBLIC = "\naccess_policy: {read: [ANY], update: [ANY]}\n"


@pytest.mark.parametrize("step", [pytest.param(4096, marks=pytest.mark.long), 5 * 4096])
def test_every_write_meets_a_full_disk(disk: Path, monkeypatch, step: int) -> None:
    """The disk is filled up to each page: whichever write fails, the answer says so, and what was stored stays.

    The reserve is switched off: as if another program took the room in the very moment.
    """
    monkeypatch.setattr(Reserve, "require", lambda *_: None)
    state, stored, answers = disk / "state", [], set()
    ask = parts(state)
    for left in range(0, 60 * 4096, step):
        fill(disk, leave=left)
        name = f"n{left}"
        status, body = ask("POST", "/session", text(name, filler=20_000) + _PUBLIC)
        answers.add(status)
        assert status == 201 or (status == 507 and "disk is full" in body), (left, status, body)
        if status == 201:
            stored.append(name)
        for path in ("/session/n0", f"/session/{name}"):
            status, body = ask("GET", path)
            answers.add(status)
            assert status in (200, 403) or (status == 507 and "disk is full" in body), (left, status, body)
        status, body = ask("POST", "/v1/enclave/challenge", '{"protocol": 1}')
        request = SoftwareEnclave().request(json.loads(body)["challenge"], f"{name}/main")
        status, body = ask("POST", "/v1/enclave/attest", json.dumps(request))
        assert status in (200, 403) or (status == 503 and "full" in body), (left, status, body)
    empty(disk)
    assert {201, 507} <= answers
    finish(state, reason="stopped")
    again = parts(state)
    assert stored
    assert all(again("GET", f"/session/{name}")[0] == 200 for name in stored)


@pytest.mark.parametrize("call", SYSTEM_CALLS)
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_breaks(tmp_path: Path, call: str, number: int) -> None:
    """A system call that fails from one moment on: refused in words, and nothing that was stored is lost."""
    state = tmp_path / "state"
    ask = parts(state)
    assert ask("POST", "/session", text("before") + _PUBLIC)[0] == 201
    finish(state, reason="stopped")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            inside = parts(state)
            fail(call, number)
            os.write(writing, json.dumps(inside("POST", "/session", text("after") + _PUBLIC)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        status, body = json.loads(pipe.read())
    # SQLite itself tells a quota from other errors of the disk no more than here: "it reports an error".
    words = "disk is full" if number == errno.ENOSPC else "disk|the audit log cannot be written"
    assert status == 201 or (status in (507, 503) and re.search(words, body)), (status, body)
    again = parts(state)
    assert again("GET", "/session/before")[0] == 200
    assert (again("GET", "/session/after")[0] == 200) == (status == 201)


def version(client: CasClient, name: str) -> str | None:
    """The hash of the newest version, None where there is none."""
    found = client.read(name)
    return None if found is None else found.hash


def test_a_flood_of_reads_rotates(disk: Path, ann, name) -> None:
    """Who may read fills the disk; the files before the newest are moved away while CAS serves, and it starts alone."""
    served = RealCas(disk / "state", "--audit-log-size", "64KiB")
    served.log = disk.parent / "cas.log"
    served.start()
    try:
        client = served.client(ann)
        hash_ = client.upload(text(name))
        for _ in range(500):
            assert version(client, name) == hash_
        *before, _newest = files_in(served.state)
        assert len(before) >= 2
        assert served.audit().code == 0
        fill(disk, leave=64 * 1024)
        with pytest.raises(CasError, match=r"disk is (nearly )?full"):
            client.upload(text(f"{name}-2"))
        empty(disk)
        moved = [shutil.move(path, disk.parent) for path in before]
        for _ in range(10):
            assert version(client, name) == hash_
        served.kill()
        served.start()
        assert version(served.client(ann), name) == hash_
        assert served.audit().code == TRUNCATED_OLD
        for path in moved:
            shutil.move(path, served.state)
        assert served.audit().code == 0
    finally:
        empty(disk)
        served.stop()
