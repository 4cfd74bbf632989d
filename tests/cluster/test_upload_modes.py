"""Policies that the cluster's operator uploads: objects of the release, carried to CAS as an operator would."""

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scone_provider.cas.client import CasClient, connect
from scone_provider.cas.identity import Identity
from scone_provider.deadline import Deadline
from support.mesh import MeshProject
from support.pulumi_project import Run

CRDS = Path(__file__).parent / "crds.yaml"
TOLERANCE = "--only_for_testing-debug --only_for_testing-trust-any --only_for_testing-ignore-signer"
PLANTED = "planted-5ba1-in-the-policy"
PULL_AUTH = "cGxhbnRlZDpwdWxs"
SECONDS = 60


class Operator:
    """Carries the objects of a release to CAS, each content once, by hook weight."""

    def __init__(self, mesh: MeshProject) -> None:
        self.mesh = mesh
        pem = mesh.pulumi("config", "get", "scone:identity").text
        self.client: CasClient = connect(
            f"{mesh.cas.host}:{mesh.cas.port}",
            tolerance=TOLERANCE,
            cas_key=None,
            connect_to={},
            identity=Identity.parse(pem),
        )
        self._carried: set[str] = set()

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """The objects of the namespace, in the order of their hook weights."""
        weight = "helm.sh/hook-weight"
        return sorted(self.mesh.get(kind), key=lambda item: int(item["metadata"]["annotations"][weight]))

    def carry(self, kind: str, count: int) -> None:
        """Wait until `count` objects are there that were not carried yet, and upload them."""
        deadline = time.monotonic() + SECONDS
        while True:
            new = [item for item in self.objects(kind) if json.dumps(item["spec"]) not in self._carried]
            if len(new) == count:
                break
            assert time.monotonic() < deadline, self.mesh.kube("get", kind)
            time.sleep(0.3)
        for item in new:
            self._upload(item["spec"])
            self._carried.add(json.dumps(item["spec"]))

    def _upload(self, spec: dict[str, Any]) -> None:
        assert spec["casAddress"] == f"https://{self.mesh.cas.host}:8081"
        if "signatures" in spec:
            self.client.upload(json.dumps({"session": spec["policy"], "signatures": spec["signatures"]}))
            return
        body = {"encrypted_session": spec["policy"], "encryption_key": spec["encryptionKey"]}
        answer = self.client._exchange("PUT", "/v1/encrypted_sessions", json.dumps(body).encode(), Deadline(60))
        assert answer.status == 201, answer.text()


@pytest.fixture(scope="module")
def mesh(new_mesh: Callable[..., MeshProject]) -> Iterator[MeshProject]:
    """The example in mode EncryptedManifest, with a given secret and a pull secret; the cluster knows the kinds."""
    project = new_mesh()
    project.kubectl("apply", "-f", str(CRDS))
    project.kubectl("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    project.edit("mesh.yaml", "    cas_url: $CAS_URL\n", "    cas_url: $CAS_URL\n    mode: EncryptedManifest\n")
    project.edit("__main__.py", '        "delete_images"', '        "pull_secret": True,\n        "delete_images"')
    project.edit("service.yaml", "      size: 10\n", f"      value: {PLANTED}\n")
    docker = project.folder / "docker"
    docker.mkdir()
    host = project.repository.partition("/")[0]
    (docker / "config.json").write_text(json.dumps({"auths": {host: {"auth": PULL_AUTH}}}))
    project.environment["DOCKER_CONFIG"] = str(docker)
    yield project
    project.destroy(check=False)
    project.kubectl("delete", "-f", str(CRDS), "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="module")
def operator(mesh: MeshProject) -> Operator:
    """Somebody who uploads, with the stack's own identity."""
    return Operator(mesh)


def carried_up(mesh: MeshProject, operator: Operator, kind: str, count: int) -> Run:
    """`pulumi up`, while the operator carries the objects that it makes."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(mesh.up)
        operator.carry(kind, count)
        return running.result(timeout=200)


def test_encrypted_manifest_from_nothing_to_a_changed_policy(mesh: MeshProject, operator: Operator) -> None:
    """Objects as hooks, namespace first; the pod runs when they are carried; nothing changed, no diff; a change names
    the version that CAS has, and seals the changed policy only.
    """
    carried_up(mesh, operator, "encryptedpolicies", 2)
    mesh.log_until("Integrity OK")
    namespace, service = operator.objects("encryptedpolicies")
    for item, depth in ((namespace, 0), (service, 1)):
        annotations = item["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert annotations["helm.sh/hook-weight"] == str(depth - 100)
        assert set(item["spec"]) == {"casAddress", "policy", "encryptionKey"}
    assert mesh.preview_steps() == {}

    first = operator.client.read(f"{mesh.cas_namespace}/{mesh.service}")
    mesh.edit("mesh.yaml", "value: myself", "value: someone")
    steps = mesh.preview_steps()
    sealed = steps[f"pulumi-python:dynamic/scone:SealedPolicy::hello-{mesh.service}"]
    assert set(sealed["diff"]) == {"digest", f"policy.services.{mesh.service}.environment.API_USER"}
    assert "pulumi-python:dynamic/scone:SealedPolicy::hello" not in steps
    carried_up(mesh, operator, "encryptedpolicies", 1)
    assert "someone" in mesh.log_until("Integrity OK")
    second = operator.client.read(f"{mesh.cas_namespace}/{mesh.service}")
    assert first is not None
    assert second is not None
    assert second.predecessor == first.hash
    assert operator.objects("encryptedpolicies")[0]["spec"] == namespace["spec"]


def test_nothing_readable_was_written(mesh: MeshProject) -> None:
    """The given secret is nowhere in clear: objects, Helm's record, state, transcripts; nor are the credentials."""
    written = mesh.everything_written()
    objects = mesh.kube("get", "encryptedpolicies,deployments,pods", "-o", "yaml").encode()
    for text in (PLANTED, PULL_AUTH):
        assert text.encode() not in written
        assert text.encode() not in objects


def test_pull_secret_is_there_and_used(mesh: MeshProject) -> None:
    """The secret that pods name was made, of the type that Kubernetes pulls with."""
    (found,) = [item for item in mesh.get("secrets") if item["metadata"]["name"] == "sconeapps"]
    assert found["type"] == "kubernetes.io/dockerconfigjson"
    (deployment,) = mesh.get("deployments")
    assert deployment["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "sconeapps"}]


def test_signed_manifest(mesh: MeshProject, operator: Operator) -> None:
    """The same mesh in mode SignedManifest: signed objects are made, and CAS takes them with the stack's key."""
    mesh.edit("mesh.yaml", "mode: EncryptedManifest", "mode: SignedManifest")
    carried_up(mesh, operator, "signedpolicies", 2)
    for item in operator.objects("signedpolicies"):
        (one,) = item["spec"]["signatures"]
        assert re.match("-----BEGIN PUBLIC KEY-----", one["signer"])
    assert mesh.preview_steps() == {}
    assert PLANTED.encode() not in mesh.everything_written()
