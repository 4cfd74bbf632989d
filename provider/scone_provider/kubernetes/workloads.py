"""What Kubernetes says about Deployments and Jobs: what keeps them from making pods, what they still roll out."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import kubernetes.client
import urllib3.exceptions

_INSTANCE = "app.kubernetes.io/instance"
_NAME = "app.kubernetes.io/name"
_DIGEST = "scone/policy-digest"
_REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One workload whose pods do not come to be. `final`: it will not try again."""

    name: str
    """Value of its label app.kubernetes.io/name."""
    digest: str
    """Of the policy in its pod template."""
    text: str
    """Kubernetes' words."""
    final: bool = False


def workload_troubles(client: Any, namespace: str, release: str) -> list[Trouble]:  # noqa: ANN401  the package has no types
    """What keeps the release's workloads from making pods; nothing where that cannot be asked."""
    selector = f"{_INSTANCE}={release}"
    found: list[Trouble] = []
    for kind, failure, final in (
        (kubernetes.client.AppsV1Api(client).list_namespaced_deployment, "ReplicaFailure", False),
        (kubernetes.client.BatchV1Api(client).list_namespaced_job, "Failed", True),
    ):
        with suppress(kubernetes.client.ApiException, urllib3.exceptions.HTTPError):
            listed: Any = kind(namespace, label_selector=selector, _request_timeout=(5, 15))
            for item in listed.items:
                found += _troubles(item, failure, final=final)
    return found


def rolling(client: Any, namespace: str, release: str) -> set[str]:  # noqa: ANN401  see above
    """Names of the Deployments some of whose pods are not as they say now; none where that cannot be asked."""
    found = set()
    with suppress(kubernetes.client.ApiException, urllib3.exceptions.HTTPError):
        listed: Any = kubernetes.client.AppsV1Api(client).list_namespaced_deployment(
            namespace, label_selector=f"{_INSTANCE}={release}", _request_timeout=(5, 15)
        )
        for item in listed.items:
            status, wanted = item.status, 1 if item.spec.replicas is None else item.spec.replicas
            updated, ready = status.updated_replicas or 0, status.ready_replicas or 0
            is_seen = (status.observed_generation or 0) >= (item.metadata.generation or 0)
            if not (is_seen and updated >= wanted and ready >= wanted and (status.replicas or 0) <= updated):
                found.add((item.metadata.labels or {}).get(_NAME, ""))
    return found


def is_outdated(client: Any, pod: Any) -> bool:  # noqa: ANN401  see above
    """True for a pod that its Deployment is about to take away: its end says nothing about what is rolled out."""
    apps = kubernetes.client.AppsV1Api(client)
    options: dict[str, Any] = {"_request_timeout": (5, 15)}
    namespace = pod.metadata.namespace
    with suppress(kubernetes.client.ApiException, urllib3.exceptions.HTTPError):
        for owner in pod.metadata.owner_references or []:
            if owner.kind != "ReplicaSet":
                continue
            replicas: Any = apps.read_namespaced_replica_set(owner.name, namespace, **options)
            for above in replicas.metadata.owner_references or []:
                deployment: Any = apps.read_namespaced_deployment(above.name, namespace, **options)
                if (deployment.status.observed_generation or 0) < (deployment.metadata.generation or 0):
                    return True
                return _revision(replicas) != _revision(deployment)
    return False


def _revision(item: Any) -> str:  # noqa: ANN401  see above
    return str((item.metadata.annotations or {}).get(_REVISION, ""))


def _troubles(workload: Any, condition: str, *, final: bool) -> Iterator[Trouble]:  # noqa: ANN401  see above
    annotations = workload.spec.template.metadata.annotations or {}
    for one in workload.status.conditions or []:
        if one.type == condition and one.status == "True":
            yield Trouble(
                name=(workload.metadata.labels or {}).get(_NAME, ""),
                digest=annotations.get(_DIGEST, ""),
                text=": ".join(str(part) for part in (one.reason, one.message) if part),
                final=final,
            )
