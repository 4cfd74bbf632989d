"""What a reviewer sees: exactly the changed paths, with values, with and without CAS, registry and cluster."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.golden import Golden
from support.mesh import MeshProject
from support.pulumi_project import normalised

GOLDENS = Path(__file__).parent / "goldens"
IMAGE = "pulumi-python:dynamic/scone:ConfidentialImage::hello-pythonapp"
POLICY = "pulumi-python:dynamic/scone:SecurityPolicy::hello-pythonapp"
RELEASE = "kubernetes:helm.sh/v3:Release::hello"
ROLLOUT = "pulumi-python:dynamic/scone:Rollout::hello"

NEW_IMAGE = {
    RELEASE: {"values.services.pythonapp.image", "values.services.pythonapp.policyDigest"},
    ROLLOUT: {"chart", "services.pythonapp.image", "services.pythonapp.policy_digest"},
}
NEW_POLICY = {
    RELEASE: {"values.services.pythonapp.policyDigest"},
    ROLLOUT: {"chart", "services.pythonapp.policy_digest"},
}
EDITS = {
    "variable": (
        ("mesh.yaml", "value: myself", "value: someone"),
        {POLICY: {"digest", "policy.services.pythonapp.environment.API_USER"}, **NEW_POLICY},
    ),
    "secret-size": (
        ("service.yaml", "size: 10", "size: 12"),
        {POLICY: {"digest", "policy.secrets.password.size"}, **NEW_POLICY},
    ),
    "program": (
        ("print_env.py", "Integrity OK", "Integrity is OK"),
        {
            IMAGE: {'files["/python/print_env.py"]', "digest", "fspf_tag", "reference"},
            POLICY: {"digest", "policy.services.pythonapp.fspf_tag"},
            **NEW_IMAGE,
        },
    ),
    "heap": (
        ("service.yaml", "value: 760M", "value: 800M"),
        {
            IMAGE: {"environment.SCONE_HEAP", "digest", "measurement", "reference"},
            POLICY: {"digest", "policy.services.pythonapp.attestation.mrenclave"},
            RELEASE: NEW_IMAGE[RELEASE] | {"values.services.pythonapp.env.SCONE_HEAP"},
            ROLLOUT: NEW_IMAGE[ROLLOUT],
        },
    ),
}


@pytest.fixture(params=EDITS)
def edited(request: pytest.FixtureRequest, mesh: MeshProject) -> Iterator[tuple[str, dict[str, set[str]]]]:
    """One edit of the deployed project, undone afterwards: its name and the paths that must change."""
    (file, old, new), expected = EDITS[request.param]
    mesh.edit(file, old, new)
    yield request.param, expected
    mesh.edit(file, new, old)


def test_exactly_the_concerned_paths_change(mesh: MeshProject, edited: tuple[str, dict[str, set[str]]]) -> None:
    """Each edit shows as the paths that it concerns in image, policy and release, and as nothing else."""
    _, expected = edited
    steps = mesh.preview_steps()
    assert {name: set(step["diff"]) for name, step in steps.items()} == expected
    assert {step["op"] for step in steps.values()} == {"update"}


def test_preview_reads_well_and_is_the_same_offline(
    mesh: MeshProject, edited: tuple[str, dict[str, set[str]]], golden: Golden
) -> None:
    """The text is the golden one, all of it known; without any network it comes out byte for byte."""
    name, _ = edited
    text = mesh.offline_preview()
    assert "[unknown]" not in text
    assert text == mesh.preview().text
    golden(GOLDENS / f"{name}.txt", _without_names(mesh, normalised(text)))


def test_nothing_to_do(mesh: MeshProject, golden: Golden) -> None:
    """An unchanged program previews as no change, offline too."""
    text = mesh.offline_preview()
    assert text == mesh.preview().text
    golden(GOLDENS / "nothing.txt", _without_names(mesh, normalised(text)))


def test_service_of_another_name(mesh: MeshProject) -> None:
    """To CAS it is another session: the preview names the policy that goes and what CAS generated for it, offline, too;
    what only one more service adds is no loss.
    """
    again = "  - name: webapp\n    image: $APP_IMAGE_REPO/python_hello_user:1\n"
    for old, new, is_lost in (
        ("- name: pythonapp", "- name: webapp", True),
        ("services:\n", f"services:\n{again}", False),
    ):
        mesh.edit("mesh.yaml", old, new)
        for text in (mesh.preview().text, mesh.offline_preview()):
            said = f"the policy {mesh.cas_namespace}/pythonapp is retired, and what CAS generated for it is lost: "
            assert (f"{said}secrets.password. " in text) == is_lost
        mesh.edit("mesh.yaml", new, old)
    assert mesh.preview_steps() == {}


def test_first_preview_is_fully_known(new_mesh: Callable[..., MeshProject]) -> None:
    """Before anything exists the preview already has digest, tag, measurement and the pods' values."""
    mesh = new_mesh()
    text = mesh.preview().text
    assert "[unknown]" not in _without_names(mesh, text)
    steps = json.loads(mesh.pulumi("preview", "--json").text)["steps"]
    image = next(step for step in steps if step["urn"].endswith(IMAGE))
    assert image["newState"]["inputs"]["digest"].startswith("sha256:")
    assert len(image["newState"]["inputs"]["fspf_tag"]) == 32


def _without_names(mesh: MeshProject, text: str) -> str:
    for name, stand_in in (
        (mesh.repository, "<repository>"),
        (mesh.repository.partition("/")[2], "<name>"),
        (mesh.kubernetes_namespace, "<namespace>"),
        (mesh.cas_namespace, "<mesh>"),
    ):
        text = text.replace(name, stand_in)
    return text
