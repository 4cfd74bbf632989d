"""The cluster that a component's release goes to: the one of the `kubernetes.Provider` that applies to it."""

import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.resource import DependencyProviderResource

from scone_policy.errors import SconeError

_RELEASE = "kubernetes:helm.sh/v3:Release"
_NAMED = ("kubeconfig", "context", "cluster")
"""Inputs of a provider that say which cluster it is, and who asks."""

ClusterInputs = pulumi.Output[Mapping[str, str]]
"""As `scone_provider.kubernetes_cluster.Cluster.of` takes it. A secret."""


def cluster_of(component: pulumi.ComponentResource) -> ClusterInputs | None:
    """What the provider says that `component` was given or inherits; None where that is the stack's own.

    Raises SconeError where its inputs cannot be read: with another cluster than the provider's nothing would be right.
    """
    provider = component.get_provider(_RELEASE)
    if provider is None:
        return None
    if isinstance(provider, DependencyProviderResource):
        raise SconeError(
            "a component that runs for a program in another language cannot read the kubeconfig of a "
            "`kubernetes.Provider`, and would watch another cluster",
            where="opts.providers",
            fix="leave the provider out, and say which cluster it is by KUBECONFIG and `pulumi config set "
            "kubernetes:context NAME`, or write the program in Python",
        )
    given = {name: provider.__dict__[name] for name in _NAMED if isinstance(provider.__dict__.get(name), pulumi.Output)}
    return pulumi.Output.secret(
        pulumi.Output.all(**given).apply(lambda found: {name: _text(value) for name, value in found.items() if value})
    )


def _text(value: object) -> str:
    """A kubeconfig may be given as the map that a cloud's package has it as."""
    return value if isinstance(value, str) else json.dumps(value)


def stack_cluster() -> Mapping[str, str | None]:
    """What the stack's configuration says for the provider that every program has."""
    config = pulumi.Config("kubernetes")
    return {name: config.get(name) for name in _NAMED}


def warn_of_namespace(component: pulumi.ComponentResource, args: Mapping[str, Any]) -> None:
    """A provider's own namespace is not the release's, which the program may not expect."""
    namespace = getattr(component.get_provider(_RELEASE), "__dict__", {}).get("namespace")
    if args.get("kubernetes_namespace") or not isinstance(namespace, pulumi.Output):
        return

    def warn(name: str | None) -> None:
        if name and name != "default":
            pulumi.log.warn(
                f"the release goes to the namespace default, not to {name}, which is that of its "
                f'`kubernetes.Provider`: give "kubernetes_namespace": "{name}" if that is meant',
                component,
            )

    namespace.apply(warn)
