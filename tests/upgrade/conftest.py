"""The real Pulumi CLI, and nothing that a recorded state was deployed on: a preview needs neither CAS nor cluster."""

import os
from pathlib import Path

import pytest
from tools.devstack.paths import Paths
from tools.devstack.variables import environment

SOURCES = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the Pulumi CLI."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def upgrade_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """PATH and plugins of the development stack; a home of the tests' own; programs run from this checkout."""
    paths = Paths.of()
    if not (paths.bin / "pulumi").exists():
        pytest.exit("the toolchain is not there: run `make test`, or `python3 -m tools.devstack up` first", 3)
    found = environment(paths, work=tmp_path_factory.mktemp("work"), environ={"PATH": os.environ["PATH"]})
    del found["PULUMI_CONFIG_PASSPHRASE_FILE"]
    sources = os.pathsep.join(str(SOURCES / folder) for folder in ("components", "provider"))
    return {**found, "HOME": str(tmp_path_factory.mktemp("home")), "LANG": "C.UTF-8", "PYTHONPATH": sources}
