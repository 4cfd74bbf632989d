"""`pulumi-scone identity create` with the real CLI: both secrets of a stack, made once, seen by nobody."""

import base64
from collections.abc import Callable
from pathlib import Path

from scone_provider.cas.identity import Identity
from support.pulumi_project import PulumiProject

CREATE = ("pulumi-scone", "identity", "create")


def secret(project: PulumiProject, key: str) -> str:
    """A secret of the stack in clear, which is no part of what is searched for leaks."""
    value = project.pulumi("config", "get", key).text.strip()
    del project.transcripts[-1]
    return value


def test_makes_both_once_and_shows_neither(cli_environment: dict[str, str], tmp_path: Path) -> None:
    """A new stack gets a key pair and an image key, encrypted; a second run keeps both; neither is ever printed.

    The key hash is, by which the identity is named as an owner.
    """
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: identity-test\nruntime: python\n")
    project = PulumiProject(folder, environment=cli_environment)
    project.pulumi("stack", "init", "dev")
    made = project.execute(CREATE).text
    identity, image_key = secret(project, "scone:identity"), secret(project, "scone:imageKey")
    key_hash = Identity.parse(identity).key_hash
    assert made == (
        f"scone:identity: made and stored as a secret of the stack; its key hash is {key_hash}\n"
        "scone:imageKey: made and stored as a secret of the stack\n"
    )
    assert len(base64.b64decode(image_key, validate=True)) == 32
    kept = f"scone:identity: kept; its key hash is {key_hash}\nscone:imageKey: kept\n"
    assert project.execute(CREATE).text == kept
    assert (secret(project, "scone:identity"), secret(project, "scone:imageKey")) == (identity, image_key)
    written = project.everything_written()
    assert image_key.encode() not in written
    assert b"PRIVATE KEY" not in written


def test_no_stack_is_said(cli_environment: dict[str, str], tmp_path: Path) -> None:
    """Without a stack nothing is made, and the error says what to do."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: identity-test\nruntime: python\n")
    project = PulumiProject(folder, environment=cli_environment)
    done = project.execute(CREATE, check=False)
    assert done.status == 1
    assert "pulumi-scone: `pulumi config " in done.text
    assert "→ select a stack" in done.text
    assert "Traceback" not in done.text


def test_wrong_passphrase_makes_nothing(new_project: Callable[..., PulumiProject]) -> None:
    """A stack that cannot be opened keeps what it has: a new image key would make every image another one."""
    project = new_project("")
    before = (project.folder / "Pulumi.dev.yaml").read_text()
    done = project.execute(CREATE, check=False, environment={"PULUMI_CONFIG_PASSPHRASE": "wrong"})
    assert done.status == 1
    assert "passphrase" in done.text
    assert (project.folder / "Pulumi.dev.yaml").read_text() == before
