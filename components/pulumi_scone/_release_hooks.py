"""What happens right before Helm installs or upgrades: whose release it is; what was cut off is taken up again."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime.proto.resource_pb2_grpc import ResourceMonitorStub
from pulumi.runtime.settings import get_monitor

from pulumi_scone._cluster import ClusterInputs, stack_cluster
from scone_policy.errors import SconeError
from scone_provider.chart import chart_text

_KEY = "sconeOwner"
"""As `scone_provider.kubernetes.releases.OWNER`, whose module is slow to import."""
OWNER_PATH = f"values.{_KEY}"
"""Where a release says whose it is. Said once, when it is made: to be ignored in every comparison after that."""
_named: Counter[str] = Counter()
_places: dict[tuple[str, ...], str] = {}
"""Cluster, namespace and name of what this run of the program releases → the release's URN."""


def owner_value(component: pulumi.ComponentResource, name: str) -> Mapping[str, Any]:
    """Helm values by which a release is known to be of this component of this stack, and of no other."""
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"

    async def identity() -> str:
        # Awaited, because an output of the component would make its child wait for all of its children.
        urn = await component.urn.future()
        return hashlib.sha256(f"{stack}\0{urn}".encode()).hexdigest()[:16]

    return {_KEY: {"id": pulumi.Output.from_input(identity()), "name": f"{name} in {stack}"}}


def release_hooks(name: str, cluster: ClusterInputs | None) -> pulumi.ResourceHookBinding | None:
    """Hooks for the Helm release of the component `name`; None under the engine's mocks, which know none.

    `cluster`: of the release's explicit provider. The one before an install looks in previews, too: whose release it
    is must be said before anything is done.
    """
    if not isinstance(get_monitor(), ResourceMonitorStub):
        return None

    async def before(args: pulumi.ResourceHookArgs) -> None:
        inputs = args.new_inputs or {}
        needed: pulumi.Output[Any] = pulumi.Output.all(
            cluster=stack_cluster() if cluster is None else cluster,
            **{key: inputs.get(key) for key in ("chart", "namespace", "name")},
        )
        if not await needed.is_known():
            return  # in a preview: the cluster itself is still to be made
        found: Any = await needed.future()
        values: Any = await pulumi.Output.from_input(inputs.get("values") or {}).future(with_unknowns=True)
        _refuse_twins(args.urn, found)
        line = await asyncio.to_thread(_prepare, found, values or {}, is_known=args.old_inputs is not None)
        if line is not None:
            pulumi.log.warn(line)

    _named[name] += 1  # two components below different parents may have one name, hooks may not
    hook = f"pulumi-scone-release-{name}" + (f"-{_named[name]}" if _named[name] > 1 else "")
    looking = pulumi.ResourceHook(hook, before, pulumi.ResourceHookOptions(on_dry_run=True))
    return pulumi.ResourceHookBinding(before_create=[looking], before_update=[before])


def _refuse_twins(urn: str, found: Mapping[str, Any]) -> None:
    """Two releases of one program that are one for Helm: nothing is on the cluster yet that would tell."""
    place = tuple(str(found[key]) for key in ("cluster", "namespace", "name"))
    first = _places.setdefault(place, urn)
    if first != urn:
        raise SconeError(
            f"{first.rpartition('::')[2]} of this program has the same release",
            where="/".join(place[1:]),
            fix="give one of them another `release` or `kubernetes_namespace`",
        )


def _prepare(inputs: Mapping[str, Any], values: Mapping[str, Any], *, is_known: bool) -> str | None:
    # Only where something is released: the client takes half a second to import.
    from scone_provider.errors import DeployError  # noqa: PLC0415
    from scone_provider.kubernetes.cluster import IN_PREVIEW, PATIENCE, Cluster, connect  # noqa: PLC0415
    from scone_provider.kubernetes.releases import Wanted, prepare_release  # noqa: PLC0415

    preview = pulumi.runtime.is_dry_run()
    chart = yaml.safe_load(chart_text(Path(inputs["chart"])))
    try:
        client = connect(Cluster.of(inputs["cluster"]))
    except DeployError:
        if preview:
            return None  # whoever previews need not reach the cluster
        raise
    return prepare_release(
        client,
        Wanted(
            namespace=str(inputs["namespace"]),
            release=str(inputs["name"]),
            chart=str(chart["name"]),
            values=values,
            is_known=is_known,
        ),
        only_look=preview,
        options=IN_PREVIEW if preview else PATIENCE,
    )
