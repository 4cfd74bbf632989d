"""The content of a Kubernetes pull secret: what the docker configuration knows about the registries of a mesh."""

import json
from collections.abc import Iterable

from scone_provider.errors import ImageError
from scone_provider.image.oci.reference import DOCKER_HUB
from scone_provider.image.registry.connection import RegistryOptions
from scone_provider.image.registry.credentials import HUB_KEY, CredentialStore

SECRET_TYPE = "kubernetes.io/dockerconfigjson"  # noqa: S105 - a type's name
SECRET_KEY = ".dockerconfigjson"  # noqa: S105 - a key's name


def docker_config(hosts: Iterable[str], *, options: RegistryOptions) -> str:
    """`{"auths": {host: {"auth": …}}}` as JSON: secret. Raises ImageError for a host without user and password."""
    store, found = CredentialStore(options.docker_config), dict[str, dict[str, str]]()
    for host in sorted(set(hosts)):
        credentials = store.find(host)
        if credentials is None:
            raise ImageError(
                "there are no credentials for this registry to make a pull secret of",
                where=host,
                fix=f"run `docker login {host}`, or give registry_credentials; a registry that asks for none needs no "
                'secret: leave pull_secret out and set imagePullSecrets to ""',
            )
        if credentials.basic is None:
            raise ImageError(
                "the login of this registry is a token of yours, and a pull secret takes only a user and a password",
                where=host,
                fix="make a user of its own for the cluster that may pull (Azure: a token of the registry, or a "
                "service principal) and give it as registry_credentials, or let the nodes pull by their own identity",
            )
        found[HUB_KEY if host == DOCKER_HUB else host] = {"auth": credentials.basic}
    return json.dumps({"auths": found}, sort_keys=True)
