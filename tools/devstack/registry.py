"""The local image registry: on loopback alone, deletes allowed, content in the state folder."""

from pathlib import Path

from tools.devstack import files
from tools.devstack.oci import Registry
from tools.devstack.paths import Paths
from tools.devstack.process import Daemon, Supervisor
from tools.devstack.steps import Job

NAME = "registry"
_HOST, _PORT = "127.0.0.1", 5000


def client() -> Registry:
    """The local registry."""
    return Registry(host=_HOST, port=_PORT)


def is_ready(supervisor: Supervisor, paths: Paths) -> bool:
    """Whether our registry is up."""
    return _config(paths).is_file() and supervisor.is_current(_daemon(paths)) and client().answers()


def start(job: Job, supervisor: Supervisor, paths: Paths) -> None:
    """Start the registry. Raises DevstackError that names who holds its port."""
    content = paths.state / "registry"
    content.mkdir(parents=True, exist_ok=True)
    files.write_json(
        _config(paths),  # JSON is YAML
        {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {
                "filesystem": {"rootdirectory": str(content)},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": f"{_HOST}:{_PORT}"},
        },
    )
    supervisor.start(_daemon(paths))
    job.until(client().answers, seconds=20, what="the registry does not answer")


def _config(paths: Paths) -> Path:
    return paths.state / "registry.json"


def _daemon(paths: Paths) -> Daemon:
    return Daemon(
        name=NAME,
        argv=("docker-registry", "serve", str(_config(paths))),
        ports=((_HOST, _PORT),),
        inputs=(_config(paths),),
    )
