"""States that earlier releases left: the program that made one, run by this version, has nothing to do."""

import shutil
from pathlib import Path

import pytest

from support.pulumi_project import PulumiProject

HERE = Path(__file__).parent
RECORDED = sorted(path.parent for path in HERE.rglob("state.json"))


class Recorded(PulumiProject):
    """A recorded program with its settings, and its state in a backend of this test's own."""

    def __init__(self, recorded: Path, folder: Path, *, environment: dict[str, str]) -> None:
        shutil.copytree(recorded, folder)
        super().__init__(folder, environment=environment)
        settings = (folder / "Pulumi.dev.yaml").read_bytes()
        self.pulumi("stack", "init", "dev")
        (folder / "Pulumi.dev.yaml").write_bytes(settings)  # with the salt under which the state is encrypted
        self.pulumi("stack", "import", "--file", "state.json")


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
