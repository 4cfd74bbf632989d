"""The pull secret of a mesh, made where the program asks for it: only the cluster and the encrypted state have it."""

from collections.abc import Iterable, Mapping
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import Secret
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from scone_policy.errors import SconeError
from scone_policy.holes import has_hole
from scone_provider.errors import ImageError
from scone_provider.image.reference import parse_reference
from scone_provider.image.transport import RegistryOptions
from scone_provider.pull_secret import SECRET_KEY, SECRET_TYPE, docker_config


def pull_secrets(
    name: str, args: Mapping[str, Any], services: Mapping[str, Any], hosts: Iterable[str], opts: pulumi.ResourceOptions
) -> list[Secret]:
    """The secrets that the services' pods name, or none where `pull_secret` is not given: then they must exist.

    Raises SconeError when no service names one, or nobody knows credentials (but in a preview, where they may be
    missing, their value is left unknown).
    """
    if not args.get("pull_secret"):
        return []
    wanted = sorted({secret for service in services.values() for secret in service["pullSecrets"]})
    if not wanted:
        raise SconeError("pull_secret is given, but imagePullSecrets names none", where="pull_secret")
    content = pulumi.Output.secret(args.get("registry_credentials") or _found(hosts))
    return [
        Secret(
            f"{name}-{secret}",
            type=SECRET_TYPE,
            metadata=ObjectMetaArgs(name=secret, namespace=args.get("kubernetes_namespace", "default")),
            string_data={SECRET_KEY: content},
            opts=opts,
        )
        for secret in wanted
    ]


def host_of(image: str) -> str:
    """The registry of an image, as `docker login` names it. Raises SconeError while the image is not known."""
    if has_hole(image):
        raise SconeError(
            "an image whose registry is not known yet has no credentials here",
            where="pull_secret",
            fix="give registry_credentials, or the registry as plain text",
        )
    return parse_reference(image).host


def _found(hosts: Iterable[str]) -> pulumi.Input[str]:
    try:
        return docker_config(hosts, options=RegistryOptions())
    except ImageError:
        if not pulumi.runtime.is_dry_run():
            raise
        unknown: Any = pulumi.UNKNOWN
        return pulumi.Output.from_input(unknown)
