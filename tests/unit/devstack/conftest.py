import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))  # tools/ is not installed: it runs before anything is

from tools.devstack.process import Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(state=tmp_path, run=tmp_path / "run", log=tmp_path / "log")
    yield made
    for record in made.records():
        made.stop(record.name, grace=0.1)
    made.sweep()
