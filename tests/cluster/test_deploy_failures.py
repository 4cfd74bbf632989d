"""Deployments that cannot work: a clear error, nothing half done, and the next `up` finishes."""

from collections.abc import Callable

import pytest

from support.mesh import MeshProject


def failure(mesh: MeshProject) -> str:
    """What an `up` says that must fail: the service and where it stands, and nothing of Python's."""
    done = mesh.up(check=False)
    assert done.status != 0
    assert "service pythonapp (mesh.yaml:" in done.text
    assert "Traceback" not in done.text
    return done.text


def test_unpullable_image_fails_with_kubernetes_words(new_mesh: Callable[..., MeshProject]) -> None:
    """A pod whose image cannot be pulled makes `up` fail with the service, the reason, and what to do."""
    mesh = new_mesh()
    mesh.edit("mesh.yaml", "services:\n", _EXTRA + "services:\n")
    text = failure(mesh)
    assert "ImagePull" in text or "ErrImage" in text
    mesh.edit("mesh.yaml", _EXTRA, "")
    mesh.up()
    mesh.log_until("Integrity OK")
    assert mesh.preview_steps() == {}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_cluster_without_room_says_what_lacks(new_mesh: Callable[..., MeshProject]) -> None:
    """A quota that is used up, then no node for the pod: `up` repeats Kubernetes' words; with room, the next finishes.

    Each wait is the watch's own (45 s in which nothing moves), so it runs in the long tests.
    """
    mesh = new_mesh()
    mesh.kube("create", "quota", "none", "--hard=pods=0")
    text = failure(mesh)
    assert "Kubernetes makes no pods: FailedCreate" in text
    assert "exceeded quota: none" in text

    mesh.kube("delete", "quota", "none")
    mesh.edit("mesh.yaml", "services:\n", _NOWHERE + "services:\n")
    text = failure(mesh)
    assert "no node takes the pod: 0/1 nodes are available" in text
    assert "make room, or lower `resources` and `replicaCount`" in text

    mesh.edit("mesh.yaml", _NOWHERE, "")
    mesh.up()
    mesh.log_until("Integrity OK")
    assert mesh.preview_steps() == {}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_job_that_fails_for_good(new_mesh: Callable[..., MeshProject]) -> None:
    """A program that ends with an error each time makes `up` fail with the Job, without the program's own words."""
    mesh = new_mesh()
    mesh.edit("mesh.yaml", "env:\n  - service: global\n    env:\n", _JOB.replace("OnFailure", "Never"))
    mesh.edit("print_env.py", 'print("Integrity OK", flush=True)', 'sys.exit("planted in the program\'s own words")')
    text = failure(mesh)
    assert "the Job failed: BackoffLimitExceeded" in text
    assert "planted" not in text
    assert "kubectl logs -l app.kubernetes.io/name=pythonapp" in text


@pytest.fixture
def job(new_mesh: Callable[..., MeshProject]) -> MeshProject:
    """The example as a Job, with a port, deployed."""
    mesh = new_mesh()
    mesh.edit("mesh.yaml", "env:\n  - service: global\n    env:\n", _JOB)
    return mesh


def test_job_runs_to_its_end(job: MeshProject) -> None:
    """`restartPolicy: OnFailure` makes a Job named by its content; it counts as released once its pod is up."""
    job.up()
    (found,) = job.get("jobs")
    assert found["metadata"]["name"].startswith("hello-pythonapp-")
    assert job.get("deployments") == []
    job.edit("mesh.yaml", "value: myself", "value: someone")
    job.up()
    (other,) = job.get("jobs")
    assert other["metadata"]["name"] != found["metadata"]["name"]
    assert "someone" in job.log_until("Integrity OK")


def test_replicas_have_a_budget_and_a_service(new_mesh: Callable[..., MeshProject]) -> None:
    """Two replicas come up, each attested on its own, with a PodDisruptionBudget, a Service and a NetworkPolicy."""
    mesh = new_mesh()
    mesh.edit("mesh.yaml", "env:\n  - service: global\n    env:\n", _REPLICAS)
    mesh.up()
    pods = [item for item in mesh.get("pods") if item["status"]["phase"] == "Running"]
    assert len(pods) == 2
    assert len(mesh.get("poddisruptionbudgets")) == 1
    (service,) = mesh.get("services")
    assert service["spec"]["ports"][0]["port"] == 443
    (network,) = mesh.get("networkpolicies")
    assert network["spec"]["ingress"] == [{"ports": [{"port": "service", "protocol": "TCP"}]}]
    logs = {mesh.kube("logs", pod["metadata"]["name"]) for pod in pods}
    assert len(logs) == 1
    assert "Integrity OK" in logs.pop()


_EXTRA = """helm_extra_values: |
  services:
    pythonapp:
      image: localhost:5000/nobody/nothing@sha256:0000000000000000000000000000000000000000000000000000000000000000

"""
_NOWHERE = """helm_extra_values: |
  services:
    pythonapp:
      nodeSelector:
        disk: none

"""
_JOB = """env:
  - service: global
    env:
      - name: restartPolicy
        value: OnFailure
"""
_REPLICAS = """env:
  - service: global
    env:
      - name: replicaCount
        value: 2
"""
