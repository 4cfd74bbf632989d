"""A program that an earlier release deployed, and the state that it left."""

import shutil
from pathlib import Path

from support.pulumi_project import PulumiProject


class Recorded(PulumiProject):
    """A recorded program with its settings, and its state in a backend of this test's own."""

    def __init__(self, recorded: Path, folder: Path, *, environment: dict[str, str]) -> None:
        shutil.copytree(recorded, folder)
        super().__init__(folder, environment=environment)
        settings = (folder / "Pulumi.dev.yaml").read_bytes()
        self.pulumi("stack", "init", "dev")
        (folder / "Pulumi.dev.yaml").write_bytes(settings)  # with the salt under which the state is encrypted
        self.pulumi("stack", "import", "--file", "state.json")
