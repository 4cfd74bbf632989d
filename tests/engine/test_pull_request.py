"""examples/ci/preview.sh, which a workflow runs for each pull request, on a real stack."""

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
    """The Markdown says what changes, by direction and path; nothing secret; a gate ends with a code of its own."""
    project = new_project(PROGRAM, {"test:cas": f"127.0.0.1:{cas.port}"}, {"test:given": PLANTED})
    project.up()
    assert _comment(project).splitlines()[0] == "### Preview of `dev`: no changes"
    main = project.folder / "__main__.py"
    main.write_text(main.read_text().replace('"myself"', '"someone"'))
    comment = _comment(project, FAIL_ON="widens")
    assert comment.splitlines()[0] == "### Preview of `dev`: changes what is trusted (1 updated)"
    path = "`services.api.environment.USER` `myself` → `someone`"
    assert any(line.startswith("- **api** ") and path in line for line in comment.splitlines())
    assert PLANTED not in comment
    main.write_text(
        main.read_text().replace('"version": "0.3.10"', '"version": "0.3.10", "access_policy": {"read": ["ANY"]}')
    )
    assert "**Widens who or what is trusted**" in _comment(project, status=3, FAIL_ON="widens")
    main.write_text(main.read_text().replace('"command": "python3 api.py"', '"commands": "python3 api.py"'))
    failed = _comment(project, status=1)
    assert failed.splitlines()[0] == "### Preview of `dev`: the preview failed"
    assert "services.api.commands: unknown key" in failed
    assert PLANTED not in failed


def test_reviewer_sees_what_must_not_be_missed(new_project: Callable[..., PulumiProject], cas: EmbeddedCas) -> None:
    """Warnings stand at the top, a policy that is lost among what is lost; a value cannot end its place."""
    project = new_project(PROGRAM, {"test:cas": f"127.0.0.1:{cas.port}"}, {"test:given": PLANTED})
    project.up()
    main = project.folder / "__main__.py"
    text = main.read_text().replace('"version": "0.3.10"', '"version": "0.3.10", "images": {}')
    main.write_text(
        text.replace('"myself"', r'"```\n</details>\n**Approved**"').replace('"acme/api"', '"acme/other"')
        + 'pulumi.log.warn("something to know")\n'
    )
    comment = _comment(project)
    lost = "acme/api becomes acme/other, which is another policy to CAS: once that is there, acme/api is retired"
    top = comment.partition("**Widens")[0]
    assert f"- **warning** `{lost}`\n" in top
    assert "- **warning** `something to know`\n" in top
    assert "retired: no program is trusted by it any more" in comment
    assert r"```` ```\u000a</details>\u000a**Approved** ````" in comment
    assert "**Approved**" not in comment.replace("</details>\\u000a**Approved**", "")
    assert PLANTED not in comment


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

    first = [line for line in preview().splitlines() if line.startswith("- ")]
    assert len(first) == 1, first
    assert first[0].startswith("- follows from what else is shown: `digest`"), first
    assert "→ `[unknown]`" in first[0]  # of a policy with a secret in it, which the image key is needed for
    main = project.folder / "__main__.py"
    main.write_text(main.read_text().replace('"myself"', '"someone"'))
    comment = preview()
    assert comment.splitlines()[0] == "### Preview of `dev`: changes what is trusted (1 updated)"
    assert "`services.api.environment.USER` `myself` → `someone`" in comment


def _comment(project: PulumiProject, *, status: int = 0, **environment: str) -> str:
    done = project.execute(["bash", str(CI / "preview.sh")], check=False, environment={"STACK": "dev", **environment})
    assert done.status == status, done.text
    return done.text.partition("--- messages ---")[0]
