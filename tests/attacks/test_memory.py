"""What a crash leaves behind, and what a neighbour of the same user can see: nothing of a process that holds keys."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from scone_provider.cas.identity import Identity
from support.provider_process import SOURCES
from support.real_cas import RealCas

STRANGER = 65_534
DUMPS = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"


def core_limit(pid: int) -> str:
    limits = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8").splitlines()
    return next(" ".join(line.split()[4:6]) for line in limits if line.startswith("Max core file size"))


def attach(pid: int) -> int:
    """The status of a process of the same user and no rights beyond, that tries to trace: 0 where it may."""
    program = (
        "import ctypes, os, sys\nlibc = ctypes.CDLL(None)\n"
        f"os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})\n"
        f"sys.exit(0 if libc.ptrace(0x4206, {pid}, 0, 0) == 0 else 1)\n"
    )
    return subprocess.run([sys.executable, "-c", program], check=False).returncode


def test_no_process_of_a_cas_leaves_its_memory(own_cas: Callable[..., RealCas], tmp_path: Path, ann: Identity) -> None:
    """With core dumps on and a planted secret, every process of a CAS is aborted: no core, and /proc is root's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        cas = own_cas()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    cas.client(ann).upload('name: kept\nversion: "0.3"\nsecrets: [{name: s, kind: ascii, value: PLANTED-SECRET}]\n')
    assert cas.process is not None
    processes = [cas.process.pid, *cas.children()]
    assert len(processes) >= 4
    for pid in processes:
        assert core_limit(pid) == "0 0", pid
        assert Path(f"/proc/{pid}/mem").stat().st_uid == 0
    for pid in reversed(processes):
        try:
            os.kill(pid, signal.SIGABRT)
        except ProcessLookupError:
            continue  # it ended with another one
    cas.process.wait(60)
    assert [path for folder in (tmp_path, Path.cwd()) for path in folder.glob("core*") if path.is_file()] == []


ABORTS = """
import ctypes, os, resource, sys
{prepare}
print("ready", flush=True)
sys.stdin.read()
os.abort()
"""


def test_same_user_may_not_trace(tmp_path: Path) -> None:
    """As a user without rights: an ordinary process can be traced and leaves a core, one that keeps its memory not."""
    for package, kept in ((None, False), ("scone_cas", True), ("scone_provider", True)):
        folder = tmp_path / str(package)
        folder.mkdir()
        folder.chmod(0o777)
        prepare = f"os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})\n"
        # Changing the user makes a process untraceable by itself, so that an ordinary one says again that it is.
        prepare += "ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\n"
        # Imported as root: the user may not see the sources.
        imported = f"from {package}.process import keep_memory" if package else ""
        keep = "keep_memory()" if package else "pass"
        with subprocess.Popen(
            [sys.executable, "-c", ABORTS.format(prepare=f"{imported}\n{prepare}{keep}")],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(SOURCES / "provider")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)),  # noqa: PLW1509 - no threads here
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            assert (attach(process.pid) != 0) is kept, package
            process.communicate()
        assert process.returncode == -signal.SIGABRT
        assert bool(list(folder.glob("core*"))) is (not kept and _cores_are_files())


def _cores_are_files() -> bool:
    return Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8").startswith("core")


def test_the_provider_keeps_its_memory(tmp_path: Path) -> None:
    """The process that the engine starts: from the moment on that it can reach the stack's keys."""
    program = (
        "from types import SimpleNamespace\n"
        "from scone_provider.resources.confidential_image import ConfidentialImageProvider\n"
        "ConfidentialImageProvider().configure(SimpleNamespace(config=None))\n" + DUMPS + "\n"
        "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCES / "provider")},
        text=True,
        capture_output=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["0", "(0, 0)"]
