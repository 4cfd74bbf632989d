"""The real Pulumi CLI on a file backend, with an embedded CAS on loopback; no cluster."""

import base64
import datetime as dt
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tools.devstack.paths import Paths
from tools.devstack.variables import environment

from scone_provider.cas.identity import Identity
from support.embedded_cas import EmbeddedCas
from support.pulumi_project import PulumiProject

IMAGE_KEY = base64.b64encode(bytes(range(32))).decode()
SOURCES = Path(__file__).parents[2]
"""Programs and providers run from this checkout, whatever is installed."""
PULUMI_YAML = "name: {called}\nruntime: python\n"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the Pulumi CLI."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.engine)


def free_ports(count: int) -> list[int]:
    """Ports on loopback that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


@pytest.fixture(scope="session")
def cli_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """PATH and plugins of the development stack; a home of the tests' own; no cluster."""
    paths = Paths.of()
    if not (paths.bin / "pulumi").exists():
        pytest.exit("the toolchain is not there: run `make test`, or `python3 -m tools.devstack up` first", 3)
    found = environment(paths, work=tmp_path_factory.mktemp("work"), environ={"PATH": os.environ["PATH"]})
    del found["KUBECONFIG"], found["PULUMI_CONFIG_PASSPHRASE_FILE"]
    sources = os.pathsep.join(str(SOURCES / folder) for folder in ("components", "provider"))
    home = str(tmp_path_factory.mktemp("home"))
    return {**found, "HOME": home, "LANG": "C.UTF-8", "PYTHONPATH": sources}


@pytest.fixture
def cas(tmp_path: Path) -> Iterator[EmbeddedCas]:
    """An embedded CAS of this test's own."""
    port, enclave_port = free_ports(2)
    server = EmbeddedCas(tmp_path / "cas", host="127.0.0.1", port=port, enclave_port=enclave_port)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def new_project(cli_environment: dict[str, str], tmp_path: Path) -> Callable[..., PulumiProject]:
    """Makes a project from the text of its program and its stack's config, with an identity and the image key."""

    def make(
        program: str,
        config: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        *,
        name: str = "project",
        called: str = "engine-test",
    ) -> PulumiProject:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "Pulumi.yaml").write_text(PULUMI_YAML.format(called=called))
        (folder / "__main__.py").write_text(program)
        project = PulumiProject(folder, environment=cli_environment)
        identity = Identity.create(common_name=name, now=dt.datetime.now(dt.UTC)).to_pem()
        keys = {"scone:imageKey": IMAGE_KEY, "scone:identity": identity}
        project.init(config or {}, keys | dict(secrets or {}))
        return project

    return make


@pytest.fixture
def identity() -> Identity:
    """A person's, for several stacks."""
    return Identity.create(common_name="ann", now=dt.datetime.now(dt.UTC))
