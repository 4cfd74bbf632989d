"""What the machine was before the stack touched it, so that `down` can put back exactly that and no more.

One machine carries one local stack: its network, ports and firewall chains are the machine's. `/run` says whose it is.
"""

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tools.devstack import files, process
from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths

_OWNER = Path("/run/pulumi-scone/owner.json")
BUILD_GROUP = "pulumi-scone-build"
_CGROUPS = Path("/sys/fs/cgroup")
_TABLES = ("iptables", "ip6tables")
_CHAIN = re.compile(r"^:((?:KUBE|CNI)-\S+)", re.MULTILINE)
# What kubelet, kube-proxy, containerd and the CNI plugins write outside of their configured folders.
_FOLDERS = (
    "/opt/containerd",
    "/run/containerd",
    "/run/flannel",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
_KERNEL = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


def owner() -> Path | None:
    """State folder of the stack that is up on this machine, whichever checkout's it is."""
    value = files.read_json(_OWNER)
    if not value:
        return None
    state = Path(value["state"])
    return state if process.marked(state) or Path("/sys/class/net/scone0").exists() else None


def claim(paths: Paths) -> None:
    """Make this machine ours, and remember how it was.

    Raises DevstackError where it is another checkout's, or runs Kubernetes already.
    """
    holder = owner()
    if holder and holder != paths.state:
        raise DevstackError(
            f"the development stack of {holder.parent} is up",
            where="this machine",
            fix=f"run make down in {holder.parent}, or make down-machine here",
        )
    if not _before(paths).exists():
        if other := _other_kubernetes():
            raise DevstackError(
                f"Kubernetes runs on this machine already ({other})",
                where="this machine",
                fix="name it: KUBE_CONTEXT=… REGISTRY=… CAS_HOST=… make demo",
            )
        before = {
            "chains": {tool: chains(tool) for tool in _TABLES},
            "namespaces": pod_namespaces(),
            "folders": [folder for folder in _FOLDERS if Path(folder).exists()],
            "kernel": {name: value for name in _KERNEL if (value := _kernel(name)) is not None},
        }
        files.write_json(_before(paths), before)
    files.write_json(_OWNER, {"state": str(paths.state), "before": files.read_json(_before(paths))})


def is_claimed(paths: Paths) -> bool:
    """Whether this checkout holds the machine."""
    return _before(paths).exists() and (files.read_json(_OWNER) or {}).get("state") == str(paths.state)


def is_ours(state: Path) -> bool:
    """Whether the stack with folder `state` ever claimed this machine and did not give it back."""
    return _remembered(state) is not None


def pod_namespaces() -> list[str]:
    """Network namespaces that CNI made."""
    return sorted(entry.name for entry in Path("/run/netns").glob("cni-*"))


def kept_namespaces(state: Path) -> set[str]:
    """Those of them that were there before us."""
    return set((_remembered(state) or {}).get("namespaces", ()))


def restore(state: Path) -> None:
    """Put kernel settings back and remove chains, folders and control groups that were not there before. Idempotent."""
    before = _remembered(state)
    if before is None:
        return
    for tool in _TABLES:
        _remove_chains(tool, kept=set(before["chains"].get(tool, ())))
    for folder in set(_FOLDERS) - set(before["folders"]):
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in before["kernel"].items():
        with contextlib.suppress(OSError):
            Path("/proc/sys", name).write_text(value)
    for group in [*pod_groups(), *build_groups()]:
        _remove_groups(group)


def release(state: Path) -> None:
    """The machine is nobody's any more, if it was that stack's."""
    if (files.read_json(_OWNER) or {}).get("state") == str(state):
        _OWNER.unlink()
        with contextlib.suppress(OSError):
            _OWNER.parent.rmdir()


def chains(tool: str) -> list[str]:
    """Chains of Kubernetes and CNI in the firewall, sorted."""
    return sorted(set(_CHAIN.findall(_saved(tool))))


def pod_groups() -> list[Path]:
    """Control groups of pods, one for each controller that has its own tree."""
    return _groups("kubepods")


def build_groups() -> list[Path]:
    """Those of the steps of builds."""
    return _groups(BUILD_GROUP)


def _groups(name: str) -> list[Path]:
    return [*_CGROUPS.glob(name), *_CGROUPS.glob(f"*/{name}")]


def _remembered(state: Path) -> dict[str, Any] | None:
    """How the machine was: from the state folder, or, where someone deleted that, from beside the owner's name."""
    value = files.read_json(state / "host.json")
    owned = files.read_json(_OWNER) or {}
    return value or (owned.get("before") if owned.get("state") == str(state) else None)


def _before(paths: Paths) -> Path:
    return paths.state / "host.json"


def _kernel(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text()
    except OSError:
        return None


def _other_kubernetes() -> str | None:
    for entry in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            name, pid = entry.read_text().strip(), entry.parent.name
            # One that has ended may still wait to be reaped.
            if name in ("kubelet", "kube-apiserver", "k3s-server", "k0s") and process.start_time(pid) is not None:
                return f"{name}, pid {pid}"
    return None


def _saved(tool: str) -> str:
    program = shutil.which(f"{tool}-save", path="/usr/sbin:/sbin:/usr/local/sbin")
    return subprocess.run([program], capture_output=True, text=True, check=False, timeout=60).stdout if program else ""


def _remove_chains(tool: str, *, kept: set[str]) -> None:
    """Remove rules that jump to our chains, then the chains: each table in one move, no other rule is touched."""
    order = removal(_saved(tool), kept=kept)
    if order:
        program = shutil.which(f"{tool}-restore", path="/usr/sbin:/sbin:/usr/local/sbin") or f"{tool}-restore"
        done = subprocess.run(
            [program, "--noflush"], input=order, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode:
            raise DevstackError(f"firewall chains stay: {done.stderr.strip()}", where=tool, fix=f"look at {tool}-save")


def removal(saved: str, *, kept: set[str]) -> str:
    """Order for `iptables-restore --noflush`: takes our chains out of what iptables-save printed, but for `kept`."""
    order: list[str] = []
    for table in re.findall(r"^\*(.*?)^COMMIT", saved, re.MULTILINE | re.DOTALL):
        ours = [name for name in _CHAIN.findall(table) if name not in kept]
        if not ours:
            continue
        jump = re.compile(rf"-[jg] ({'|'.join(map(re.escape, ours))})(\s|$)")
        own = tuple(f"-A {name} " for name in ours)
        rules = [
            line
            for line in table.splitlines()
            if line.startswith("-A ") and not line.startswith(own) and jump.search(line)
        ]
        order += [f"*{table.splitlines()[0]}", *(f"-D {rule.removeprefix('-A ')}" for rule in rules)]
        order += [f"-F {name}" for name in ours] + [f"-X {name}" for name in ours] + ["COMMIT"]
    return "\n".join(order) + "\n" if order else ""


def _remove_groups(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
