"""The files of the audit log: one chain over all of them, whatever is killed, moved away or written at a time."""

import fcntl
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from scone_cas.audit import rotation
from scone_cas.audit.rotation import files_in
from scone_cas.audit.verify import MISSING, TRUNCATED_OLD, Verdict, verify_parts
from scone_cas.server.assembly import assemble, initialise
from scone_policy.errors import SconeError
from scone_provider.cli import main
from support.real_cas import audit_part

SIZE = rotation.SMALLEST_SIZE


class KilledError(BaseException):
    """The end of the process."""


def check(*files: Path) -> Verdict:
    """The verdict on files."""
    return verify_parts([audit_part(path) for path in files])


def start(state: Path, size: int = SIZE):
    """A start with small files; the parts of one process."""
    initialise(state, random=bytes(32), audit_log_size=size)
    return assemble(state)


def events(*files: Path) -> list[dict]:
    """All entries."""
    return [json.loads(line)["entry"] for path in files for line in path.read_bytes().splitlines()]


def write(journal, count: int = 200) -> None:
    """Entries of some 450 bytes."""
    for _ in range(count):
        journal.record("session_read", session="n" * 100)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that does not exist yet."""
    return tmp_path / "state"


def test_chain_over_all_files(state: Path) -> None:
    """No file is larger than was asked for; together they are complete, in any order; each is private."""
    journal = start(state).journal
    write(journal, 600)
    files = files_in(state)
    assert len(files) > 3
    assert all(path.stat().st_size <= SIZE for path in files)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    verdict = check(*reversed(files))
    assert (verdict.code, verdict.first, verdict.crashes) == (0, 1, 0)
    numbers = [entry["number"] for entry in events(*files)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [path.name for path in files[:-1]] == [f"audit-{events(path)[0]['number']:012d}.log" for path in files[:-1]]
    assert all(events(path)[0]["event"] == "log_continued" for path in files[1:])


def test_moved_files(state: Path, tmp_path: Path) -> None:
    """Older files may be moved while the CAS runs and before it starts; the verifier says what is not there."""
    journal = start(state).journal
    write(journal, 600)
    first, second, *rest = files_in(state)
    middle = check(first, *rest)
    assert middle.code == MISSING
    assert f"the file that begins with entry {events(second)[0]['number']} is not there" in middle.message
    moved = [path.rename(tmp_path / path.name) for path in files_in(state)[:-1]]
    write(journal, 5)
    journal.close()
    journal = start(state).journal
    write(journal, 5)
    newest = check(state / "audit.log")
    assert (newest.code, newest.first) == (TRUNCATED_OLD, events(state / "audit.log")[0]["number"])
    assert check(*moved, *files_in(state)).code == 0


@pytest.mark.parametrize("call", ["unlink", "open", "flock", "write", "fsync", "fdatasync", "link", "rename", "close"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_each_step(state: Path, monkeypatch, call: str, *, after: bool) -> None:
    """Whatever system call of a rotation is the last: the log is whole, the next start goes on, no entry is lost."""
    journal = start(state).journal
    with monkeypatch.context() as patch:
        turns = _kill_in_rotation(patch, call, after=after)
        with pytest.raises(KilledError):
            write(journal, 400)
    assert turns
    before = check(*files_in(state))
    assert before.code == 0
    journal = start(state).journal
    write(journal, 400)
    files = files_in(state)
    assert check(*files).code == 0
    assert check(*files).entries > before.entries + 400
    assert not (state / rotation.NEXT).exists()
    assert all(path.stat().st_nlink == 1 for path in files)


def _kill_in_rotation(patch, call: str, *, after: bool) -> list[str]:
    """The process ends with the first such call of a rotation; the calls that were made then."""
    made: list[str] = []
    inside = rotation.rotate
    module = fcntl if call == "flock" else Path if call in ("unlink", "rename") else os
    real = getattr(module, call)

    def last(*arguments, **options):
        made.append(call)
        if after:
            real(*arguments, **options)
        raise KilledError

    def killed(*arguments):
        with pytest.MonkeyPatch.context() as inner:
            if call not in ("fdatasync", "close"):
                inner.setattr(module, call, last)
                inner.setattr(rotation, "suppress", _NothingMore)
            result = inside(*arguments)
        last_calls.append(result)
        return result

    last_calls: list[int] = []
    patch.setattr(rotation, "rotate", killed)
    if call == "fdatasync":
        pending = rotation.pending_change

        def before(_content):
            made.append(call)
            raise KilledError

        patch.setattr(rotation, "pending_change", before if not after else lambda c: (pending(c), before(c)))
    if call == "close":
        folder = rotation.sync_folder

        def closed(directory):
            folder(directory)
            if last_calls:
                made.append(call)
                raise KilledError

        patch.setattr(rotation, "sync_folder", closed)
    return made


class _NothingMore:
    """In a killed process nothing is cleaned up."""

    def __init__(self, *_errors: type[BaseException]) -> None:
        pass

    def __enter__(self) -> None:
        raise KilledError

    def __exit__(self, *_raised: object) -> None:
        pass


def test_writers_at_a_time(state: Path) -> None:
    """Threads of several processes' logs rotate under each other: one chain, no gap, and every entry is there."""
    journals = [start(state).journal, *(assemble(state).journal for _ in range(2))]

    def run(number: int) -> None:
        for turn in range(150):
            journals[number % 3].record("session_read", session=f"{number}-{turn}", filler="x" * 100)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = files_in(state)
    assert len(files) > 3
    assert check(*files).code == 0
    told = {entry["fields"].get("session") for entry in events(*files)} - {None}
    assert told == {f"{number}-{turn}" for number in range(6) for turn in range(150)}


@pytest.mark.parametrize("moved", [False, True])
def test_change_that_a_kill_cut_off(cas, person, monkeypatch, *, moved: bool) -> None:
    """An announced change that did not happen is told once, also when its entry is in a file that was moved away."""
    cas.parts.journal.close()
    initialise(cas.state, random=bytes(32), audit_log_size=SIZE)
    cas.parts = assemble(cas.state)
    ann = person("ann")
    cas.ask("POST", "/session", who=ann, body=b"name: n\nversion: '0.3'\n")

    def kill(*_arguments: object) -> None:
        raise KilledError

    registry = cas.parts.client_api._sessions
    with monkeypatch.context() as patch:
        patch.setattr(registry._store, "keep", kill)
        real = registry._journal.record
        patch.setattr(registry._journal, "record", lambda e, **f: real(e, **f) if e != "session_failed" else kill())
        with pytest.raises(KilledError):
            cas.ask("POST", "/session", who=ann, body=b"name: m\nversion: '0.3'\n")
    other = assemble(cas.state).journal
    write(other, 400)
    number = next(entry["number"] for entry in events(*files_in(cas.state)) if entry["fields"].get("session") == "m")
    if moved:
        for path in files_in(cas.state)[:-1]:
            path.unlink()
    for _ in range(2):
        initialise(cas.state, random=bytes(32), audit_log_size=SIZE)
        told = [e["fields"]["of"] for e in events(*files_in(cas.state)) if e["event"] == "session_failed"]
        assert told == [number]


def test_older_file_in_its_place(state: Path) -> None:
    """A file of before in the place of the newest one is seen: by the running CAS, and by one that starts."""
    journal = start(state).journal
    write(journal, 300)
    journal.close()
    journal = start(state).journal
    write(journal, 1)
    older = files_in(state)[0]
    (state / "audit.log").rename(state / "kept")
    shutil.copy(older, state / "audit.log")
    with pytest.raises(SconeError, match="audit log"):
        write(journal, 1)
    with pytest.raises(SconeError, match="lacks entry"):
        start(state)


def test_no_rotation_is_no_refusal(state: Path, monkeypatch, capfd) -> None:
    """A file system that cannot rotate: the log goes on growing in its file, and CAS's log says so."""
    journal = start(state).journal

    def cannot(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", cannot)
        write(journal, 400)
    assert files_in(state) == [state / "audit.log"]
    assert 1 <= capfd.readouterr().err.count("audit-log-not-rotated") < 5
    write(journal, 300)
    assert len(files_in(state)) > 1
    assert check(*files_in(state)).code == 0


def test_log_of_an_earlier_version(state: Path) -> None:
    """A single large file goes on: the first entry that does not fit begins the next file."""
    journal = start(state, 1 << 30).journal
    write(journal, 600)
    journal.close()
    assert files_in(state) == [state / "audit.log"]
    write(start(state).journal, 1)
    files = files_in(state)
    assert [path.name for path in files] == ["audit-000000000001.log", "audit.log"]
    assert check(*files).code == 0
    assert check(*files).crashes == 1


def test_files_of_a_log_that_was_given_up(state: Path) -> None:
    """A file of another log under the name that is next stays as it is."""
    journal = start(state).journal
    (state / rotation.rotated_name(1)).write_bytes(b"another log")
    write(journal, 300)
    assert (state / rotation.rotated_name(1)).read_bytes() == b"another log"
    assert check(*(path for path in files_in(state) if path.name != rotation.rotated_name(1))).code == 0


def test_a_process_begins_no_log(state: Path) -> None:
    """A process that finds no log, because it was moved away before its first entry, does not begin another at 1."""
    journal = start(state).journal
    (state / "audit.log").rename(state / "kept")
    with pytest.raises(SconeError, match="audit log"):
        journal.record("session_read")
    assert not (state / "audit.log").exists()


def test_command(state: Path, tmp_path: Path, capsys) -> None:
    """`pulumi-scone audit verify` takes the folder or the files; what is missing and which file is wrong is said."""
    journal = start(state).journal
    write(journal, 400)
    files = files_in(state)
    assert main(["audit", "verify", str(state)]) == 0
    assert main(["audit", "verify", *map(str, reversed(files))]) == 0
    assert main(["audit", "verify", str(files[0]), str(files[-1])]) == 17
    assert "the file that begins with entry" in capsys.readouterr().out
    assert main(["audit", "verify", str(files[-1])]) == 15
    assert main(["audit", "verify", str(state), str(state / "audit.log")]) == 0
    assert main(["audit", "verify", str(tmp_path)]) == 1
    changed = files[1].read_bytes().replace(b"session_read", b"session_raed", 1)
    files[1].write_bytes(changed)
    assert main(["audit", "verify", str(state)]) == 20
    assert files[1].name in capsys.readouterr().out
    files[1].write_bytes(changed[:-9])
    assert main(["audit", "verify", str(state)]) == 20


@pytest.mark.parametrize("size", ["1", "63KiB", "64kib", "-1", "1TiB", ""])
def test_size_of_files(size: str, capsys) -> None:
    """A size that is none, or too small, is refused in words."""
    with pytest.raises(SystemExit):
        main(["cas", "serve", "--state", "x", "--audit-log-size", size])
    assert "at least 64KiB" in capsys.readouterr().err
