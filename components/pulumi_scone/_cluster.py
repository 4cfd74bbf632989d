"""The cluster that a component's release goes to: the one of the `kubernetes.Provider` that applies to it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pulumi
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime import rpc
from pulumi.runtime.proto.resource_pb2 import ResourceInvokeRequest
from pulumi.runtime.settings import get_monitor

_RELEASE = "kubernetes:helm.sh/v3:Release"
_NAMED = ("kubeconfig", "context", "cluster")
"""Inputs of a provider that say which cluster it is, and who asks."""

ClusterInputs = pulumi.Output[Mapping[str, Any]]
"""As `scone_provider.kubernetes.cluster.Cluster.of` takes it. A secret."""


def cluster_of(component: pulumi.ComponentResource, args: Mapping[str, Any]) -> ClusterInputs | None:
    """What the provider says that `component` was given or inherits; None where that is the stack's own.

    `args`: of the mesh. A provider's own namespace is not the release's, which the program may not expect: a warning
    says so.
    """
    provider = component.get_provider(_RELEASE)
    if provider is None:
        return None
    state: pulumi.Output[Mapping[str, Any]] = pulumi.Output.from_input(_state(provider))
    if not args.get("kubernetes_namespace"):
        state.apply(lambda found: _warn_of_namespace(component, found.get("namespace")))
    return pulumi.Output.secret(pulumi.Output.from_input(_cluster(provider)))


def stack_cluster() -> Mapping[str, str | None]:
    """What the stack's configuration says for the provider that every program has."""
    config = pulumi.Config("kubernetes")
    return {name: config.get(name) for name in _NAMED}


async def _cluster(provider: pulumi.ProviderResource) -> Mapping[str, Any]:
    found = await _state(provider)
    return {name: _text(found[name]) for name in _NAMED if found.get(name)}


async def _state(provider: pulumi.ProviderResource) -> Mapping[str, Any]:
    """The inputs of a provider, as the engine has them: values that are not known yet are `Unknown`.

    Its own outputs do not tell, in a preview, what is not known from what was not given; and where the program is in
    another language there are none.
    """
    arguments = Struct()
    arguments.update({"urn": await provider.urn.future()})
    request = ResourceInvokeRequest(tok="pulumi:pulumi:getResource", args=arguments)
    monitor: Any = get_monitor()
    answer = await asyncio.get_running_loop().run_in_executor(None, monitor.Invoke, request)
    state, _ = rpc.deserialize_properties_unwrap_secrets(getattr(answer, "return")["state"], keep_unknowns=True)
    return dict(state)


def _text(value: object) -> object:
    """A kubeconfig may be given as the map that a cloud's package has it as."""
    if isinstance(value, str) or rpc.contains_unknowns(value):
        return value
    return json.dumps(value)


def _warn_of_namespace(component: pulumi.ComponentResource, namespace: object) -> None:
    if namespace and namespace != "default":
        pulumi.log.warn(
            f"the release goes to the namespace default, not to {namespace}, which is that of its "
            f'`kubernetes.Provider`: give "kubernetes_namespace": "{namespace}" if that is meant',
            component,
        )
