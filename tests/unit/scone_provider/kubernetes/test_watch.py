"""Watching a release, against a small real HTTP server that answers as a Kubernetes API does."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes.config.kube_config
import pytest
import yaml

from scone_provider.errors import DeployError
from scone_provider.kubernetes.cluster import Cluster
from scone_provider.kubernetes.watch import Expectation, wait_for_release

STANDARD = Cluster()
IMAGE, DIGEST = "r/api@sha256:" + "ab" * 32, "cd" * 32
READY: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}
REFUSAL = "Attestation failed: unexpected measurement aa, expected bb"


class Api:
    """Answers each listing of pods with the next of `answers`, the last one again and again, others by `workloads`."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.requests: list[str] = []
        self.workloads: dict[str, list[dict[str, Any]]] = {}
        self.objects: dict[str, dict[str, Any]] = {}
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind = urlsplit(self.path).path.rpartition("/")[2]
                if kind in api.objects:
                    return self.answer(200, api.objects[kind])
                if kind != "pods":
                    return self.answer(200, {"metadata": {}, "items": api.workloads.get(kind, [])})
                api.requests.append(self.path)
                status, content = api.answers[min(len(api.requests), len(api.answers)) - 1]
                return self.answer(status, content)

            def answer(self, status: int, content: dict[str, Any]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def pods(self, *pods: dict[str, Any]) -> None:
        """The next answer."""
        self.answers.append((200, {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": list(pods)}))

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def pod(name: str = "api-1", *, image: str = IMAGE, digest: str = DIGEST, **status: Any) -> dict[str, Any]:
    """A pod of the service."""
    metadata: dict[str, Any] = {"name": name, "namespace": "apps"}
    metadata["labels"] = {"app.kubernetes.io/name": "api", "app.kubernetes.io/instance": "app"}
    metadata["annotations"] = {"scone/policy-digest": digest}
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "api", "image": image}]},
        "status": status or {"phase": "Pending"},
    }


def container(**state: Any) -> dict[str, Any]:
    """The status of a pod whose container is in this state."""
    about = {"name": "api", "image": "i", "imageID": "i", "ready": False, "restartCount": 1}
    return {"phase": "Running", "containerStatuses": [{**about, **state}]}


def ended(code: int, message: str | None = None) -> dict[str, Any]:
    """A container's state after its end."""
    return {"terminated": {"exitCode": code} | ({"message": message} if message else {})}


def wait(
    *,
    kind: str = "Deployment",
    replicas: int = 1,
    timeout: float = 0,
    cluster: Cluster = STANDARD,
    patient: bool = False,
    origin: str = "",
) -> None:
    """Wait for the one service."""
    wanted = Expectation(
        name="api", service="my_api", kind=kind, replicas=replicas, image=IMAGE, policy_digest=DIGEST, origin=origin
    )
    wait_for_release(
        namespace="apps", release="app", expected=[wanted], timeout=timeout, cluster=cluster, patient=patient
    )


def refusal(**options: Any) -> str:
    """What `wait` says when it does not come up."""
    with pytest.raises(DeployError) as caught:
        wait(**options)
    return str(caught.value)


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes a kubeconfig that names servers by context, and lets the Kubernetes client find it."""

    def write(**ports: int) -> None:
        path = tmp_path / "kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": next(iter(ports)),
            "clusters": [
                {"name": name, "cluster": {"server": f"http://127.0.0.1:{port}"}} for name, port in ports.items()
            ],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in ports],
        }
        path.write_text(yaml.safe_dump(content))
        # The client reads KUBECONFIG once, when it is imported.
        monkeypatch.setattr(kubernetes.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))

    return write


@pytest.fixture
def api(kubeconfig: Callable[..., None]) -> Iterator[Api]:
    """A server that the current context names."""
    server = Api()
    kubeconfig(current=server.port)
    yield server
    server.stop()


def test_ready_pods_end_the_wait(api: Api) -> None:
    """All replicas ready: it returns after one request, which asks for the pods of this release only."""
    api.pods(pod("api-1", **READY), pod("api-2", **READY))
    wait(replicas=2)
    (request,) = api.requests
    assert urlsplit(request).path == "/api/v1/namespaces/apps/pods"
    assert parse_qs(urlsplit(request).query)["labelSelector"] == ["app.kubernetes.io/instance=app"]


def test_waits_until_the_last_replica_is_ready(api: Api) -> None:
    """One of two is not all of them: it asks again until the second is ready."""
    api.pods(pod("api-1", **READY), pod("api-2"))
    api.pods(pod("api-1", **READY), pod("api-2", **READY))
    wait(replicas=2, timeout=30)
    assert len(api.requests) == 2


@pytest.mark.parametrize("key", ["state", "lastState"])
@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (64, "compare the image and its settings with the manifest"),
        (65, "preview --refresh --diff"),
        (66, "push it again"),
        (67, "check that pods reach CAS"),
        (68, "correct the command or the program"),
    ],
)
def test_refusal_ends_the_wait_at_once(api: Api, key: str, code: int, hint: str) -> None:
    """The launcher's line is the error, with pod and service and what to do; also when the container runs again."""
    state = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}} | {key: ended(code, REFUSAL)}
    api.pods(pod(**container(**state)))
    started = time.monotonic()
    text = refusal(timeout=30)
    assert time.monotonic() - started < 5
    assert text.startswith(f"service my_api, pod api-1: {REFUSAL}\n")
    assert hint in text


def test_patient_watch_lets_a_refusal_pass(api: Api) -> None:
    """While somebody else still uploads the policy a refused pod is waited for, and told only when time is up."""
    refused = pod(**container(state=ended(65, REFUSAL)))
    api.pods(refused)
    api.pods(pod(**READY))
    wait(timeout=30, patient=True)
    api.requests.clear()
    api.answers.clear()
    api.pods(refused)
    with pytest.raises(DeployError, match=REFUSAL):
        wait(timeout=0, patient=True)


def test_refusal_without_a_line_has_the_exit_code(api: Api) -> None:
    """A node that kept no termination message still leaves the exit code."""
    api.pods(pod(**container(state=ended(65))))
    assert "the launcher ended with exit code 65" in refusal(timeout=30)


def test_programs_own_exit_code_is_not_a_refusal(api: Api) -> None:
    """A program may crash while it waits for something: only time ends the wait, with the state that it was in."""
    api.pods(pod(**container(state=ended(1))))
    assert "api-1: ended with exit code 1" in refusal()


def test_origin_of_the_service_is_named(api: Api) -> None:
    """Where the service stands in the manifests is part of the error."""
    api.pods(pod(**container(state=ended(65, REFUSAL))))
    text = refusal(timeout=30, origin="mesh.yaml:12, service.yaml:3")
    assert text.startswith("service my_api (mesh.yaml:12, service.yaml:3), pod api-1: ")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"exitCode": 3, "reason": "Error"}, "exit code 3, 3 times"),
        ({"exitCode": 137, "reason": "OOMKilled"}, "exit code 137 (OOMKilled), 3 times"),
        ({"exitCode": 0, "reason": "Completed"}, "exit code 0, 3 times"),
    ],
)
def test_program_that_crashes_again_and_again(api: Api, state: dict[str, Any], words: str) -> None:
    """After three restarts it is no waiting for another service: exit code and where to look, not what it printed."""
    crash = {"terminated": {**state, "message": "program-output"}}
    looping = {"waiting": {"reason": "CrashLoopBackOff"}}
    api.pods(pod(**container(state=looping, lastState=crash, restartCount=2)))
    api.pods(pod(**container(state=looping, lastState=crash, restartCount=3)))
    text = refusal(timeout=30)
    assert len(api.requests) == 2
    assert words in text
    assert "kubectl -n apps logs api-1 --previous" in text
    assert "program-output" not in text


def workload(*, digest: str = DIGEST, **condition: str) -> dict[str, Any]:
    """A Deployment or Job in trouble."""
    template = {"metadata": {"annotations": {"scone/policy-digest": digest}}, "spec": {"containers": []}}
    labels = {"app.kubernetes.io/name": "api", "app.kubernetes.io/instance": "app"}
    spec = {"template": template, "selector": {}}
    return {"metadata": {"labels": labels}, "spec": spec, "status": {"conditions": [{"status": "True", **condition}]}}


def test_namespace_that_takes_no_pods(api: Api) -> None:
    """A quota or a missing service account: Kubernetes' words about the Deployment, once nothing moves any more."""
    api.pods()
    words = 'pods "api-" is forbidden: exceeded quota: none'
    failure = {"type": "ReplicaFailure", "reason": "FailedCreate", "message": words}
    api.workloads["deployments"] = [workload(digest="old", **failure)]
    assert "no pod was created" in refusal()
    api.workloads["deployments"].append(workload(**failure))
    text = refusal()
    assert text.startswith(f"service my_api: Kubernetes makes no pods: FailedCreate: {words}")
    assert "quota, service account and admission" in text


def test_node_without_room(api: Api) -> None:
    """An unschedulable pod ends the wait with the scheduler's words, when it had its time."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: cpu"}
    api.pods(pod(phase="Pending", conditions=[condition]))
    text = refusal()
    assert "no node takes the pod: 0/1 nodes: cpu" in text
    assert "rollout_timeout" in text


def test_job_that_failed_ends_the_wait_at_once(api: Api) -> None:
    """A Job whose tries are used up is not waited for, whatever became of its pods; another Job's end is no matter."""
    api.pods()
    failure = {"type": "Failed", "reason": "BackoffLimitExceeded", "message": "too many"}
    api.workloads["jobs"] = [workload(digest="old", **failure)]
    assert "no pod was created" in refusal(kind="Job")
    api.workloads["jobs"].append(workload(**failure))
    started = time.monotonic()
    text = refusal(kind="Job", timeout=30)
    assert time.monotonic() - started < 5
    assert text.startswith("service my_api: the Job failed: BackoffLimitExceeded: too many")


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerError"])
def test_image_that_cannot_be_pulled(api: Api, reason: str) -> None:
    """What will not get better by waiting ends at once, with Kubernetes' words."""
    api.pods(pod(**container(state={"waiting": {"reason": reason, "message": "not found: r/api"}})))
    text = refusal(timeout=30)
    assert f"{reason}: not found: r/api" in text
    assert "may pull the image" in text
    assert "must exist" not in text
    secretive = pod(**container(state={"waiting": {"reason": reason, "message": "denied"}}))
    secretive["spec"]["imagePullSecrets"] = [{"name": "sconeapps"}]
    api.answers.clear()
    api.pods(secretive)
    assert "the secret sconeapps must exist: `pull_secret` of MeshDeployment makes it" in refusal(timeout=30)


@pytest.mark.parametrize(
    ("pods", "state"),
    [
        ([], "no pod was created"),
        ([pod()], "api-1: Pending"),
        (
            [
                pod(
                    phase="Pending",
                    conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes fit"}],
                )
            ],
            "api-1: 0/1 nodes fit",
        ),
        ([pod(**container(state={"waiting": {"reason": "ContainerCreating"}}))], "api-1: ContainerCreating"),
    ],
)
def test_late(api: Api, pods: list[dict[str, Any]], state: str) -> None:
    """Time is up: the error has the service, each pod's state, and where to look."""
    api.pods(*pods)
    text = refusal()
    assert text.startswith("service my_api: not ready after 0 s")
    assert state in text
    assert "kubectl describe pods -l app.kubernetes.io/name=api" in text
    assert "rollout_timeout" in text


@pytest.mark.parametrize("old", [{"digest": "old"}, {"image": "r/api@sha256:old"}])
def test_old_pods_do_not_count(api: Api, old: dict[str, str]) -> None:
    """A ready pod of the last release, by policy or image, does not make this one ready, nor does its end fail it."""
    api.pods(pod(**READY, **old), pod("api-0", **container(state=ended(65, "old news")), **old))
    text = refusal()
    assert "no pod was created" in text
    assert "old news" not in text


def test_pod_that_is_going_does_not_count(api: Api) -> None:
    """A ready pod that is being deleted will not be there in a moment."""
    going = pod(**READY)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    api.pods(going)
    assert "not ready" in refusal()


def test_job_that_succeeded_is_up(api: Api) -> None:
    """A Job's pod that ended well is what was wanted; for a Deployment it is not."""
    api.pods(pod(phase="Succeeded"))
    wait(kind="Job")
    assert "not ready" in refusal()


def test_refused_by_the_api(api: Api) -> None:
    """No right to list pods: said at once, with the namespace and what to ask for; not retried."""
    api.answers.append((403, {"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403}))
    text = refusal(timeout=30)
    assert text.startswith("namespace apps: Kubernetes refused to list the pods: Forbidden")
    assert "the right to list pods" in text
    assert len(api.requests) == 1


def test_api_that_is_out_of_order_is_asked_again(api: Api) -> None:
    """An API server that restarts or is busy is no refusal: the wait goes on as long as there is time."""
    for status in (503, 429):
        api.answers.append((status, {"kind": "Status", "code": status}))
    api.pods(pod(**READY))
    wait(timeout=30)
    assert len(api.requests) == 3


def test_unreachable(kubeconfig: Callable[..., None]) -> None:
    """Nobody listens: said when the time is up, in words, without an address of the library's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    kubeconfig(current=port)
    text = refusal()
    assert text.startswith("namespace apps: Kubernetes cannot be reached")
    assert "KUBECONFIG" in text


def test_the_named_context_is_used(api: Api, kubeconfig: Callable[..., None]) -> None:
    """A stack that names a context watches there, whatever the current one is."""
    api.pods(pod(**READY))
    kubeconfig(current=1, named=api.port)
    wait(cluster=Cluster(context="named"))
    assert len(api.requests) == 1


@pytest.mark.parametrize("content", [None, "", "[", "[]", "text", "kind: Config\n", "\0", "clusters: {}\n"])
def test_no_usable_kubeconfig(content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a kubeconfig, or with one that is none, the error says which settings to make."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(kubernetes.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    text = refusal()
    assert text.startswith("KUBECONFIG: there is no usable kubeconfig")
    assert "kubernetes:context" in text


def deployment(**changes: int) -> dict[str, Any]:
    """A Deployment of one pod that is rolled out, but for `changes` of its status."""
    template = {"metadata": {"annotations": {"scone/policy-digest": DIGEST}}, "spec": {"containers": []}}
    metadata = {"name": "app-api", "generation": 2, "labels": {"app.kubernetes.io/name": "api"}}
    metadata["annotations"] = {"deployment.kubernetes.io/revision": "2"}
    status = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, **changes}
    return {"metadata": metadata, "spec": {"replicas": 1, "selector": {}, "template": template}, "status": status}


@pytest.mark.parametrize(
    "changes", [{"observedGeneration": 1}, {"updatedReplicas": 0}, {"replicas": 2}, {"readyReplicas": 0}]
)
def test_pods_from_before_a_change_of_values_do_not_count(api: Api, changes: dict[str, int]) -> None:
    """Same image and policy, other values: only when the Deployment is rolled out are its pods the wanted ones."""
    api.pods(pod(**READY))
    api.workloads["deployments"] = [deployment(**changes)]
    assert "not ready" in refusal()
    api.workloads["deployments"] = [deployment()]
    wait()


@pytest.mark.parametrize(("revision", "is_said"), [("2", True), ("1", False)])
def test_refused_pod_of_an_older_template_is_not_waited_on(api: Api, revision: str, *, is_said: bool) -> None:
    """What an `up` before this one left refused goes when the Deployment is rolled out: it fails nobody."""
    refused = pod(**container(state=ended(65, REFUSAL)))
    refused["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app-api-1", "uid": "1", "controller": True}
    ]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app-api", "uid": "2", "controller": True}
    metadata = {"annotations": {"deployment.kubernetes.io/revision": revision}, "ownerReferences": [owner]}
    api.objects["app-api-1"] = {"metadata": metadata, "spec": {"selector": {}}}
    api.objects["app-api"] = deployment()
    api.pods(refused)
    api.pods(pod(**READY))
    if is_said:
        assert REFUSAL in refusal(timeout=30)
    else:
        wait(timeout=30)
