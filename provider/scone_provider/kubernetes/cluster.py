"""Which cluster a release goes to, how to reach it, and what it means when that does not work.

Pulumi's Kubernetes provider and this package must always speak with the same cluster: what is read here, and in which
order, is what that provider reads.
"""

import io
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import kubernetes.config.kube_config as kubeconfigs
import urllib3.exceptions
import yaml

from scone_provider.errors import DeployError
from scone_provider.kubernetes.proxy import without_socks

PATIENCE: Mapping[str, Any] = {"_request_timeout": (5, 15)}
"""Seconds for one request: until it is connected, and until an answer comes."""
IN_PREVIEW: Mapping[str, Any] = {"_request_timeout": (2, 5)}
"""As PATIENCE, for a preview, which goes on without a cluster."""
TROUBLE = (kubernetes.client.ApiException, urllib3.exceptions.HTTPError)
"""What a request may raise."""

_CONNECTIONS = 4
_UNREADABLE = (
    kubernetes.config.ConfigException,
    yaml.YAMLError,
    urllib3.exceptions.HTTPError,  # a token that is asked for anew
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)
"""What the client raises over a kubeconfig that it cannot use."""
_USABLE = "set KUBECONFIG, and `pulumi config set kubernetes:context NAME` where it is not the current context"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a `kubernetes.Provider` says about its cluster; where it is silent, the environment decides."""

    kubeconfig: str | None = field(default=None, repr=False)
    """Text of a kubeconfig, or its path; None: KUBECONFIG, `~/.kube/config`, or what the pod has that this runs in."""
    context: str | None = None
    """Name of a context; None: the current one."""
    cluster: str | None = None
    """Name of a cluster of the kubeconfig, in place of the context's."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Cluster":
        """From a map of what is known: the inputs of a provider, or the stack's `kubernetes:…` settings."""
        return cls(**{name: str(content[name]) for name in cls.__dataclass_fields__ if content.get(name)})


def connect(cluster: Cluster) -> Any:  # noqa: ANN401  the package has no types
    """A client of the cluster. Raises DeployError where the kubeconfig, or the program that it names, is of no use."""
    try:
        configuration = kubernetes.client.Configuration()
        configuration.retries = 1  # who asks in a loop asks again; one is for a connection that was closed meanwhile
        configuration.connection_pool_maxsize = _CONNECTIONS
        if cluster == Cluster() and _runs_in_a_pod():
            kubernetes.config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            _load(cluster, configuration)
        return kubernetes.client.ApiClient(configuration)
    except ImportError:
        raise without_socks("kubernetes.Provider" if cluster.kubeconfig else "KUBECONFIG") from None
    except _UNREADABLE:
        # The library's words hold parts of the kubeconfig.
        where = "kubernetes.Provider" if cluster.kubeconfig else "KUBECONFIG"
        asked = "".join(f", {kind} {name}" for kind, name in _names(cluster))
        raise DeployError(
            f"there is no usable kubeconfig to reach the cluster with{asked}",
            where=where,
            fix="check its `kubeconfig` (text or path), `context` and `cluster`" if cluster.kubeconfig else _USABLE,
        ) from None


def server_of(cluster: Cluster) -> str:
    """The address of a cluster's API, as its kubeconfig has it; empty where that cannot be read. Asks nobody."""
    try:
        content, context, _ = _chosen(cluster)
        return str(content["clusters"].get_with_name(context.value["cluster"])["cluster"]["server"])
    except _UNREADABLE:
        return ""


def explained(error: Exception, *, doing: str, needs: str, where: str) -> DeployError:
    """What one of TROUBLE means. `doing`: as in "refused to list the pods"; `needs`: the right that this takes."""
    if not isinstance(error, kubernetes.client.ApiException):
        return _unreachable(error, where)
    if error.status == 401:
        return DeployError(
            f"Kubernetes refused to {doing}: it does not take these credentials (401); they may have expired",
            where=where,
            fix="log in to the cluster again, or renew the kubeconfig, then run `pulumi up` again",
        )
    return DeployError(
        f"Kubernetes refused to {doing}: {error.reason}",
        where=where,
        fix=f"give the deploying user the right to {needs} there",
    )


def _unreachable(error: Exception, where: str) -> DeployError:
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, urllib3.exceptions.SSLError):
        return DeployError(
            "the certificate of the Kubernetes API is not trusted, or is not for that name",
            where=where,
            fix="check `certificate-authority` and `server` of the kubeconfig",
        )
    why = " (the proxy does not answer)" if isinstance(cause, urllib3.exceptions.ProxyError) else ""
    return DeployError(
        f"Kubernetes cannot be reached{why}",
        where=where,
        fix="check KUBECONFIG, or the kubeconfig of the `kubernetes.Provider`, and the cluster, then run `pulumi up` "
        "again",
    )


def _load(cluster: Cluster, configuration: Any) -> None:  # noqa: ANN401  see connect
    content, context, persister = _chosen(cluster)
    loader: Any = kubeconfigs.KubeConfigLoader(  # type: ignore[no-untyped-call]
        content,
        active_context=cluster.context,
        config_base_path=None,
        config_persister=persister,
    )
    command, folder = _credential_command(content, context.value.get("user"))
    if command and not shutil.which(folder / command if os.sep in command else command):
        raise DeployError(
            f"the kubeconfig gets its credentials from the program {command}, which is not installed here",
            where="KUBECONFIG" if cluster.kubeconfig is None else "kubernetes.Provider",
            fix=f"install {command}, or put its folder into PATH",
        )
    loader.load_and_set(configuration)
    if command and not configuration.api_key and not configuration.cert_file:
        raise DeployError(
            f"the program {command}, which the kubeconfig names, gave no credentials",
            where="KUBECONFIG" if cluster.kubeconfig is None else "kubernetes.Provider",
            fix="run `kubectl get pods` with this kubeconfig: it shows what the program says; mostly, log in again",
        )


def _chosen(cluster: Cluster) -> tuple[Any, Any, Callable[[], None] | None]:
    """The kubeconfig, its context with the cluster in it, and what keeps tokens that were renewed."""
    merger: Any = kubeconfigs.KubeConfigMerger(_source(cluster))  # type: ignore[no-untyped-call]
    content = merger.config
    if content is None:
        raise kubernetes.config.ConfigException
    if not isinstance(content, kubeconfigs.ConfigNode):
        content = kubeconfigs.ConfigNode("kubeconfig", content)  # type: ignore[no-untyped-call]
    context = content["contexts"].get_with_name(cluster.context or content["current-context"])["context"]
    if cluster.cluster:
        context.value["cluster"] = cluster.cluster
    return content, context, merger.save_changes if merger.paths else None


def _source(cluster: Cluster) -> Any:  # noqa: ANN401  a path, several, or a file-like object
    """A path is read as Pulumi's provider reads it: relative paths in it start at the program's folder."""
    if cluster.kubeconfig is None:
        return kubeconfigs.KUBE_CONFIG_DEFAULT_LOCATION
    path = Path(cluster.kubeconfig).expanduser() if "\n" not in cluster.kubeconfig else None
    try:
        is_file = path is not None and path.is_file()
    except (OSError, ValueError):  # a text that is longer than a path may be
        is_file = False
    return io.StringIO(path.read_text() if path is not None and is_file else cluster.kubeconfig)


def _credential_command(content: Any, user: str | None) -> tuple[str, Path]:  # noqa: ANN401  see connect
    """The program that the user's credentials come from, empty where they stand in the kubeconfig; where it runs."""
    users = content.value.get("users")
    found = content["users"].get_with_name(user, safe=True) if user and users else None
    about: Mapping[str, Any] = (found.value.get("user") or {}) if found is not None else {}
    folder = Path(found.path).parent if found is not None and found.path else Path()
    if about.get("token") or about.get("tokenFile"):
        return "", folder
    return str((about.get("exec") or {}).get("command") or ""), folder


def _runs_in_a_pod() -> bool:
    """Without a kubeconfig, a pod is its service account, as for kubectl."""
    paths = str(kubeconfigs.KUBE_CONFIG_DEFAULT_LOCATION).split(os.pathsep)
    given = any(Path(path).expanduser().exists() for path in paths if path)
    return not given and bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def _names(cluster: Cluster) -> list[tuple[str, str]]:
    return [(kind, name) for kind, name in (("context", cluster.context), ("cluster", cluster.cluster)) if name]
