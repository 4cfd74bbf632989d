"""Long-running processes by name: start them detached, find them again, stop exactly them.

A record `run/<name>.json` holds pid, start time and boot: together they name one process for ever, so a reused pid is
never taken for ours. The child writes the record itself before it becomes the program, so no moment exists in which
the program runs unrecorded. Every process also carries the variable PULUMI_SCONE_DEVSTACK (its stack's state folder),
by which what forks away from it (container shims, workers) is found.
"""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.devstack import files, ports
from tools.devstack.errors import DevstackError

MARK = "PULUMI_SCONE_DEVSTACK"
_START_SECONDS = 10.0
_PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A process to keep running.

    `ports` are (address, port) that it will listen on; `inputs` name the files it reads at start: when they or the
    command change, the process is out of date.
    """

    name: str
    argv: tuple[str, ...]
    ports: tuple[tuple[str, int], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Path, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Changes when the process would have to be started anew to be what is described here."""
        contents = (file.read_bytes() if file.is_file() else b"" for file in self.inputs)
        return files.digest(json.dumps([self.argv, dict(self.environment)], sort_keys=True), *contents)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One process that was started: `started` in clock ticks since boot `boot`."""

    name: str
    pid: int
    started: int
    boot: str
    argv: list[str]
    fingerprint: str


def start_time(pid: int | str) -> int | None:
    """When process `pid` started, in clock ticks since boot; None for one that is gone or only waits to be reaped."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else None


def boot() -> str:
    """Identity of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int | str) -> list[str]:
    """Fields of /proc/PID/stat from the third (state) on; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


class Supervisor:
    """Starts, finds and stops the daemons of one stack."""

    def __init__(self, *, state: Path, run: Path, log: Path) -> None:
        self._state, self._run, self._log = state, run, log

    def log_of(self, name: str) -> Path:
        """The log of daemon `name`."""
        return self._log / f"{name}.log"

    def records(self) -> list[Record]:
        """Every record, of living and of dead processes, sorted by name."""
        return [record for path in sorted(self._run.glob("*.json")) if (record := self._read(path))]

    def alive(self, name: str) -> Record | None:
        """The record of daemon `name` if exactly that process still runs."""
        record = self._read(self._run / f"{name}.json")
        return record if record and _is_alive(record) else None

    def is_current(self, daemon: Daemon) -> bool:
        """Whether `daemon` runs as described, and listens."""
        record = self.alive(daemon.name)
        return bool(
            record and record.fingerprint == daemon.fingerprint and all(ports.accepts(*port) for port in daemon.ports)
        )

    def start(self, daemon: Daemon) -> None:
        """Start `daemon` anew, detached from the caller. Raises DevstackError where someone else holds its port."""
        self.stop(daemon.name)
        for address, port in daemon.ports:
            if holder := ports.holder(address, port):
                raise DevstackError(
                    f"port {port} on {address} is taken by {holder}",
                    where=daemon.name,
                    fix="stop that program, then run this again",
                )
        self._run.mkdir(parents=True, exist_ok=True)
        self._log.mkdir(parents=True, exist_ok=True)
        record = self._run / f"{daemon.name}.json"
        order = {"record": str(record), "name": daemon.name, "argv": daemon.argv, "fingerprint": daemon.fingerprint}
        code = (
            f"import sys; sys.path.insert(0, {str(_PROJECT)!r});"
            "from tools.devstack import process; process.become(sys.argv[1])"
        )
        log = os.open(self.log_of(daemon.name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-B", "-c", code, json.dumps(order)],
                self._environment(daemon),
                setsid=True,
                setsigmask=[],
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
            )
        finally:
            os.close(log)
        _wait_until_recorded(record, pid=pid, name=daemon.name, log=self.log_of(daemon.name))

    def stop(self, name: str, *, grace: float = 10.0) -> None:
        """Stop daemon `name`: TERM, after `grace` seconds KILL, then KILL for what is left of its session.

        Fine if it does not run.
        """
        path = self._run / f"{name}.json"
        if record := self.alive(name):
            _end(record, grace=grace)
        if (record := self._read(path)) and record.boot == boot() and not _stat(record.pid):
            for pid in _session(record.pid):
                _signal(pid, signal.SIGKILL)
        path.unlink(missing_ok=True)

    def marked(self) -> list[int]:
        """Every process of this stack, those included that forked away from a daemon."""
        return marked(self._state)

    def sweep(self) -> list[int]:
        """Kill every process that still carries this stack's mark; returns those that would not go."""
        deadline = time.monotonic() + 10
        while (left := self.marked()) and time.monotonic() < deadline:
            for pid in left:
                _signal(pid, signal.SIGKILL)
            time.sleep(0.05)
        return left

    def _environment(self, daemon: Daemon) -> dict[str, str]:
        # Not the caller's: a daemon outlives the shell whose secrets it would hold.
        plain = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self._state),
            "LANG": "C.UTF-8",
        }
        return plain | dict(daemon.environment) | {MARK: str(self._state)}

    @staticmethod
    def _read(path: Path) -> Record | None:
        value = files.read_json(path)
        try:
            return Record(**value) if isinstance(value, dict) else None
        except TypeError:
            return None


def become(order: str) -> None:
    """In the child: record this process, then turn into the ordered program."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # a lock of the caller's would be held as long as the daemon lives
    value = json.loads(order)
    record = {key: value[key] for key in ("name", "argv", "fingerprint")}
    record |= {"pid": os.getpid(), "started": start_time("self"), "boot": boot()}
    files.write_json(Path(value["record"]), record)
    os.chdir("/")
    os.umask(0o022)  # kubelet and containerd make files that pods read
    argv = value["argv"]
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"cannot run {argv[0]}: {error.strerror}")


def marked(state: Path) -> list[int]:
    """Processes whose environment carries the mark of the stack with folder `state`, without the caller."""
    needle = f"{MARK}={state}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if needle in (entry / "environ").read_bytes().split(b"\0") and start_time(entry.name) is not None:
                    found.append(int(entry.name))
    return sorted(found)


def _is_alive(record: Record) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)  # a child of this very process would stay a zombie
    return record.boot == boot() and start_time(record.pid) == record.started


def _wait_until_recorded(path: Path, *, pid: int, name: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        value = files.read_json(path)
        if value and value["pid"] == pid:
            return
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0]:
                break
        time.sleep(0.01)
    raise DevstackError("the process did not start", where=name, fix=f"see {log}")


def _end(record: Record, *, grace: float) -> None:
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        _signal(record.pid, number)
        deadline = time.monotonic() + patience
        while _is_alive(record):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            return
    raise DevstackError(
        f"process {record.pid} does not end", where=record.name, fix="look at it with ps; it may hang in the kernel"
    )


def _session(leader: int) -> Iterator[int]:
    """Living members of the session of a process that is gone (its number is not given away while they live)."""
    for entry in Path("/proc").iterdir():
        if (
            entry.name.isdigit()
            and (fields := _stat(entry.name))
            and int(fields[3]) == leader
            and fields[0] not in "ZX"
        ):
            yield int(entry.name)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
