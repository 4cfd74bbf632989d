"""Watching a release's pods until all run their program, or one of them says why it cannot."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import kubernetes.client

from scone_provider.errors import DeployError
from scone_provider.kubernetes.cluster import PATIENCE, TROUBLE, Cluster, connect, explained
from scone_provider.kubernetes.workloads import Trouble, is_outdated, rolling, workload_troubles

_INSTANCE = "app.kubernetes.io/instance"
_NAME = "app.kubernetes.io/name"
_DIGEST = "scone/policy-digest"
_STUCK_SECONDS = 45
"""How long nothing may move for a cluster that lacks room or rights; `rollout_timeout` above 120 s adds to it."""
_DEFAULT_TIMEOUT = 120
_CRASHES = 3
"""Restarts after which a program that crashes does not only wait for another one: about 40 s."""
_REFUSALS = range(64, 69)  # docs/enclave-protocol.md, exit codes of the launcher
_HOPELESS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
}
_HINTS = {
    64: "compare the image and its settings with the manifest; a new `pulumi up` restores what was changed by hand",
    65: "the pod runs something else than the policy says: see `pulumi preview --refresh --diff` for what was changed",
    66: "the image, its mounts or its root are not as built: push it again, and look for who changed it",
    67: "check that pods reach CAS, and that it is the CAS whose key is pinned",
    68: "everything was verified; correct the command or the program",
}


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One workload that must come up with one policy."""

    name: str
    """Value of the label app.kubernetes.io/name."""
    service: str
    """Its name in the Meshfile."""
    kind: str
    """Deployment or Job."""
    replicas: int
    """Pods that must be ready; a Job's pod may have succeeded already."""
    image: str
    """By digest; only pods that run it and carry `policy_digest` count."""
    policy_digest: str
    """As in the pods' annotation."""
    origin: str = ""
    """Where its manifests stand: `file:line`, several with commas."""

    def where(self, pod: str | None = None) -> str:
        """What an error names."""
        service = f"service {self.service} ({self.origin})" if self.origin else f"service {self.service}"
        return f"{service}, pod {pod}" if pod else service


def wait_for_release(
    *,
    namespace: str,
    release: str,
    expected: Sequence[Expectation],
    timeout: float,
    cluster: Cluster,
    patient: bool = False,
) -> None:
    """Return when all expected pods run their programs.

    One request per poll for the whole release while pods are missing. Raises DeployError with the launcher's line as
    soon as a pod was refused, at the latest after `timeout` seconds. A `patient` watch waits that long for refusals to
    pass.
    """
    client = connect(cluster)
    api = kubernetes.client.CoreV1Api(client)
    start = time.monotonic()
    deadline = start + timeout
    stuck_after = start + _STUCK_SECONDS + max(0, timeout - _DEFAULT_TIMEOUT)
    while True:
        pods = _pods(api, namespace, release, last_try=time.monotonic() > deadline)
        waiting = [] if pods is None else _waiting(client, namespace, release, expected, pods)
        if pods is not None and not waiting:
            return
        late, stuck = time.monotonic() > deadline, time.monotonic() > stuck_after
        for wanted in waiting:
            for pod, problem in _hopeless(wanted, pods or [], forgiven=patient and not late):
                if not is_outdated(client, pod):
                    raise problem
        if late or stuck or any(wanted.kind == "Job" for wanted in waiting):
            _refuse_stuck(waiting, pods or [], workload_troubles(client, namespace, release), stuck=late or stuck)
        if late and waiting:
            raise _late(waiting, pods or [], timeout)
        time.sleep(0.5)


def _pods(api: Any, namespace: str, release: str, *, last_try: bool) -> Sequence[Any] | None:  # noqa: ANN401  see connect
    """The release's pods; None when Kubernetes is out of order and there is time to ask again."""
    try:
        found: Sequence[Any] = api.list_namespaced_pod(
            namespace, label_selector=f"{_INSTANCE}={release}", **PATIENCE
        ).items
    except TROUBLE as error:
        passes = not isinstance(error, kubernetes.client.ApiException) or error.status >= 500 or error.status == 429
        if passes and not last_try:
            return None
        raise explained(error, doing="list the pods", needs="list pods", where=f"namespace {namespace}") from None
    return found


def _waiting(
    client: Any,  # noqa: ANN401  see connect
    namespace: str,
    release: str,
    expected: Sequence[Expectation],
    pods: Sequence[Any],
) -> list[Expectation]:
    """What is not up yet."""
    waiting = [wanted for wanted in expected if not _is_up(wanted, pods)]
    if not waiting:
        # Pods of the same image and policy may be those from before a change of the chart's values.
        unfinished = rolling(client, namespace, release)
        waiting = [wanted for wanted in expected if wanted.kind == "Deployment" and wanted.name in unfinished]
    return waiting


def _mine(wanted: Expectation, pods: Sequence[Any]) -> Iterator[Any]:
    for pod in pods:
        labels, annotations = pod.metadata.labels or {}, pod.metadata.annotations or {}
        if (
            labels.get(_NAME) == wanted.name
            and annotations.get(_DIGEST) == wanted.policy_digest
            and pod.spec.containers[0].image == wanted.image
        ):
            yield pod


def _is_up(wanted: Expectation, pods: Sequence[Any]) -> bool:
    ready = 0
    for pod in _mine(wanted, pods):
        if pod.status.phase == "Succeeded" and wanted.kind == "Job":
            ready += 1
        elif pod.metadata.deletion_timestamp is None:
            ready += any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or [])
    return ready >= wanted.replicas


def _hopeless(wanted: Expectation, pods: Sequence[Any], *, forgiven: bool) -> Iterator[tuple[Any, DeployError]]:
    """Pods that will not come up, and why."""
    for pod in _mine(wanted, pods):
        for status in pod.status.container_statuses or []:
            for state in (status.state, status.last_state):
                ended = state.terminated if state else None
                if ended and ended.exit_code in _REFUSALS and not forgiven:
                    line = (ended.message or "").strip() or f"the launcher ended with exit code {ended.exit_code}"
                    yield pod, DeployError(line, where=wanted.where(pod.metadata.name), fix=_HINTS[ended.exit_code])
                if ended and ended.exit_code not in _REFUSALS and (status.restart_count or 0) >= _CRASHES:
                    yield pod, _crashed(wanted, pod, status, ended)
            pending = status.state.waiting if status.state else None
            if pending and pending.reason in _HOPELESS:
                fix = f"check that the cluster's nodes reach the registry and may pull the image{_pull_secrets(pod)}"
                text = f"{pending.reason}: {(pending.message or '').strip()}"
                yield pod, DeployError(text, where=wanted.where(pod.metadata.name), fix=fix)


def _crashed(wanted: Expectation, pod: Any, status: Any, ended: Any) -> DeployError:  # noqa: ANN401  see connect
    """What the program printed is not ours to repeat: it may hold secrets."""
    reason = f" ({ended.reason})" if ended.reason not in (None, "Error", "Completed") else ""
    return DeployError(
        f"the program was started and ended with exit code {ended.exit_code}{reason}, {status.restart_count} times "
        "in a row",
        where=wanted.where(pod.metadata.name),
        fix=f"attestation succeeded; `kubectl -n {pod.metadata.namespace} logs {pod.metadata.name} --previous` shows "
        "what the program says",
    )


def _refuse_stuck(
    waiting: Sequence[Expectation], pods: Sequence[Any], troubles: Sequence[Trouble], *, stuck: bool
) -> None:
    """Raise DeployError for a workload that failed for good, and, when nothing moves any more, for one that waits."""
    for wanted in waiting:
        mine = [
            trouble for trouble in troubles if (trouble.name, trouble.digest) == (wanted.name, wanted.policy_digest)
        ]
        for trouble in mine:
            if trouble.final:
                raise DeployError(
                    f"the Job failed: {trouble.text}",
                    where=wanted.where(),
                    fix=f"`kubectl logs -l {_NAME}={wanted.name}` shows what the program says; correct it and run "
                    "`pulumi up` again",
                )
        if not stuck:
            continue
        for pod in _mine(wanted, pods):
            for condition in pod.status.conditions or []:
                if condition.type == "PodScheduled" and condition.reason == "Unschedulable":
                    raise DeployError(
                        f"no node takes the pod: {condition.message}",
                        where=wanted.where(pod.metadata.name),
                        fix="make room, or lower `resources` and `replicaCount`; `rollout_timeout` allows more time",
                    )
        for trouble in mine:
            raise DeployError(
                f"Kubernetes makes no pods: {trouble.text}",
                where=wanted.where(),
                fix="quota, service account and admission rules of the namespace decide on this: change what the "
                "message names, then run `pulumi up` again",
            )


def _pull_secrets(pod: Any) -> str:  # noqa: ANN401  see connect
    names = ", ".join(one.name for one in pod.spec.image_pull_secrets or [])
    return f"; the secret {names} must exist: `pull_secret` of MeshDeployment makes it" if names else ""


def _late(waiting: Sequence[Expectation], pods: Sequence[Any], timeout: float) -> DeployError:
    wanted = waiting[0]
    states = [f"{pod.metadata.name}: {_state(pod)}" for pod in _mine(wanted, pods)] or ["no pod was created"]
    others = f" (and {len(waiting) - 1} more services)" if len(waiting) > 1 else ""
    return DeployError(
        f"not ready after {timeout:.0f} s{others}: {'; '.join(states)}",
        where=wanted.where(),
        fix=f"look at `kubectl describe pods -l {_NAME}={wanted.name}`; `rollout_timeout` allows more time",
    )


def _state(pod: Any) -> str:  # noqa: ANN401  see connect
    for status in pod.status.container_statuses or []:
        state = status.state
        if state and state.waiting:
            return str(state.waiting.reason)
        if state and state.terminated:
            return f"ended with exit code {state.terminated.exit_code}"
    for condition in pod.status.conditions or []:
        if condition.status == "False" and condition.message:
            return str(condition.message)
    return str(pod.status.phase)
