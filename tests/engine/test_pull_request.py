"""examples/ci/preview.sh, which a workflow runs for each pull request, on a real stack."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from support.embedded_cas import EmbeddedCas
from support.pulumi_project import PulumiProject

CI = Path(__file__).parents[2] / "examples" / "ci"
PLANTED = "planted-19ab-secret"
PROGRAM = """
import pulumi
from pulumi_scone import CasNamespace, SecurityPolicy

config = pulumi.Config("test")
switches = "--only_for_testing-debug --only_for_testing-ignore-signer --only_for_testing-trust-any"
acme = CasNamespace("acme", {"namespace": "acme", "cas_url": config.require("cas"), "tolerance": switches})
policy = {
    "name": "acme/api",
    "version": "0.3.10",
    "secrets": {"given": {"kind": "ascii", "value": config.require_secret("given")}},
    "services": {
        "api": {
            "command": "python3 api.py",
            "environment": {"USER": "myself", "TOKEN": "$$SCONE::given$$"},
            "attestation": {"mrenclave": "ab" * 32},
        }
    },
}
SecurityPolicy("api", cas=acme.trust, policy=policy, opts=pulumi.ResourceOptions(depends_on=[acme]))
"""


def test_comment_shows_what_changes(new_project: Callable[..., PulumiProject], cas: EmbeddedCas) -> None:
    """The Markdown says how much changes, then each path as a diff; nothing secret; cut where a comment would be."""
    project = new_project(PROGRAM, {"test:cas": f"127.0.0.1:{cas.port}"}, {"test:given": PLANTED})
    project.up()
    unchanged = _comment(project)
    assert unchanged.splitlines()[0] == "### Preview of `dev`: 5 unchanged"
    main = project.folder / "__main__.py"
    main.write_text(main.read_text().replace('"myself"', '"someone"'))
    comment = _comment(project)
    assert comment.splitlines()[0] == "### Preview of `dev`: ~ 1 to update, 4 unchanged"
    assert re.search(r'^! +USER: "myself" => "someone"$', comment, re.MULTILINE)
    assert comment.count("```") == 2
    assert PLANTED not in comment
    short = _comment(project, COMMENT_LIMIT="200")
    assert len(short) < 600
    assert "cut after 200 characters" in short
    assert short.count("```") == 2
    main.write_text(main.read_text().replace('"command": "python3 api.py"', '"commands": "python3 api.py"'))
    failed = _comment(project, status=1)
    assert failed.splitlines()[0] == "### Preview of `dev`: the preview failed"
    assert "commands" in failed
    assert PLANTED not in failed


def test_reviewer_sees_what_must_not_be_missed(new_project: Callable[..., PulumiProject], cas: EmbeddedCas) -> None:
    """Warnings and errors stand outside of the fold; a replacement stands out; a value cannot end the block."""
    project = new_project(PROGRAM, {"test:cas": f"127.0.0.1:{cas.port}"}, {"test:given": PLANTED})
    project.up()
    main = project.folder / "__main__.py"
    text = main.read_text().replace('"version": "0.3.10"', '"version": "0.3.10", "images": {}')
    main.write_text(
        text.replace('"myself"', r'"```\n</details>\n**Approved**"').replace('"acme/api"', '"acme/other"')
        + 'pulumi.log.warn("something to know")\n'
    )
    comment = _comment(project)
    above, _, fold = comment.partition("<details>")
    lost = "acme/api becomes acme/other, which is another policy to CAS: once that is there, acme/api is retired"
    assert above.endswith(f"````text\nwarning: something to know\nwarning: {lost}\n````\n\n")
    assert re.search(r"^! *\+-.*SecurityPolicy: \(replace\)$", fold, re.MULTILINE)
    fence = re.findall("^(`+)diff$", fold, re.MULTILINE)[0]
    assert len(fence) > 3
    assert fold.count(fence) == 2
    assert fold.rstrip().endswith(f"{fence}\n\n</details>")
    main.write_text(main.read_text().replace('"command": "python3 api.py"', '"commands": "python3 api.py"'))
    above = _comment(project, status=1).partition("<details>")[0]
    assert "services.api.commands: unknown key" in above
    assert PLANTED not in comment + above


def test_preview_of_somebody_who_knows_no_secret(new_project: Callable[..., PulumiProject], cas: EmbeddedCas) -> None:
    """The export needs no passphrase, the copy has no ciphertext and no key, and a preview on it, without passphrase,
    CAS or keys, shows what the branch changes, beside what the keys are needed for; the settings stay as they were.
    """
    project = new_project(PROGRAM, {"test:cas": f"127.0.0.1:{cas.port}"}, {"test:given": PLANTED})
    project.up()
    nothing = {"PULUMI_CONFIG_PASSPHRASE": "", "PULUMI_CONFIG_PASSPHRASE_FILE": ""}
    exported = project.pulumi("stack", "export", environment=nothing).text
    assert "ciphertext" in exported
    copy = subprocess.run(
        [sys.executable, CI / "without_secrets.py", "state"], input=exported, text=True, capture_output=True, check=True
    ).stdout
    for word in ("ciphertext", "encryptionsalt", "v1:", "imageKey", "scone:identity", PLANTED):
        assert word not in copy
    state = project.folder.parent / "state.json"
    state.write_text(copy)
    cas.stop()
    shutil.rmtree(project.backend)
    settings = (project.folder / "Pulumi.dev.yaml").read_text()

    def preview() -> str:
        command = ["bash", str(CI / "preview-copy.sh"), str(state)]
        done = project.execute(command, check=False, environment={"STACK": "dev", **nothing})
        assert done.status == 0, done.text
        assert (project.folder / "Pulumi.dev.yaml").read_text() == settings
        return done.text.partition("--- messages ---")[0]

    first = preview()
    changed = re.findall(r"^[!+-] .*$", first.partition("<details>")[2], re.MULTILINE)
    assert [line.split()[1] for line in changed] == ["pulumi-python:dynamic/scone:SecurityPolicy:", "digest:", "1"], (
        first
    )
    assert "=> [unknown]" in changed[1]  # of a policy with a secret in it, which the image key is needed for
    main = project.folder / "__main__.py"
    main.write_text(main.read_text().replace('"myself"', '"someone"'))
    comment = preview()
    assert comment.splitlines()[0] == "### Preview of `dev`: ~ 1 to update, 4 unchanged"
    assert re.search(r'^! +USER: "myself" => "someone"$', comment, re.MULTILINE)


def _comment(project: PulumiProject, *, status: int = 0, **environment: str) -> str:
    done = project.execute(["bash", str(CI / "preview.sh")], check=False, environment={"STACK": "dev", **environment})
    assert done.status == status, done.text
    return done.text.partition("--- messages ---")[0]
