"""Real deployments: a CAS of the tests' own, projects of their own, the development stack's cluster and registry."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tools.devstack.paths import REGISTRY, Paths
from tools.devstack.variables import environment

from support.embedded_cas import EmbeddedCas
from support.mesh import MeshProject

CAS_ADDRESS = "10.123.0.2"  # beside the demo's, on the stack's own bridge


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the development stack."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def stack_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """PATH, KUBECONFIG and plugins of the development stack; a home of the tests' own."""
    paths = Paths.of()
    if not paths.kubeconfig.is_file():
        pytest.exit("the development stack is not up: run `make test`, or `python3 -m tools.devstack up` first", 3)
    found = environment(paths, work=tmp_path_factory.mktemp("work"), environ={"PATH": os.environ["PATH"]})
    sources = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    return {**found, **sources, "HOME": str(tmp_path_factory.mktemp("home")), "LANG": "C.UTF-8"}


@pytest.fixture(scope="session")
def cas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCas]:
    """An embedded CAS that pods can reach, and that tests may stop and start."""
    address = f"{CAS_ADDRESS}/32"
    subprocess.run(["ip", "address", "replace", address, "dev", "scone0"], check=True)
    server = EmbeddedCas(tmp_path_factory.mktemp("cas"), host=CAS_ADDRESS)
    server.start()
    yield server
    server.stop()
    subprocess.run(["ip", "address", "del", address, "dev", "scone0"], check=True)


@pytest.fixture(scope="module")
def new_mesh(
    stack_environment: dict[str, str], cas: EmbeddedCas, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., MeshProject]]:
    """Makes mesh projects (see MeshProject) and removes what they deployed."""
    made: list[MeshProject] = []

    def make(*, kind: type[MeshProject] = MeshProject, **options: str) -> MeshProject:
        suffix = secrets.token_hex(3)
        folder = tmp_path_factory.mktemp("mesh") / "project"
        project = kind(
            folder,
            environment=stack_environment,
            cas=cas,
            repository=f"{REGISTRY}/test-{suffix}",
            kubernetes_namespace=f"test-{suffix}",
            cas_namespace=f"mesh-{suffix}",
            **options,
        )
        made.append(project)
        return project

    yield make
    for project in made:
        project.remove()
        shutil.rmtree(project.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def mesh(new_mesh: Callable[..., MeshProject]) -> MeshProject:
    """The example, deployed: one for all tests of a module, which leave it as they found it."""
    project = new_mesh()
    project.up()
    return project
