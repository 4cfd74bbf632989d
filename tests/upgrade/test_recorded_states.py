"""States that earlier releases left: the program that made one, run by this version, has nothing to do."""

from pathlib import Path

import pytest

from support.recorded_state import Recorded

HERE = Path(__file__).parent
RECORDED = sorted(path.parent for path in HERE.rglob("state.json"))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.relative_to(HERE).as_posix())
def test_a_newer_version_finds_nothing_to_do(
    recorded: Path, upgrade_environment: dict[str, str], tmp_path: Path
) -> None:
    """No path differs, nothing is replaced, no provider is missing: names, modules and pickles still fit."""
    project = Recorded(recorded, tmp_path / "project", environment=upgrade_environment)
    assert project.preview_steps() == {}, project.preview().text


def test_there_are_recorded_states() -> None:
    """A wrong path would leave nothing to compare with."""
    assert len(RECORDED) >= 4
