"""What happens right before Helm installs or upgrades: an earlier run that was cut off is taken up again."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime.proto.resource_pb2_grpc import ResourceMonitorStub
from pulumi.runtime.settings import get_monitor

from scone_provider.chart import chart_text


def release_hooks() -> pulumi.ResourceHookBinding | None:
    """Hooks for a Helm release; None under the engine's mocks, which know none."""
    if not isinstance(get_monitor(), ResourceMonitorStub):
        return None
    return pulumi.ResourceHookBinding(before_create=[_before], before_update=[_before])


async def _before(args: pulumi.ResourceHookArgs) -> None:
    inputs = await pulumi.Output.from_input(args.new_inputs or {}).future()
    line = await asyncio.to_thread(_finish, inputs or {}, known=args.old_inputs is not None)
    if line is not None:
        pulumi.log.warn(line)


def _finish(inputs: Mapping[str, Any], *, known: bool) -> str | None:
    # Only where something is released, not in previews: the client takes half a second to import.
    from scone_provider.kubernetes_releases import finish_release  # noqa: PLC0415
    from scone_provider.kubernetes_watch import connect  # noqa: PLC0415

    chart = yaml.safe_load(chart_text(Path(inputs["chart"])))
    return finish_release(
        connect(pulumi.Config("kubernetes").get("context")),
        namespace=str(inputs["namespace"]),
        release=str(inputs["name"]),
        chart=str(chart["name"]),
        values=inputs.get("values") or {},
        known=known,
    )
