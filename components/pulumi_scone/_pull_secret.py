"""The pull secret of a mesh, made where the program asks for it: only the cluster and the encrypted state have it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import Secret
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from pulumi_scone._outputs import is_later, user_errors
from scone_policy.errors import SconeError
from scone_provider.errors import ImageError
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.registry.connection import RegistryOptions
from scone_provider.kubernetes.pull_secret import SECRET_KEY, SECRET_TYPE, docker_config


def pull_secrets(
    name: str,
    args: Mapping[str, Any],
    services: Mapping[str, Any],
    images: Sequence[pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> list[Secret]:
    """The secrets that the services' pods name, or none where `pull_secret` is not given: then they must exist.

    `images`: where the mesh's images are pushed; of one that is not known yet, credentials are looked up when it is.
    Raises SconeError when no service names one, or nobody knows credentials (but in a preview, where they may be
    missing, their value is left unknown).
    """
    if not args.get("pull_secret"):
        return []
    wanted = sorted({secret for service in services.values() for secret in service["pullSecrets"]})
    if not wanted:
        raise SconeError("pull_secret is given, but imagePullSecrets names none", where="pull_secret")
    content = pulumi.Output.secret(args.get("registry_credentials") or _credentials(images))
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


def _credentials(images: Sequence[pulumi.Input[str]]) -> pulumi.Input[str]:
    if not any(is_later(image) for image in images):
        return _found(parse_reference(str(image)).host for image in images)

    def known(found: Sequence[str]) -> pulumi.Output[str]:
        with user_errors():
            return pulumi.Output.from_input(_found(parse_reference(image).host for image in found))

    return pulumi.Output.all(*images).apply(known)


def _found(hosts: Iterable[str]) -> pulumi.Input[str]:
    try:
        return docker_config(hosts, options=RegistryOptions())
    except ImageError:
        if not pulumi.runtime.is_dry_run():
            raise
        unknown: Any = pulumi.UNKNOWN
        return pulumi.Output.from_input(unknown)
