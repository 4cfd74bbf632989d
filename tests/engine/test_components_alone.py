"""`CasNamespace` alone, through the real engine: from a Meshfile and in Python."""

from collections.abc import Callable

from support.embedded_cas import EmbeddedCas
from support.pulumi_project import PulumiProject

Make = Callable[..., PulumiProject]
MESH = """apiVersion: scone/5.8
kind: mesh
cas:
  - name: cas
    alias: [image, security, access, attestation]
    cas_url: $CAS_URL
    tolerance: "--only_for_testing-trust-any --only_for_testing-debug --only_for_testing-ignore-signer"
policy:
  namespace: acme
env: []
services:
  - name: api
    image: registry.example.com/api:1
"""
PROGRAM = """
import pulumi
from pulumi_scone import CasNamespace

url = pulumi.Config("test").require("cas")
CasNamespace("acme", {arguments})
"""
IN_PYTHON = """{
    "namespace": "acme",
    "cas_url": url,
    "tolerance": "--only_for_testing-trust-any --only_for_testing-debug --only_for_testing-ignore-signer",
}"""


def test_namespace_from_a_meshfile_is_the_one_in_python(new_project: Make, cas: EmbeddedCas) -> None:
    """A namespace that was made from a Meshfile is unchanged when the same is said in Python."""
    text = PROGRAM.replace("{arguments}", '{"mesh_file": "mesh.yaml", "variables": {"CAS_URL": url}}')
    project = new_project(text, {"test:cas": f"127.0.0.1:{cas.port}"})
    (project.folder / "mesh.yaml").write_text(MESH)
    project.up()
    assert "session=acme " in cas.log.read_text()
    (project.folder / "__main__.py").write_text(PROGRAM.replace("{arguments}", IN_PYTHON))
    assert project.preview_steps() == {}


def test_namespace_needs_one_source(new_project: Make, cas: EmbeddedCas) -> None:
    """Both a Meshfile and Python arguments, or neither, is an error that says which."""
    both = '{"mesh_file": "mesh.yaml", "namespace": "acme"}'
    project = new_project(PROGRAM.replace("{arguments}", both), {"test:cas": f"127.0.0.1:{cas.port}"})
    done = project.preview(check=False)
    assert done.status != 0
    assert "mesh_file and namespace are both given" in done.text
    assert "Traceback" not in done.text
