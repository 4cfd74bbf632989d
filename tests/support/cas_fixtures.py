"""Fixtures: embedded CASes that run as programs of their own."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from scone_provider.cas.transport import close_clients
from support.importing_cas import Importer
from support.real_cas import RealCas


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


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Iterator[Importer]:
    """The importing CAS."""
    found = Importer(tmp_path_factory.mktemp("importer") / "state")
    yield found
    found.close()
