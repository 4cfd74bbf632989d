"""What components warn of: values that nothing reads, and what a manifest leaves open. Told once, at the component."""

from pathlib import Path
from typing import Any

import pulumi
import pytest

from pulumi_scone import CasNamespace, ConfidentialImage, MeshDeployment
from support.component_meshes import FROM_FILES, MESH, MESH_FILE, SERVICE, SERVICE_FILE, write_files
from unit.pulumi_scone.conftest import Run

UNREAD = 'variables={"CAZ_URL": …} has no effect: no document that is read here holds $CAZ_URL; used are $REPO'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A program's folder with both manifests and the file that they copy."""
    write_files(tmp_path)
    (tmp_path / "api.py").write_text("")
    return tmp_path


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("component", "args"),
    [
        (MeshDeployment, {"mesh_file": "mesh.yaml", "manifest_files": ["service.yaml"]}),
        (CasNamespace, {"mesh_file": "mesh.yaml"}),
        (ConfidentialImage, {"manifest_file": "service.yaml"}),
    ],
)
def test_variables_that_no_document_holds(run: Run, component: Any, args: dict[str, Any]) -> None:
    """A misspelt name among `variables` is told by every component that takes them; an Output is no exception."""
    values = {"REPO": "localhost:5000", "CAZ_URL": pulumi.Output.from_input("cas")}
    found = run(lambda: component("app", {**args, "variables": values}))
    assert [text for text in found.warnings if "CAZ_URL" in text] == [UNREAD]
    found = run(lambda: component("app", {**args, "variables": {"REPO": "localhost:5000"}}))
    assert not [text for text in found.warnings if "has no effect" in text]


@pytest.mark.usefixtures("project")
def test_variables_beside_manifests_in_python(run: Run) -> None:
    """They are for files: in Python nothing is replaced, so nothing reads them."""
    found = run(lambda: MeshDeployment("app", {"mesh": MESH, "manifests": [SERVICE], "variables": {"REPO": "r"}}))
    assert [text for text in found.warnings if "no document that is read here holds $REPO; used are none" in text]


def test_image_without_a_tag(run: Run, project: Path) -> None:
    """Image and mesh say that `latest` is taken, and where to write another one."""
    write_files(project, mesh=MESH_FILE.replace("api:1", "api"), service=SERVICE_FILE.replace("api:1", "api"))
    mesh = run(lambda: MeshDeployment("app", FROM_FILES))
    assert mesh.only("dynamic/scone:ConfidentialImage").inputs["to"] == "localhost:5000/team/api:latest"
    alone = run(lambda: ConfidentialImage("api", {"manifest_file": "service.yaml", "variables": {"REPO": "r.example"}}))
    for found in (mesh, alone):
        (told,) = [text for text in found.warnings if "has no tag" in text]
        assert "(service.yaml:19: build.to): write a tag" in told


@pytest.mark.usefixtures("project")
def test_helm_values_as_a_map_reach_the_release(run: Run) -> None:
    """In Python a map needs no text around it, and an Output may stand in it."""
    team = pulumi.Output.from_input("blue")
    mesh: Any = {**MESH, "helm_extra_values": {"services": {"api": {"labels": {"team": team}, "replicas": 2}}}}
    found = run(lambda: MeshDeployment("app", {"mesh": mesh, "manifests": [SERVICE]}))
    values = found.only("helm.sh/v3:Release").inputs["values"]["services"]["api"]
    assert (values["labels"], values["replicas"]) == ({"team": "blue"}, 2)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("kind", ["java21", "java21-ubuntu"])
def test_any_kind_with_the_argument_builder(run: Run, kind: str) -> None:
    """`builder` of a component takes every kind; without one the refusal names it."""
    content: Any = {**SERVICE, "build": {**SERVICE["build"], "kind": kind}}
    made = {
        "reference": "r/x@sha256:" + "ab" * 32,
        "measurement": "01" * 32,
        "fspf_tag": "02" * 16,
        "key": "derived: k",
    }
    computed = {"pulumi-python:dynamic/scone:VendorImage": made}
    args: Any = {"mesh": MESH, "manifests": [content], "builder": {"command": ["python3", "b.py"]}}
    found = run(lambda: MeshDeployment("app", args), computed=computed)
    assert found.only("dynamic/scone:VendorImage").inputs["manifest"]["build"]["kind"] == kind
    with pytest.raises(pulumi.RunError, match="builder of the component"):
        run(lambda: MeshDeployment("app", {"mesh": MESH, "manifests": [content]}))
