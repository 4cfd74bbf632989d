"""Workflows, ours and the example's: what runs a branch's code has nothing that is worth stealing."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted(
    [*(ROOT / ".github/workflows").glob("*.y*ml"), *(ROOT / "examples").rglob(".github/workflows/*.y*ml")]
)
EXAMPLES = [path for path in WORKFLOWS if "examples" in path.parts]
_BY_HASH = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
_OF_THE_EVENT = re.compile(r"\$\{\{[^}]*(github\.event\.|github\.head_ref|\binputs\.)")


def read(path: Path) -> dict[Any, Any]:
    """The document; YAML 1.1 reads the key `on` as true."""
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


def steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a job."""
    return list(job["steps"])


def texts(node: object) -> list[str]:
    """Every text in a part of a document."""
    if isinstance(node, dict):
        return [text for value in node.values() for text in texts(value)]
    if isinstance(node, list):
        return [text for value in node for text in texts(value)]
    return [str(node)]


def named_secret(node: object) -> bool:
    """Whether any text of it takes a secret."""
    return any(re.search(r"(?<!\w)secrets\s*[.\[}]", text) for text in texts(node))


def test_there_are_workflows() -> None:
    """The tests below look at something."""
    assert {path.name for path in WORKFLOWS} >= {"checks.yaml", "preview.yaml", "preview-state.yaml"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_checkouts_keep_no_token(path: Path) -> None:
    """A tag can be moved to other code; a checkout leaves its token for whatever runs next."""
    lines = path.read_text().splitlines()
    for line in (one for one in lines if "uses:" in one and not one.lstrip().startswith("#")):
        assert _BY_HASH.search(line), line
        assert re.search(r"# v\d+\.\d+\.\d+", line), f"{line}: say which version it is"
    for job in read(path)["jobs"].values():
        for step in steps(job):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_permissions_are_named_and_small(path: Path) -> None:
    """No job has what the repository's settings give by default; none writes but the one that comments."""
    workflow = read(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in workflow["jobs"].items():
        granted = {key for key, value in job.get("permissions", {}).items() if value == "write"}
        assert granted == ({"pull-requests"} if name == "comment" else set())
        if granted:
            assert not any(step.get("uses", "").startswith("actions/checkout@") for step in steps(job))
            assert "pip" not in " ".join(texts(steps(job)))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_text_of_a_stranger_becomes_a_command(path: Path) -> None:
    """A title or a branch's name in `run` would be read by the shell: they go through the environment."""
    for job in read(path)["jobs"].values():
        for step in steps(job):
            assert not _OF_THE_EVENT.search(step.get("run", "")), step


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_pull_requests_get_no_secret(path: Path) -> None:
    """What a pull request starts names no secret, in no job, no step and no environment; and never starts with the
    rights of the repository.
    """
    workflow = read(path)
    triggers = workflow["on"] if "on" in workflow else workflow[True]
    names = [triggers] if isinstance(triggers, str) else list(triggers)
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(names)
    if "pull_request" in names:
        for name, job in workflow["jobs"].items():
            if "pull_request'" in str(job.get("if", "")) and "!=" in str(job["if"]):
                continue  # not for pull requests
            assert "environment" not in job, name
            assert not named_secret(job), name
            if name != "comment":
                assert not any("github.token" in text for text in texts(job)), name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_secrets_are_given_to_single_steps_that_run_no_program(path: Path) -> None:
    """Not to a job, and not to a step that installs or runs what is checked out."""
    workflow = read(path)
    assert not named_secret(workflow.get("env", {}))
    for job in workflow["jobs"].values():
        assert not named_secret(job.get("env", {}))
        for step in steps(job):
            if named_secret(step):
                assert "environment" in job
                assert "uses" not in step
                assert re.fullmatch(r"pulumi stack export [^;&|\n]*\n?", step["run"])


def test_the_scripts_that_workflows_name_are_there() -> None:
    """And can be run."""
    named = {name for path in EXAMPLES for name in re.findall(r"\./(examples/ci/[\w.-]+)", path.read_text())}
    assert named == {"examples/ci/preview-copy.sh", "examples/ci/without_secrets.py"}
    for name in named:
        assert (ROOT / name).stat().st_mode & 0o111
