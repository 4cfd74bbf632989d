"""What happens right before Helm installs or upgrades: whose release it is; what was cut off is taken up again."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

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


@dataclass(frozen=True)
class _Program:
    """What one run of a program has released so far."""

    named: Counter[str] = field(default_factory=Counter)
    """Component's name → how many have it."""
    places: dict[tuple[str, ...], str] = field(default_factory=dict)
    """Cluster, namespace and name of a release → its URN."""


_PROGRAMS: "WeakKeyDictionary[Any, _Program]" = WeakKeyDictionary()
"""By the connection to the engine: each run of a program has its own, also where one process runs several."""


def owner_value(component: pulumi.ComponentResource, name: str) -> Mapping[str, Any]:
    """Helm values by which a release is known to be of this component of this stack, and of no other."""
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"

    async def identity() -> str:
        # Awaited, because an output of the component would make its child wait for all of its children.
        urn = await component.urn.future()
        return hashlib.sha256(f"{stack}\0{urn}".encode()).hexdigest()[:16]

    return {_KEY: {"id": pulumi.Output.from_input(identity()), "name": f"{name} in {stack}"}}


class ReleaseHooks:
    """What the engine calls before it makes or updates the Helm release of one component."""

    def __init__(self, name: str, cluster: ClusterInputs | None) -> None:
        """`name`: of the component. `cluster`: of the release's explicit provider."""
        self._cluster = cluster
        self._is_made = False
        self._program = _PROGRAMS.setdefault(get_monitor(), _Program())
        self.binding = self._binding(name)
        """For the release's options; None under the engine's mocks, which know no hooks."""

    def made(self, release: pulumi.Resource) -> pulumi.Output[bool | None]:
        """True when this run makes the release, whatever the state had of it before; None otherwise.

        Known in previews, once the release is registered. Not the option `replace_with`: what has that can neither be
        renamed in a state nor be moved to another one, because the CLI leaves the old URN in it.
        """
        return release.urn.apply(lambda _: True if self._is_made else None)

    def _binding(self, name: str) -> pulumi.ResourceHookBinding | None:
        if not isinstance(get_monitor(), ResourceMonitorStub):
            return None
        self._program.named[name] += 1  # two components below different parents may have one name, hooks may not
        number = self._program.named[name]
        called = f"pulumi-scone-release-{name}" + (f"-{number}" if number > 1 else "")

        async def before_create(args: pulumi.ResourceHookArgs) -> None:
            self._is_made = True
            await self._before(args)

        # The one before an install looks in previews, too: whose release it is must be said before anything is done.
        making = pulumi.ResourceHook(called, before_create, pulumi.ResourceHookOptions(on_dry_run=True))
        return pulumi.ResourceHookBinding(before_create=[making], before_update=[self._before])

    async def _before(self, args: pulumi.ResourceHookArgs) -> None:
        inputs = args.new_inputs or {}
        needed: pulumi.Output[Any] = pulumi.Output.all(
            cluster=stack_cluster() if self._cluster is None else self._cluster,
            **{key: inputs.get(key) for key in ("chart", "namespace", "name")},
        )
        if not await needed.is_known():
            return  # in a preview: the cluster itself is still to be made
        found: Any = await needed.future()
        values: Any = await pulumi.Output.from_input(inputs.get("values") or {}).future(with_unknowns=True)
        self._refuse_twins(args.urn, found)
        line = await asyncio.to_thread(_prepare, found, values or {}, is_known=args.old_inputs is not None)
        if line is not None:
            pulumi.log.warn(line)

    def _refuse_twins(self, urn: str, found: Mapping[str, Any]) -> None:
        """Two releases of one program that are one for Helm: nothing is on the cluster yet that would tell."""
        place = tuple(str(found[key]) for key in ("cluster", "namespace", "name"))
        first = self._program.places.setdefault(place, urn)
        if first != urn:
            raise SconeError(
                f"{_component(first)} and {_component(urn)} of this program are one release to Helm",
                where="/".join(place[1:]),
                fix="give one of them another `release` or `kubernetes_namespace`",
            )


def _component(urn: str) -> str:
    """The component whose release this is: its name, and its type with those above it."""
    types, _, name = urn.split("::", 2)[2].partition("::")
    return f"{name} ({types.rpartition('$')[0]})"


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
