"""Renamed, replaced, tainted, moved, made by another stack: a release that runs is never taken down unasked."""

import json
from collections.abc import Callable

import pytest

from support.mesh import MeshProject

RELEASE = "kubernetes:helm.sh/v3:Release"
ROLLOUT = "pulumi-python:dynamic/scone:Rollout"
ALIASES = 'pulumi.ResourceOptions(aliases=[pulumi.Alias(name="hello")])'
NAMED = ('    "hello",\n    {\n', '    "hello",\n    {\n        "release": "fixed",\n')


@pytest.fixture(scope="module")
def mesh(new_mesh: Callable[..., MeshProject]) -> MeshProject:
    """The example, deployed as a release of a name that is not its component's."""
    project = new_mesh()
    project.edit("__main__.py", *NAMED)
    project.up()
    return project


def records(mesh: MeshProject) -> dict[str, str]:
    """Helm's records, and what each of them holds."""
    return {
        item["metadata"]["name"]: item["data"]["release"] for item in mesh.get("secrets") if "release" in item["data"]
    }


def whole_up(mesh: MeshProject, *options: str) -> tuple[int, str]:
    """`pulumi up` as people run it: what the preview refuses is not begun."""
    done = mesh.pulumi("up", "--yes", "--color=never", *options, check=False)
    return done.status, done.text


def test_replaced_release(mesh: MeshProject) -> None:
    """`--replace` and `taint`: the release stays as it is, and what to do is said."""
    (urn,) = [item["urn"] for name, item in mesh.resources().items() if name.startswith(RELEASE)]
    pod, before = mesh.pod(), records(mesh)
    for options in (("--replace", urn), ("--skip-preview", "--replace", urn)):
        status, text = whole_up(mesh, *options)
        assert status != 0
        assert "this very resource has released it before (revision 1 is deployed)" in text
        assert (mesh.pod(), records(mesh)) == (pod, before)
    mesh.pulumi("state", "taint", urn, "--yes")
    status, text = whole_up(mesh)
    assert status != 0
    assert "pulumi state untaint" in text
    mesh.pulumi("state", "untaint", urn, "--yes")
    assert mesh.preview_steps() == {}
    assert (mesh.pod(), records(mesh)) == (pod, before)


def test_release_of_another_stack(mesh: MeshProject, new_mesh: Callable[..., MeshProject]) -> None:
    """Same release, same Kubernetes namespace, another stack: refused in the preview, by the name of the owner."""
    pod, before = mesh.pod(), records(mesh)
    other = new_mesh()
    other.pulumi("stack", "rename", "prod")
    other.environment["PULUMI_STACK"] = "prod"
    other.edit("__main__.py", *NAMED)
    other.pulumi("config", "set", "pulumi-scone:kubernetesNamespace", mesh.kubernetes_namespace)
    status, text = whole_up(other)
    assert status != 0
    assert "this release belongs to hello in organization/pulumi-scone/dev (revision 1 is deployed)" in text
    assert (mesh.pod(), records(mesh)) == (pod, before)


def test_renamed_component(mesh: MeshProject) -> None:
    """The preview names `aliases` before anything is done; with them nothing is done, and the pod may restart."""
    pod, before = mesh.pod(), records(mesh)
    mesh.edit("__main__.py", '    "hello",\n', '    "shop",\n')
    status, text = whole_up(mesh)
    assert status != 0
    assert "aliases" in text
    assert "Traceback" not in text
    assert not [name for name in mesh.resources() if name.endswith("::shop")]
    assert (mesh.pod(), records(mesh)) == (pod, before)
    mesh.edit(
        "__main__.py", "    },\n)\n", '    },\n    pulumi.ResourceOptions(aliases=[pulumi.Alias(name="hello")]),\n)\n'
    )
    mesh.up()
    assert (mesh.pod(), records(mesh)) == (pod, before)
    mesh.refresh()
    assert mesh.preview_steps() == {}
    mesh.kube("delete", "pod", pod)
    mesh.log_until("Integrity OK")


def test_release_that_is_gone_is_watched_when_it_is_made_again(mesh: MeshProject) -> None:
    """Removed behind Pulumi's back: refresh finds release and rollout gone, and `up` ends when the new pod is ready."""
    mesh.kube("delete", "secrets", "-l", "owner=helm")
    mesh.kube("delete", "deployments,services,networkpolicies", "--all")
    mesh.wait_until_gone("pods")
    mesh.refresh()
    steps = mesh.preview_steps()
    assert {name.split("::")[0]: step["op"] for name, step in steps.items() if step["op"] == "create"} == {
        RELEASE: "create",
        ROLLOUT: "create",
    }
    mesh.up()
    (found,) = json.loads(mesh.kube("get", "deployments", "-o", "json"))["items"]
    assert found["status"].get("readyReplicas") == 1
    assert mesh.preview_steps() == {}
