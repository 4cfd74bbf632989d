"""The embedded CAS as a process of this machine."""

from pathlib import Path

from tools.devstack.paths import CAS_CLIENT_PORT, CAS_ENCLAVE_PORT, NODE_ADDRESS, Paths
from tools.devstack.process import Daemon, Supervisor
from tools.devstack.settings import Target
from tools.devstack.steps import Job

NAME = "cas"


def daemon(paths: Paths, *, target: Target) -> Daemon:
    """The process. Its sources are inputs: an edited CAS is started anew."""
    host = target.cas_host or NODE_ADDRESS
    provider = paths.root / "provider"
    sources = [
        provider / "scone_provider" / "cli.py",
        *sorted((provider / "scone_cas").rglob("*.py")),
        *sorted((provider / "scone_policy").rglob("*.py")),
    ]
    return Daemon(
        name=NAME,
        argv=(
            str(paths.venv / "bin" / "pulumi-scone"),
            *("cas", "serve", "--state", str(state(paths))),
            *("--host", host, "--port", str(CAS_CLIENT_PORT), "--enclave-port", str(CAS_ENCLAVE_PORT)),
        ),
        ports=((host, CAS_CLIENT_PORT), (host, CAS_ENCLAVE_PORT)),
        inputs=tuple(sources),
    )


def state(paths: Paths) -> Path:
    """Sessions, secrets and keys of the CAS."""
    return paths.state / "cas"


def start(job: Job, supervisor: Supervisor, paths: Paths, *, target: Target) -> None:
    """Start the CAS, wait until both ports answer."""
    wanted = daemon(paths, target=target)
    state(paths).mkdir(parents=True, exist_ok=True, mode=0o700)
    supervisor.start(wanted)
    log = supervisor.log_of(NAME)
    job.until(
        lambda: supervisor.is_current(wanted) or not supervisor.alive(NAME),
        seconds=30,
        what=f"the CAS does not answer (see {log})",
    )
    if not supervisor.alive(NAME):
        for line in log.read_text(errors="replace").splitlines()[-10:]:
            job.note(line)
    job.until(lambda: supervisor.is_current(wanted), seconds=1, what=f"the CAS ended at once (see {log})")
