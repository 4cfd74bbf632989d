"""The content of a Kubernetes pull secret: what the docker configuration knows about the registries of a mesh."""

import json
from collections.abc import Iterable

from scone_provider.errors import ImageError
from scone_provider.image.reference import DOCKER_HUB
from scone_provider.image.transport import RegistryOptions, Transport

_HUB = "https://index.docker.io/v1/"
SECRET_TYPE = "kubernetes.io/dockerconfigjson"  # noqa: S105 - a type's name
SECRET_KEY = ".dockerconfigjson"  # noqa: S105 - a key's name


def docker_config(hosts: Iterable[str], *, options: RegistryOptions) -> str:
    """`{"auths": {host: {"auth": …}}}` as JSON: secret. Raises ImageError for a host without credentials."""
    found: dict[str, dict[str, str]] = {}
    for host in sorted(set(hosts)):
        auth = Transport(host, options).basic_auth
        if auth is None:
            raise ImageError(
                "there are no credentials for this registry to make a pull secret of",
                where=host,
                fix=f"run `docker login {host}`, or give registry_credentials; a registry that asks for none needs no "
                'secret: leave pull_secret out and set imagePullSecrets to ""',
            )
        found[_HUB if host == DOCKER_HUB else host] = {"auth": auth}
    return json.dumps({"auths": found}, sort_keys=True)
