"""BuildKit as a process of this machine, and the buildx builder by which docker-build finds it."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.devstack import buildrun, files
from tools.devstack.host import BUILD_GROUP
from tools.devstack.paths import BUILDER, REGISTRY, Paths
from tools.devstack.process import Daemon, Supervisor
from tools.devstack.steps import Job

NAME = "buildkit"
_LOCAL = ("localhost:5000", "127.0.0.1:5000")
_KEPT = "10GB"  # of cached build steps
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_INDEX = ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_TRUSTED_HOST")


def socket(paths: Paths) -> Path:
    """Where buildkitd listens: root's alone."""
    return paths.buildkit / "buildkitd.sock"


def is_ready(supervisor: Supervisor, paths: Paths, *, program: Path, environ: Mapping[str, str]) -> bool:
    """Whether BuildKit runs as configured and its builder is registered."""
    return (
        all(path.is_file() and path.read_text() == text for path, (text, _) in settings(paths, environ).items())
        and supervisor.is_current(daemon(paths, program=program, environ=environ))
        and socket(paths).is_socket()
    )


def start(job: Job, supervisor: Supervisor, paths: Paths, *, program: Path, environ: Mapping[str, str]) -> None:
    """Write its settings, start it, wait until it answers."""
    for path, (text, mode) in settings(paths, environ).items():
        files.write(path, text, mode=mode)
    socket(paths).unlink(missing_ok=True)
    supervisor.start(daemon(paths, program=program, environ=environ))
    job.until(
        lambda: socket(paths).is_socket() or not supervisor.alive(NAME), seconds=30, what="BuildKit does not answer"
    )


def daemon(paths: Paths, *, program: Path, environ: Mapping[str, str]) -> Daemon:
    """The process; `program` is buildkitd. It pulls through the user's proxy, if there is one."""
    return Daemon(
        name=NAME,
        argv=(str(program), "--config", str(_config(paths))),
        environment=_given(environ, _PROXY),
        inputs=(_config(paths), _runtime(paths)),
    )


def _config(paths: Paths) -> Path:
    return paths.buildkit / "buildkitd.toml"


def _runtime(paths: Paths) -> Path:
    return paths.buildkit / "runc"


def settings(paths: Paths, environ: Mapping[str, str]) -> dict[Path, tuple[str, int]]:
    """Every file to write, with its mode."""
    certificates = environ.get("SSL_CERT_FILE") or _CERTIFICATES
    given = buildrun.Given(
        program=shutil.which("runc", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") or "runc",
        certificates=certificates if Path(certificates).is_file() else "",
        variables=_given(environ, (*_PROXY, *_INDEX)),
    )
    node = {"Name": BUILDER, "Endpoint": f"unix://{socket(paths)}", "Platforms": None}
    node |= {"DriverOpts": None, "Flags": None, "Files": None}
    group = {"Name": BUILDER, "Driver": "remote", "Nodes": [node], "Dynamic": False}
    chosen = {"Key": "unix:///var/run/docker.sock", "Name": BUILDER, "Global": True}
    return {
        _config(paths): (_toml(paths), 0o600),
        _runtime(paths): (_script(given), 0o700),
        paths.buildx / "instances" / BUILDER: (files.json_text(group), 0o600),
        paths.buildx / "current": (files.json_text(chosen), 0o600),
    }


def _given(environ: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """Those of `names` that have a value, in either case, under the very name that the user gave."""
    spelled = sorted({*names, *(name.lower() for name in names if name in _PROXY)})
    return {name: environ[name] for name in spelled if environ.get(name)}


def _toml(paths: Paths) -> str:
    state = paths.buildkit
    registries = "".join(f'[registry."{host}"]\n  http = true\n' for host in _LOCAL)
    return f"""root = "{state}/root"
[grpc]
  address = ["unix://{socket(paths)}"]
[otel]
  socketPath = "{state}/otel.sock"
[cdi]
  disabled = true
[worker.containerd]
  enabled = false
[worker.oci]
  enabled = true
  platforms = ["linux/amd64"]
  binary = "{_runtime(paths)}"
  networkMode = "host" # steps reach package indexes as this machine does
  defaultCgroupParent = "{BUILD_GROUP}"
  gc = true
  maxUsedSpace = "{_KEPT}"
[registry."docker.io"]
  mirrors = ["{REGISTRY}"]
{registries}"""


def _script(given: "buildrun.Given") -> str:
    """The runtime that BuildKit starts: our own module, with what it is to hand over."""
    root = Path(__file__).resolve().parents[2]
    return (
        f"#!{Path(sys.executable).resolve()} -IB\n"
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "from tools.devstack import buildrun\n"
        f"buildrun.main(sys.argv, buildrun.Given(**{given.as_dict()!r}))\n"
    )
