"""How the pods of a mesh replace each other, and what `Rollout` waits for."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pulumi

from pulumi_scone._arguments import MeshDeploymentArgs
from pulumi_scone._cluster import ClusterInputs
from scone_policy.errors import SconeError
from scone_provider.chart import chart_text
from scone_provider.derive import MeshPlan
from scone_provider.manifest import Mesh, ServiceManifest
from scone_provider.manifest.mesh import UPLOAD
from scone_provider.policy.loss import SHARED, generated

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
            f'"rollout": "overlap" needs policies that this stack uploads, and the mode is {mode}',
            where=mesh.where("cas", mesh.cas_name("cas"), "mode"),
            fix=f"use the mode {UPLOAD}, or leave rollout out",
        )
    return found == _OVERLAP


def rollout_inputs(
    args: MeshDeploymentArgs,
    *,
    chart: str,
    release: str,
    values: Mapping[str, Any],
    manifests: tuple[Mesh, Mapping[str, ServiceManifest]],
    patient: bool,
    cluster: ClusterInputs | None,
    policies: Mapping[str, Any],
    made: pulumi.Input[bool | None] = None,
) -> Mapping[str, Any]:
    """What must be up when the release is out. `chart`: its folder. `cluster`: by `cluster_of`.

    `policies`: by `policies_value`. `made`: whether this run makes the release.
    """
    return {
        "namespace": args.get("kubernetes_namespace", "default"),
        "release": release,
        "timeout_seconds": args.get("rollout_timeout", _SECONDS),
        "chart": _digest(chart, values),
        "made": made,
        "policies": policies,
        **({"patient": True} if patient else {}),
        **({"cluster": cluster} if cluster is not None else {}),
        "services": {
            name: {
                "service": item["service"],
                "kind": item["kind"],
                "replicas": item["replicas"],
                "image": item["image"],
                "policy_digest": item["policyDigest"],
                "where": _places(*manifests, str(item["service"])),
            }
            for name, item in values["services"].items()
        },
    }


def policies_value(plan: MeshPlan, uploaded: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """What CAS generates for the policies that go with their services: the next preview tells by it what is lost.

    `uploaded`: names of the policies that this stack retires when they go.
    """
    named = {service: (f"{plan.namespace}/{service}", policy) for service, policy in plan.policies.items()}
    if plan.shared_policy is not None:
        named[SHARED] = (str(plan.shared_policy["name"]), plan.shared_policy)
    return {
        role: {"name": name, "generated": generated(policy)}
        for role, (name, policy) in named.items()
        if name in uploaded
    }


def _digest(chart: str, values: Mapping[str, Any]) -> pulumi.Output[str]:
    """Over everything that is released; unlike Helm's own count of revisions it is known in a preview."""
    released = {"chart": chart_text(Path(chart)), "values": values}
    return pulumi.Output.json_dumps(released, sort_keys=True).apply(
        lambda text: hashlib.sha256(text.encode()).hexdigest()[:12]
    )


def _places(mesh: Mesh, manifests: Mapping[str, ServiceManifest], service: str) -> str:
    """`file:line` of what describes a service, for errors; files by name, because state is nobody's machine."""
    manifest = manifests.get(service)
    found = [mesh.where("services", service), *([manifest.where("build")] if manifest else [])]
    return ", ".join(Path(place.partition(": ")[0]).name for place in found)
