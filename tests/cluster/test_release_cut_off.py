"""What a run that was cut off inside Helm left: the next `up` of the same program finishes it, another one is told."""

import base64
import gzip
import json
import re
from collections.abc import Callable

import pytest

from support.mesh import MeshProject

RELEASE = "kubernetes:helm.sh/v3:Release::hello"
EDIT = ("mesh.yaml", "value: myself", "value: somebody")


@pytest.fixture(scope="module")
def mesh(new_mesh: Callable[..., MeshProject]) -> MeshProject:
    """The example, deployed."""
    project = new_mesh()
    project.up()
    return project


def records(mesh: MeshProject) -> dict[int, str]:
    """Helm's revisions of the release, and their status."""
    found = json.loads(mesh.kube("get", "secrets", "-l", "owner=helm", "-o", "json"))["items"]
    labels = [item["metadata"]["labels"] for item in found]
    return {int(one["version"]): one["status"] for one in sorted(labels, key=lambda one: int(one["version"]))}


def cut_off(mesh: MeshProject, number: int, status: str = "pending-upgrade") -> None:
    """Leave the newest revision as Helm has it while it works, under a number of its own, or in its place."""
    newest = max(records(mesh))
    (secret,) = json.loads(mesh.kube("get", "secrets", "-l", f"owner=helm,version={newest}", "-o", "json"))["items"]
    record = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    record["version"], record["info"]["status"] = number, status
    text = base64.b64encode(gzip.compress(json.dumps(record).encode()))
    labels = {**secret["metadata"]["labels"], "status": status, "version": str(number)}
    name = secret["metadata"]["name"].rpartition(".")[0] + f".v{number}"
    pending = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {"name": name, "labels": labels},
        "data": {"release": base64.b64encode(text).decode()},
    }
    file = mesh.folder.parent / "pending.json"
    file.write_text(json.dumps(pending))
    mesh.kube("apply", "-f", str(file))


def forget(mesh: MeshProject) -> None:
    """As if the run had been killed before the state had the release: it and what follows is gone from there."""
    mesh.pulumi("state", "delete", mesh.resources()[RELEASE]["urn"], "--target-dependents", "--yes")


def test_release_that_the_state_does_not_have(mesh: MeshProject) -> None:
    """What is deployed is touched by nobody: said in the preview, by the same program and by another one."""
    state = mesh.folder.parent / "whole.json"
    mesh.pulumi("stack", "export", "--file", str(state))
    pod = mesh.pod()
    forget(mesh)
    for refused in (mesh.preview(check=False), mesh.up(check=False)):
        assert refused.status != 0
        assert "this very resource has released it before (revision 1 is deployed)" in refused.text
        assert f"helm -n {mesh.kubernetes_namespace} uninstall hello" in refused.text
        assert "Traceback" not in refused.text
    assert records(mesh) == {1: "deployed"}
    assert mesh.pod() == pod
    mesh.pulumi("stack", "import", "--file", str(state))
    assert mesh.preview_steps() == {}


def test_install_that_was_cut_off(mesh: MeshProject) -> None:
    """Killed while Helm installed: another program does not take it up, the same one does, and no pod is restarted."""
    pod = mesh.pod()
    cut_off(mesh, 1, "pending-install")
    forget(mesh)
    mesh.edit(*EDIT)
    refused = mesh.up(check=False)
    assert refused.status != 0
    assert "revision 1 is pending-install" in refused.text
    assert records(mesh) == {1: "pending-install"}
    mesh.edit(EDIT[0], EDIT[2], EDIT[1])
    text = mesh.up().text
    assert "an earlier run was cut off at revision 1 (pending-install); finishing it" in text
    assert records(mesh) == {1: "deployed"}
    assert mesh.pod() == pod
    assert mesh.preview_steps() == {}


def test_upgrade_that_was_cut_off(mesh: MeshProject) -> None:
    """Helm's record of it says `pending`, and Helm refuses the next: another program is told what to do about it."""
    pending = max(records(mesh)) + 1
    cut_off(mesh, pending)
    mesh.edit(*EDIT)
    refused = mesh.up(check=False)
    assert refused.status != 0
    assert f"revision {pending} is pending-upgrade" in refused.text
    (command,) = re.findall(r"kubectl (-n \S+ delete secret \S+)`", refused.text)
    assert records(mesh)[pending] == "pending-upgrade"
    mesh.kubectl(*command.split())
    mesh.up()
    assert mesh.preview_steps() == {}


def test_upgrade_of_this_program_that_was_cut_off(mesh: MeshProject) -> None:
    """The record says what the program says, and the state is that of before: the upgrade is taken up."""
    state = mesh.folder.parent / "before.json"
    mesh.pulumi("stack", "export", "--file", str(state))
    mesh.edit(EDIT[0], EDIT[2], EDIT[1])
    mesh.up()
    pending = max(records(mesh)) + 1
    cut_off(mesh, pending)
    mesh.pulumi("stack", "import", "--file", str(state))
    text = mesh.up().text
    assert f"an earlier run was cut off at revision {pending} (pending-upgrade); finishing it" in text
    assert records(mesh)[pending] == "deployed"
    assert "Hello, 'myself'" in mesh.log_until("myself")
    assert mesh.preview_steps() == {}
