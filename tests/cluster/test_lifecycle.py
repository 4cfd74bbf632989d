"""From nothing to deployed to destroyed and back; what stays, what is new, what a reviewer sees without keys."""

from collections.abc import Callable

import httpx

from support.mesh import MeshProject
from support.pulumi_project import normalised


def test_destroy_leaves_nothing_and_up_works_again(new_mesh: Callable[..., MeshProject]) -> None:
    """Destroy takes pods, release and images away and retires the policies; the next up continues their history."""
    mesh = new_mesh()
    mesh.pulumi("config", "set", "pulumi-scone:deleteImages", "true")
    mesh.up()
    first = _checksum(mesh)
    reference = mesh.outputs()["images"][mesh.service]
    assert _manifest_status(reference) == 200

    mesh.destroy()
    assert mesh.get("deployments") == []
    assert [item for item in mesh.get("secrets") if item["type"].startswith("helm.sh")] == []
    mesh.wait_until_gone("pods")
    assert _manifest_status(reference) == 404
    assert mesh.resources() == {}

    text = mesh.up().text
    assert (
        f"{mesh.cas_namespace}/{mesh.service} was retired before: all secrets that CAS generates for it are new" in text
    )
    assert _checksum(mesh) != first


def test_images_stay_unless_asked_for(new_mesh: Callable[..., MeshProject]) -> None:
    """Without delete_images a destroyed stack leaves its image where it pushed it."""
    mesh = new_mesh()
    mesh.up()
    reference = mesh.outputs()["images"][mesh.service]
    mesh.destroy()
    assert _manifest_status(reference) == 200


def test_preview_without_keys(new_mesh: Callable[..., MeshProject]) -> None:
    """A pull request from outside has neither identity nor image key: only what needs the key is unknown."""
    mesh = new_mesh()
    mesh.up()
    mesh.pulumi("config", "rm", "scone:identity")
    mesh.pulumi("config", "rm", "scone:imageKey")
    mesh.edit("mesh.yaml", "value: myself", "value: someone")
    steps = mesh.preview_steps()
    policy = steps[f"pulumi-python:dynamic/scone:SecurityPolicy::hello-{mesh.service}"]
    assert policy["op"] == "update"
    assert set(policy["diff"]) == {
        "digest",
        f"policy.services.{mesh.service}.environment.API_USER",
        f"policy.services.{mesh.service}.fspf_tag",
    }
    text = normalised(mesh.preview().text)
    assert '~ API_USER: "myself" => "someone"' in text


def _checksum(mesh: MeshProject) -> str:
    return next(line for line in mesh.log_until("Integrity OK").splitlines() if line.startswith("Checksum"))


def _manifest_status(reference: str) -> int:
    name, _, digest = reference.partition("@")
    host, _, repository = name.partition("/")
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    return httpx.get(f"http://{host}/v2/{repository}/manifests/{digest}", headers=accept, timeout=30).status_code
