"""Installs the Debian packages that are missing; upgrades, removes and starts nothing."""

import contextlib
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

from tools.devstack import files
from tools.devstack.errors import DevstackError
from tools.devstack.steps import Job

# Package and the file by which it is known to be there, whoever installed it: Docker's containerd must not be replaced.
PROBES = {
    "busybox-static": "busybox",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "docker-registry": "docker-registry",
    "etcd-server": "etcd",
    "iproute2": "ip",
    "iptables": "iptables",
    "kubernetes-client": "kubectl",
    "mmdebstrap": "mmdebstrap",
    "opensc": "pkcs11-tool",
    "openssl": "openssl",
    "runc": "runc",
    "softhsm2": "/usr/lib/softhsm/libsofthsm2.so",
}
_UNITS = {"containerd": "containerd", "docker-registry": "docker-registry", "etcd-server": "etcd"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# by tools/devstack, while it installs packages: no service is to start\nexit 101\n"


def missing() -> list[str]:
    """Packages to install."""
    absent = [
        package
        for package, probe in PROBES.items()
        if not shutil.which(probe, path=_PATH) and not Path(probe).is_file()
    ]
    return absent if importlib.util.find_spec("ensurepip") else [*absent, "python3-venv"]


def install(job: Job) -> None:
    """Install what is missing. Raises DevstackError where this is no Debian, or another package would have to go."""
    wanted = missing()
    if not shutil.which("apt-get"):
        raise DevstackError(
            f"missing: {', '.join(sorted(PROBES.get(name, name) for name in wanted))}, and this machine has no apt-get",
            fix="install these programs, or name your own cluster",
        )
    lock = ("-o", "DPkg::Lock::Timeout=300")
    environment = {"PATH": _PATH, "DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8"}
    options = ("-qq", "-y", "--no-install-recommends", "--no-remove", "--no-upgrade", *lock)
    with _no_service_starts():
        try:
            job.command("apt-get", "install", *options, *wanted, environment=environment)
        except DevstackError:
            job.say("package lists", estimate=20)
            job.command("apt-get", "update", "-qq", *lock, environment=environment)
            job.command("apt-get", "install", *options, *wanted, environment=environment)
    if Path("/run/systemd/system").is_dir():
        for package in set(wanted) & set(_UNITS):
            job.command("systemctl", "disable", "--now", _UNITS[package], environment=environment)


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    ours = not _POLICY.exists() or _POLICY.read_text(errors="replace") == _POLICY_TEXT
    if ours:
        files.write(_POLICY, _POLICY_TEXT, mode=0o755)
    try:
        yield
    finally:
        forget_policy()


def forget_policy() -> None:
    """Remove the rule against service starts if it is ours (an interrupted run may have left it)."""
    with contextlib.suppress(OSError):
        if _POLICY.read_text(errors="replace") == _POLICY_TEXT:
            _POLICY.unlink()
