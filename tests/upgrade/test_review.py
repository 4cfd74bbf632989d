"""The comment on a pull request, from a real preview of a recorded state: what docs/reviewing-changes.md shows."""

import re
from pathlib import Path

from scone_provider.commands.review import GATED
from support.golden import Golden
from support.pulumi_project import normalised
from support.recorded_state import Recorded

HERE = Path(__file__).parent
EDITS = {
    "mesh.yaml": [("debug-mode, ", "debug-mode, hyperthreading, ")],
    "api.service.yaml": [
        ("      private_key: api_ca_key\n", "      private_key: api_ca_key\n      valid_for: 30 days\n"),
        ("value: 760M", "value: 800M"),
    ],
    "api.py": [("import", "import  sys\nimport")],
}


def test_comment(upgrade_environment: dict[str, str], tmp_path: Path, golden: Golden) -> None:
    """Four edits in three files, one comment: what widens stands first, then what is lost, what restarts, the rest.

    The program that writes it gates, too; without an edit it says that nothing changes.
    """
    project = Recorded(HERE / "0.1.0" / "flask-redis", tmp_path / "project", environment=upgrade_environment)
    unchanged = project.pulumi("preview", "--json").text
    assert "no changes" in project.execute(["pulumi-scone", "review"], stdin=unchanged).text
    for file, edits in EDITS.items():
        text = (project.folder / file).read_text()
        for old, new in edits:
            assert old in text
            text = text.replace(old, new, 1)
        (project.folder / file).write_text(text)
    preview = project.pulumi("preview", "--json").text
    done = project.execute(["pulumi-scone", "review", "--fail-on", "widens"], stdin=preview, check=False)
    assert done.status == GATED
    comment = done.text.partition("--- messages")[0]
    golden(HERE / "goldens" / "review.md", re.sub(r"upgrade-[0-9a-f]{6}", "shop", normalised(comment)))
