"""Curated services as `MeshDeployment` registers them."""

from pathlib import Path
from typing import Any

import pulumi
import pytest

from pulumi_scone import MeshDeployment
from support.component_meshes import MESH, SERVICE, SWITCHES
from unit.pulumi_scone.conftest import Run

IMAGE = "dynamic/scone:ConfidentialImage"
ENTRY = "{description: Ours, image: redis, tags: ['7*']}\n"
OWN = """\
apiVersion: scone/5.8
kind: genservice
environment: {}
build: {name: r, kind: sconify_image, from: $NATIVE, to: $IMAGE, command: redis-server /etc/r.conf, copy: [r.conf]}
"""
FILE = f"""\
apiVersion: scone/5.8
kind: mesh
cas: [{{name: cas, alias: [image, security, access, attestation], cas_url: c, tolerance: "{SWITCHES}"}}]
policy: {{namespace: acme, tolerate: debug-mode}}
env: []
services: [{{name: redis, image: "$MIRROR/redis:7"}}]
repo: {{destination: $REPO/team}}
"""


def with_redis(**more: Any) -> Any:
    """The usual mesh and one more service, which has no manifest."""
    return {
        "mesh": {**MESH, "services": [*MESH["services"], {"name": "store", "image": "redis:7"}]},
        "manifests": [SERVICE],
        **more,
    }


def test_curated_service_beside_one_of_its_own(run: Run, tmp_path: Path) -> None:
    """Its image is made of the native one and pushed beside the mesh's; image, policy, values, and rollout have it."""
    (tmp_path / "api.py").write_text("")
    found = run(lambda: MeshDeployment("app", with_redis()))
    image = found.only(IMAGE, "app-store").inputs
    assert (image["from"], image["to"]) == ("redis:7", "localhost:5000/team/store:7")
    assert (image["kind"], image["volumes"], image["folder"]) == ("sconify_image", {"/data": True}, ".")
    policy = found.only("dynamic/scone:SecurityPolicy", "app-store").inputs["policy"]
    assert "/tls/redis.conf" in policy["images"]["store"]["injection_files"]
    values = found.only("helm.sh/v3:Release").inputs["values"]["services"]["store"]
    assert (values["port"], values["probes"]["readinessProbe"]["tcpSocket"]) == (6379, {"port": "service"})
    assert any("the volume data of the service store is not encrypted in software mode" in w for w in found.warnings)


def test_registries_may_be_outputs(run: Run, tmp_path: Path) -> None:
    """The name at the end of an image's reference is enough to find its entry."""
    (tmp_path / "mesh.yaml").write_text(FILE)
    places = {"MIRROR": pulumi.Output.from_input("mirror.example/x"), "REPO": pulumi.Output.from_input("r.example")}
    found = run(lambda: MeshDeployment("app", {"mesh_file": "mesh.yaml", "variables": places}))
    image = found.only(IMAGE, "app-redis").inputs
    assert (image["from"], image["to"]) == ("mirror.example/x/redis:7", "r.example/team/redis:7")


def test_own_catalogue(run: Run, tmp_path: Path) -> None:
    """An entry of the program's own brings files: `copy` is relative to the entry's folder."""
    (tmp_path / "api.py").write_text("")
    entry = tmp_path / "ready" / "redis"
    entry.mkdir(parents=True)
    for file, text in (("entry.yaml", ENTRY), ("service.yaml", OWN), ("r.conf", "")):
        (entry / file).write_text(text)
    found = run(lambda: MeshDeployment("app", with_redis(catalogue=["ready"])))
    image = found.only(IMAGE, "app-store").inputs
    assert (image["folder"], image["copy"]) == ("ready/redis", {"r.conf": True})


def test_unknown_image(run: Run) -> None:
    """An image that neither a manifest nor the catalogue knows is an error in words."""
    mesh: Any = {**MESH, "services": [{"name": "store", "image": "reddis:7"}]}
    with pytest.raises(pulumi.RunError, match=r"^<mesh>: services\.store\.image: no service manifest builds reddis:7"):
        run(lambda: MeshDeployment("app", {"mesh": mesh}))
