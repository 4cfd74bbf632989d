"""Takes the stack down: processes, containers, mounts, network, firewall chains, state. The toolchain's cache stays."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tools.devstack import buildkit, host, network, packages
from tools.devstack.cluster import CONTROL_PLANE, NODE
from tools.devstack.demo import forget_settings
from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths
from tools.devstack.process import Supervisor

_STOP_ORDER = (*reversed(NODE), *reversed(CONTROL_PLANE), "containerd", buildkit.NAME, "cas", "registry")


def take_down(paths: Paths, *, say: Callable[[str], None]) -> None:
    """Undo everything of this checkout's stack. Idempotent, and fine to interrupt: the next call goes on.

    Raises DevstackError where something does not go.
    """
    supervisor = Supervisor(state=paths.state, run=paths.run, log=paths.log)
    names = [record.name for record in supervisor.records()]
    known = [name for name in _STOP_ORDER if name in names]
    for name in [*known, *sorted(set(names) - set(known))]:
        if name == "containerd" and host.is_ours(paths.state):
            _kill(host.pod_groups)
        say(f"stopping {name}")
        supervisor.stop(name)
    if host.is_ours(paths.state):
        _kill(host.pod_groups)
        _kill(host.build_groups)
    if left := supervisor.sweep():
        raise DevstackError(f"processes {left} do not end", where="down", fix="look at them with ps")
    _unmount(paths.state)
    if host.is_ours(paths.state):
        say("removing network, firewall chains and mounts")
        _remove_network(kept=host.kept_namespaces(paths.state))
        host.restore(paths.state)
        packages.forget_policy()
    host.release(paths.state)
    forget_settings(paths)
    _remove(paths.state)


def _remove(folder: Path) -> None:
    """Remove a folder into which a program that was not ours to stop may still write."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
    raise DevstackError(
        "it cannot be removed", where=str(folder), fix="end the program that writes there, then run this again"
    )


def _kill(groups: Callable[[], list[Path]]) -> None:
    """Kill what runs in the pods, or in the steps of builds. Only called where all of those are ours."""
    deadline = time.monotonic() + 10
    while (pids := _processes(groups())) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _processes(groups: list[Path]) -> set[int]:
    found = set()
    for group in groups:
        for file in group.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found |= {int(word) for word in file.read_text().split()}
    return found


def mounts(below: Path) -> list[str]:
    """Mount points at or below a folder, deepest last made first."""
    points = [_plain(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
    return [point for point in reversed(points) if point == str(below) or point.startswith(f"{below}/")]


def _plain(point: str) -> str:
    """A mount point without the octal escapes of /proc/mounts."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)


def _unmount(state: Path) -> None:
    for point in mounts(state):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True, timeout=30)
    if left := mounts(state):
        raise DevstackError(
            f"still mounted: {', '.join(left)}", where="down", fix="unmount these by hand, then run this again"
        )


def _remove_network(*, kept: set[str]) -> None:
    for name in set(host.pod_namespaces()) - kept:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=30)
    for bridge in (network.POD_BRIDGE, network.BRIDGE):
        if Path("/sys/class/net", bridge).exists():
            subprocess.run(["ip", "link", "delete", bridge], check=False, capture_output=True, timeout=30)
