"""What Kubernetes says about Deployments and Jobs that cannot make their pods."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import kubernetes.client
import urllib3.exceptions

_INSTANCE = "app.kubernetes.io/instance"
_NAME = "app.kubernetes.io/name"
_DIGEST = "scone/policy-digest"


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
