"""`rollout: overlap` on the cluster: no request is lost, and what fails leaves what was released, restartable."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import scone_policy
from scone_provider.cas.client import connect
from scone_provider.cas.identity import Identity
from support.mesh import MeshProject

PROGRAM = """\
import os, signal, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = "first".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = ThreadingHTTPServer(("", 8080), Answer)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""
SERVICES = """\
  - service: pythonapp
    env:
      - name: replicaCount
        value: 2

services:
"""


class Clients:
    """Requests through the Service, one after the other in each of several threads, each on a new connection."""

    def __init__(self, address: str) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._address, self._lock, self._stop = address, threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(4)]

    def _ask(self) -> None:
        while not self._stop.wait(0.02):
            try:
                connection = http.client.HTTPConnection(self._address, 8080, timeout=10)
                connection.request("GET", "/")
                answer = connection.getresponse().read().decode()
                connection.close()
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.failures.append(f"{time.monotonic():.2f} {error!r}")
            else:
                with self._lock:
                    self.answers[answer] += 1

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, with the last answers in."""
        self._stop.set()
        for thread in self._threads:
            thread.join(20)


@contextmanager
def asking(mesh: MeshProject) -> Iterator[Clients]:
    """Clients of the service while the block runs."""
    (service,) = mesh.get("services")
    clients = Clients(service["spec"]["clusterIP"])
    clients.start()
    try:
        yield clients
    finally:
        clients.stop()


@pytest.fixture(scope="module")
def mesh(new_mesh: Callable[..., MeshProject]) -> MeshProject:
    """A web server with two pods whose rollouts overlap, deployed."""
    project = new_mesh()
    (project.program / "print_env.py").write_text(PROGRAM)
    project.edit("mesh.yaml", "value: 443", "value: 8080")
    project.edit("mesh.yaml", "services:\n", SERVICES)
    project.edit("__main__.py", '    "hello",\n    {\n', '    "hello",\n    {\n        "rollout": "overlap",\n')
    project.up()
    return project


def trusted(mesh: MeshProject) -> set[str]:
    """The services that CAS lets start."""
    identity = Identity.parse(mesh.pulumi("config", "get", "scone:identity").text)
    tolerance = "--only_for_testing-debug --only_for_testing-trust-any --only_for_testing-ignore-signer -C -G -S"
    client = connect(
        f"{mesh.cas.host}:{mesh.cas.port}", tolerance=tolerance, cas_key=None, connect_to={}, identity=identity
    )
    stored = client.read(f"{mesh.cas_namespace}/{mesh.service}")
    assert stored is not None
    return set(scone_policy.parse(stored.description_yaml).services)


def pods(mesh: MeshProject, config_id: str | None = None) -> dict[str, str]:
    """Ready pods that are not going: name → what they say they are."""
    found = {}
    for item in mesh.get("pods"):
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in item["status"].get("conditions", []))
        (container,) = item["spec"]["containers"]
        (name,) = [one["value"] for one in container["env"] if one["name"] == "SCONE_CONFIG_ID"]
        if ready and "deletionTimestamp" not in item["metadata"] and config_id in (None, name):
            found[item["metadata"]["name"]] = name
    return found


def wait_for(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_rolling_update_loses_no_request(mesh: MeshProject) -> None:
    """A changed line rolls out under constant requests: both versions answer, none fails; then one is trusted."""
    (old,) = trusted(mesh)
    assert set(pods(mesh).values()) == {f"{mesh.cas_namespace}/{mesh.service}/{old}"}
    mesh.edit("print_env.py", '"first"', '"second"')
    preview = mesh.preview().text
    assert f"the released revision, {old}, stays trusted beside the new one" in preview
    with asking(mesh) as clients:
        wait_for(lambda: clients.answers["first"] > 50)
        text = mesh.up().text
        wait_for(lambda: clients.answers["second"] > 50)
        wait_for(lambda: len(mesh.get("pods")) == 2)
    assert clients.failures == []
    (new,) = trusted(mesh)
    assert new != old
    assert f"{old} is not trusted any more" in text
    assert mesh.preview_steps() == {}
    assert mesh.refresh().status == 0
    assert mesh.preview_steps() == {}


def test_failed_rollout_leaves_old_pods_restartable(mesh: MeshProject) -> None:
    """A program that crashes fails `up` within a minute; a pod of the released revision that is killed comes back."""
    (old,) = trusted(mesh)
    old_id = f"{mesh.cas_namespace}/{mesh.service}/{old}"
    mesh.edit("print_env.py", "server = Thr", "sys.exit(3)\nserver = Thr")
    before = time.monotonic()
    with asking(mesh) as clients:
        done = mesh.up(check=False)
        took = time.monotonic() - before
        assert done.status != 0
        assert "ended with exit code 3" in done.text
        assert "service pythonapp (mesh.yaml:" in done.text
        assert "kubectl -n" in done.text
        assert took < 75, took
        assert len(trusted(mesh)) == 2
        victim, *_ = sorted(pods(mesh, old_id))
        mesh.kube("delete", "pod", victim, "--wait=false")
        wait_for(lambda: len(pods(mesh, old_id)) == 2 and victim not in pods(mesh))
    assert clients.failures == []
    mesh.edit("print_env.py", "sys.exit(3)\n", "")
    mesh.edit("print_env.py", '"second"', '"third"')
    mesh.up()
    (new,) = trusted(mesh)
    assert new != old
    with asking(mesh) as clients:
        wait_for(lambda: clients.answers["third"] > 10)
    assert clients.failures == []
    assert mesh.preview_steps() == {}


def test_refused_rollout_leaves_old_pods_serving(mesh: MeshProject) -> None:
    """An image that attestation refuses fails `up` at once with the launcher's line; requests go on."""
    (old,) = trusted(mesh)
    extra = (
        "helm_extra_values: |\n  services:\n    pythonapp:\n      env:\n        SCONE_HEAP: 761M\n      annotations:\n"
        "        test/new: pods\n\n"
    )
    mesh.edit("mesh.yaml", "env:\n  - service: global\n", extra + "env:\n  - service: global\n")
    before = time.monotonic()
    with asking(mesh) as clients:
        done = mesh.up(check=False)
        took = time.monotonic() - before
        wait_for(lambda: sum(clients.answers.values()) > 50)
    assert done.status != 0
    assert "unexpected measurement" in done.text
    assert took < 60, took
    assert clients.failures == []
    assert trusted(mesh) == {old}
    mesh.edit("mesh.yaml", extra, "")
    mesh.up()
    assert trusted(mesh) == {old}
    assert mesh.preview_steps() == {}


def test_what_pods_share_does_not_overlap(mesh: MeshProject) -> None:
    """Another size of a secret would hit the old pods, too: the preview refuses it and says how to do it."""
    mesh.edit("service.yaml", "size: 10", "size: 12")
    text = mesh.preview(check=False).text
    assert "secrets.password" in text
    assert '"rollout": "replace"' in text
    mesh.edit("service.yaml", "size: 12", "size: 10")
    assert mesh.preview_steps() == {}


def test_taken_over_with_a_program_that_crashes(mesh: MeshProject) -> None:
    """Renamed without aliases: another resource has the policy, and another release comes first. While its pods crash,
    those of the released revision serve, and come back when they are killed; with a program that runs all old goes.
    """
    (old,) = trusted(mesh)
    old_id = f"{mesh.cas_namespace}/{mesh.service}/{old}"
    mesh.edit("__main__.py", '    "hello",\n', '    "shop",\n')
    mesh.edit("print_env.py", "server = Thr", "sys.exit(3)\nserver = Thr")
    with asking(mesh) as clients:
        done = mesh.up(check=False)
        assert done.status != 0
        assert "ended with exit code 3" in done.text
        assert f"{old}, stays trusted beside the new one" in done.text
        assert len(trusted(mesh)) == 2
        victim, *_ = sorted(pods(mesh, old_id))
        mesh.kube("delete", "pod", victim, "--wait=false")
        wait_for(lambda: len(pods(mesh, old_id)) == 2 and victim not in pods(mesh))
    assert clients.failures == []
    mesh.edit("print_env.py", "sys.exit(3)\n", "")
    mesh.edit("print_env.py", '"third"', '"fourth"')
    mesh.up()
    (new,) = trusted(mesh)
    assert new != old
    wait_for(lambda: len(mesh.get("pods")) == 2)
    assert set(pods(mesh).values()) == {f"{mesh.cas_namespace}/{mesh.service}/{new}"}
    with asking(mesh) as clients:
        wait_for(lambda: clients.answers["fourth"] > 10)
    assert mesh.preview_steps() == {}
    assert mesh.refresh().status == 0
    assert mesh.preview_steps() == {}
