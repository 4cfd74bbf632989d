"""How the pods of a mesh replace each other, and what `Rollout` waits for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulumi_kubernetes.helm.v3 import Release

from pulumi_scone._arguments import MeshDeploymentArgs
from scone_policy.errors import SconeError
from scone_provider.manifest import Mesh, ServiceManifest
from scone_provider.manifest.mesh import UPLOAD

_SECONDS = 120
_OVERLAP = "overlap"
_ROLLOUTS = ("replace", _OVERLAP)


def overlaps(args: MeshDeploymentArgs, mesh: Mesh) -> bool:
    """Whether the released revisions stay trusted while new ones roll out. Raises SconeError where they cannot."""
    found = args.get("rollout", _ROLLOUTS[0])
    if found not in _ROLLOUTS:
        raise SconeError(f"{found} is no kind of rollout", where="rollout", fix=f"give {' or '.join(_ROLLOUTS)}")
    mode = mesh.cas_of("cas").mode
    if found == _OVERLAP and mode != UPLOAD:
        raise SconeError(
            f'rollout="overlap" needs policies that this stack uploads, and the mode is {mode}',
            where=mesh.where("cas", mesh.cas_name("cas"), "mode"),
            fix=f"use the mode {UPLOAD}, or leave rollout out",
        )
    return found == _OVERLAP


def rollout_inputs(
    args: MeshDeploymentArgs,
    chart: Release,
    *,
    release: str,
    services: Mapping[str, Any],
    manifests: tuple[Mesh, Mapping[str, ServiceManifest]],
    patient: bool,
) -> Mapping[str, Any]:
    """What must be up when the release is out. `services`: Kubernetes name → values of the chart."""
    return {
        "namespace": args.get("kubernetes_namespace", "default"),
        "release": release,
        "timeout_seconds": args.get("rollout_timeout", _SECONDS),
        "helm_revision": chart.status.apply(lambda status: status.revision if status else None),
        **({"patient": True} if patient else {}),
        "services": {
            name: {
                "service": item["service"],
                "kind": item["kind"],
                "replicas": item["replicas"],
                "image": item["image"],
                "policy_digest": item["policyDigest"],
                "where": _places(*manifests, str(item["service"])),
            }
            for name, item in services.items()
        },
    }


def _places(mesh: Mesh, manifests: Mapping[str, ServiceManifest], service: str) -> str:
    """`file:line` of what describes a service, for errors; files by name, because state is nobody's machine."""
    manifest = manifests.get(service)
    found = [mesh.where("services", service), *([manifest.where("build")] if manifest else [])]
    return ", ".join(Path(place.partition(": ")[0]).name for place in found)
