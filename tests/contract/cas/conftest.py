"""CASes and people for the contract tests."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scone_provider.cas.identity import Identity
from scone_provider.cas.transport import close_clients
from support.importing_cas import Importer
from support.real_cas import RealCas

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def cas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCas]:
    """One CAS for all tests that do not disturb it."""
    found = RealCas(tmp_path_factory.mktemp("cas") / "state").start()
    yield found
    close_clients()
    found.stop()


@pytest.fixture
def own_cas(tmp_path: Path) -> Iterator[Callable[..., RealCas]]:
    """CASes that a test starts, and may stop, for itself."""
    made: list[RealCas] = []

    def make(*options: str, name: str = "own", environment: Mapping[str, str] | None = None) -> RealCas:
        made.append(RealCas(tmp_path / name, *options, environment=environment).start())
        return made[-1]

    yield make
    close_clients()
    for each in made:
        if each.process is not None and each.process.poll() is None:
            each.stop()


@pytest.fixture(scope="session")
def ann() -> Identity:
    """Somebody."""
    return Identity.create(common_name="ann", now=NOW)


@pytest.fixture(scope="session")
def bob() -> Identity:
    """Somebody else."""
    return Identity.create(common_name="bob", now=NOW)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A session name of this test alone."""
    return re.sub(r"[^A-Za-z0-9_.~-]+", "-", request.node.name)[:100]


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Iterator[Importer]:
    """The importing CAS."""
    found = Importer(tmp_path_factory.mktemp("importer") / "state")
    yield found
    found.close()
