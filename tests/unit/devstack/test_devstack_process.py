import fcntl
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tools.devstack import files, ports, process
from tools.devstack.errors import DevstackError
from tools.devstack.process import Daemon, Supervisor

SLEEPER = Daemon(name="sleeper", argv=("sleep", "600"))
LISTENER = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(600)
"""


def pid_of(supervisor: Supervisor, name: str) -> int:
    record = supervisor.alive(name)
    assert record is not None
    return record.pid


def listen(supervisor: Supervisor, name: str) -> int:
    """The port of a new daemon that says itself when it listens: whoever tries the port could take it first."""
    supervisor.start(Daemon(name=name, argv=(sys.executable, "-c", LISTENER)))
    while not (text := supervisor.log_of(name).read_text()).endswith("\n"):
        assert supervisor.alive(name)
    return int(text)


def test_a_daemon_runs_detached_and_is_found_by_another_supervisor(supervisor: Supervisor, tmp_path: Path) -> None:
    """A later run of the program finds what an earlier one started, and it is in a session of its own."""
    supervisor.start(SLEEPER)
    found = process.Supervisor(state=tmp_path, run=tmp_path / "run", log=tmp_path / "log").alive("sleeper")
    assert found is not None
    assert found.argv == ["sleep", "600"]
    assert os.getsid(found.pid) == found.pid


def test_a_daemon_keeps_no_lock_of_whoever_started_it(supervisor: Supervisor, tmp_path: Path) -> None:
    """A lock that the caller passes on to its children is free as soon as the caller lets go of it."""
    with (tmp_path / "lock").open("w") as held, (tmp_path / "lock").open() as other:
        os.set_inheritable(held.fileno(), True)
        fcntl.flock(held, fcntl.LOCK_EX)
        supervisor.start(SLEEPER)
        held.close()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_stop_ends_the_process_and_forgets_it(supervisor: Supervisor) -> None:
    """After stop there is neither process nor record."""
    supervisor.start(SLEEPER)
    pid = pid_of(supervisor, "sleeper")
    supervisor.stop("sleeper")
    assert process.start_time(pid) is None
    assert supervisor.records() == []


def test_stop_kills_what_ignores_the_polite_signal(supervisor: Supervisor) -> None:
    """A program that ignores TERM is killed once its time is up."""
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    supervisor.start(Daemon(name="deaf", argv=(sys.executable, "-c", script)))
    while "ready" not in supervisor.log_of("deaf").read_text():
        assert supervisor.alive("deaf")
    pid = pid_of(supervisor, "deaf")
    supervisor.stop("deaf", grace=0.2)
    assert process.start_time(pid) is None


def test_a_reused_pid_is_never_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    """A record whose pid now belongs to a process with another start time names a dead daemon."""
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            record = {"name": "old", "pid": stranger.pid, "boot": process.boot(), "argv": ["x"], "fingerprint": "f"}
            files.write_json(
                tmp_path / "run" / "old.json", record | {"started": (process.start_time(stranger.pid) or 0) - 1}
            )
            assert supervisor.alive("old") is None
            supervisor.stop("old", grace=0.1)
            assert stranger.poll() is None
            assert supervisor.records() == []
        finally:
            stranger.kill()


def test_a_record_of_an_earlier_boot_names_nothing(supervisor: Supervisor, tmp_path: Path) -> None:
    """Pid and start time alone could meet again after a reboot: the boot's identity must match too."""
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            record = {
                "name": "old",
                "pid": stranger.pid,
                "started": process.start_time(stranger.pid),
                "argv": ["x"],
                "fingerprint": "f",
            }
            files.write_json(tmp_path / "run" / "old.json", record | {"boot": "another"})
            supervisor.stop("old", grace=0.1)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_changed_command_or_input_is_out_of_date(supervisor: Supervisor, tmp_path: Path) -> None:
    """A daemon counts as current only while its command and the files that it read are what they were."""
    config = tmp_path / "config"
    config.write_text("one")
    daemon = replace(SLEEPER, inputs=(config,))
    supervisor.start(daemon)
    assert supervisor.is_current(daemon)
    assert not supervisor.is_current(replace(daemon, argv=("sleep", "601")))
    config.write_text("two")
    assert not supervisor.is_current(daemon)


def test_what_forks_away_is_swept_by_its_mark(supervisor: Supervisor) -> None:
    """A child in a session of its own outlives its parent's stop, and the sweep still finds and ends it."""
    script = """
import subprocess, time
subprocess.Popen(["sleep", "601"], start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""
    supervisor.start(Daemon(name="forker", argv=(sys.executable, "-c", script)))
    log = supervisor.log_of("forker")
    while "ready" not in log.read_text():
        assert supervisor.alive("forker")
    supervisor.stop("forker")
    assert len(supervisor.marked()) == 1
    assert supervisor.sweep() == []
    assert supervisor.marked() == []


def test_members_of_its_session_end_with_the_daemon(supervisor: Supervisor) -> None:
    """Workers that a killed server leaves behind in its session are killed with it."""
    script = "import subprocess, time; print(subprocess.Popen(['sleep', '602']).pid, flush=True); time.sleep(600)"
    supervisor.start(Daemon(name="server", argv=(sys.executable, "-c", script)))
    while not (text := supervisor.log_of("server").read_text()):
        assert supervisor.alive("server")
    os.kill(pid_of(supervisor, "server"), signal.SIGKILL)
    while supervisor.alive("server"):
        pass
    supervisor.stop("server")
    while process.start_time(int(text)) is not None:
        pass
    assert supervisor.marked() == []


def test_a_taken_port_is_an_error_that_names_its_holder(supervisor: Supervisor) -> None:
    """What holds the port is named with its pid, and nothing is started."""
    port = listen(supervisor, "first")
    pid = pid_of(supervisor, "first")
    with pytest.raises(DevstackError, match=rf"port {port} .* taken by \S+ \(pid {pid}\)"):
        supervisor.start(Daemon(name="second", argv=("sleep", "600"), ports=(("127.0.0.1", port),)))
    assert supervisor.alive("second") is None


def test_a_program_that_cannot_run_says_so_in_its_log(supervisor: Supervisor) -> None:
    """A missing program leaves a line in the daemon's log and no living record."""
    supervisor.start(Daemon(name="none", argv=("no-such-program-anywhere",)))
    while supervisor.alive("none"):
        pass
    assert "cannot run no-such-program-anywhere" in supervisor.log_of("none").read_text()


def test_a_daemon_does_not_inherit_the_callers_secrets(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the shell that ran set-up do not stay in memory of processes that outlive it."""
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "planted")
    supervisor.start(Daemon(name="env", argv=("env",), environment={"GIVEN": "yes"}))
    while supervisor.alive("env"):
        pass
    log = supervisor.log_of("env").read_text()
    assert "planted" not in log
    assert "GIVEN=yes" in log


def test_nobody_holds_a_free_port() -> None:
    """A port on which nothing listens has no holder and accepts nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert ports.holder("127.0.0.1", port) is None
    assert not ports.accepts("127.0.0.1", port)


def test_another_address_is_no_conflict(supervisor: Supervisor) -> None:
    """A listener at one address of the machine does not keep others from the same port at another address."""
    port = listen(supervisor, "first")
    assert ports.holder("127.0.0.2", port) is None
    assert ports.holder("0.0.0.0", port) is not None  # noqa: S104 - asks, does not listen


def test_a_process_that_only_waits_to_be_reaped_does_not_run() -> None:
    """Process tables keep what has ended until its parent looks: that is no running process."""
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert process.start_time(child.pid) is None
