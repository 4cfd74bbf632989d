"""`examples/flask-redis`: two services with TLS between them, called from outside, and what nobody sees of it."""

import base64
import contextlib
import gzip
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tools.devstack.paths import Paths

import scone_policy
from scone_provider.cas.client import connect
from scone_provider.cas.identity import Identity
from support.embedded_cas import TOLERANCE, public_value
from support.mesh import MeshProject

PORT = 4996
NAME = "notes-api"
NOBODY = 65532
NOTE = "a note that only its reader shall see 6f0c"
SECRETS = {
    "api": ("/tls/api.key", "/tls/client.key", "/tls/redis.password"),
    "redis": ("/tls/redis.key",),
}


class Notes(MeshProject):
    """The deployed example."""

    def pod_of(self, service: str) -> dict:
        """The running, ready pod of a service."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for item in self.get("pods"):
                if item["metadata"]["labels"]["app.kubernetes.io/name"] != service:
                    continue
                ready = [one["status"] for one in item["status"].get("conditions", []) if one["type"] == "Ready"]
                if "deletionTimestamp" not in item["metadata"] and ready == ["True"]:
                    return item
            time.sleep(0.3)
        raise AssertionError(self.kube("get", "pods"))

    def read_file(self, service: str, path: str) -> str:
        """A file of a service, by the way that the software mode leaves open: exec as its user."""
        return self.kube("exec", self.pod_of(service)["metadata"]["name"], "--", "cat", path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the node that a volume may be bound to, writable for who runs in pods."""
    folder = tmp_path_factory.mktemp("kept") / "redis"
    folder.mkdir()
    for above in (folder, *folder.parents[:3]):
        above.chmod(above.stat().st_mode | 0o011)
    os.chown(folder, NOBODY, NOBODY)
    return folder


@pytest.fixture(scope="module")
def notes(new_mesh: Callable[..., MeshProject], kept: Path) -> Iterator[Notes]:
    """The example, deployed, with a volume for Redis that outlives its pods."""
    project = new_mesh(example="flask-redis", kind=Notes)
    assert isinstance(project, Notes)
    claimed = f"redis-{project.kubernetes_namespace}"
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": claimed},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(kept), "type": "Directory"},
        },
    }
    manifest = project.folder.parent / "volume.json"
    manifest.write_text(json.dumps(volume))
    project.kubectl("apply", "-f", str(manifest))
    project.pulumi("config", "set", "flask-redis:redisVolume", "1Gi")
    project.up()
    yield project
    project.destroy(check=False)
    project.kubectl("delete", "persistentvolume", claimed, "--wait=false", "--ignore-not-found")


@pytest.fixture
def client(notes: Notes) -> Iterator[httpx.Client]:
    """Somebody outside of the mesh, who knows what CAS publishes and nothing else."""
    authority = public_value(notes.cas, f"{notes.cas_namespace}/api", "api_ca_cert")
    address = notes.pod_of("api")["status"]["podIP"]
    with httpx.Client(
        base_url=f"https://{address}:{PORT}",
        verify=ssl.create_default_context(cadata=authority),
        trust_env=False,
        timeout=10,
    ) as found:
        yield found


def call(client: httpx.Client, method: str, path: str, content: str | None = None) -> httpx.Response:
    """One request, under the name in the API's certificate."""
    return client.request(method, path, content=content, extensions={"sni_hostname": NAME})


def test_api_keeps_a_note_over_a_restart_of_redis(notes: Notes, client: httpx.Client) -> None:
    """What was written through the API is read back from another Redis pod, which took over the volume."""
    assert call(client, "GET", "/notes/first").status_code == 404
    assert call(client, "PUT", "/notes/first", NOTE).status_code == 204
    old = notes.pod_of("redis")["metadata"]
    notes.kube("delete", "pod", old["name"], "--wait=true", "--grace-period=10")
    new = notes.pod_of("redis")["metadata"]
    assert new["uid"] != old["uid"]
    deadline = time.monotonic() + 30
    while (answer := call(client, "GET", "/notes/first")).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert (answer.status_code, answer.text) == (200, NOTE)


def test_api_is_nobody_else(client: httpx.Client) -> None:
    """The certificate is checked by the name that it was issued for."""
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        client.get("/notes/first", extensions={"sni_hostname": "another-api"})


def test_redis_refuses_who_has_no_certificate(notes: Notes) -> None:
    """Redis listens with TLS only, and ends the connection of a client without a certificate of the mesh's."""
    context = ssl.create_default_context(cadata=notes.read_file("api", "/tls/redis-ca.crt"))
    address = notes.pod_of("redis")["status"]["podIP"]
    with (
        socket.create_connection((address, 6379), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="notes-redis") as secured,
    ):
        answer = b""
        # TLS 1.3: the server judges after the client's own handshake is over, and its alert may come before or after
        # this is sent.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            secured.sendall(b"PING\r\n")
            answer = secured.recv(100)
        assert answer == b""


def test_injected_files_are_links_into_memory(notes: Notes) -> None:
    """Keys and passwords are on no disk: each path is a link into a memory mount."""
    for service, paths in SECRETS.items():
        pod = notes.pod_of(service)["metadata"]["name"]
        for path in paths:
            assert notes.kube("exec", pod, "--", "readlink", path).startswith("/.scone/memory/")
        mounts = notes.kube("exec", pod, "--", "cat", "/proc/mounts").splitlines()
        assert [line.split()[2] for line in mounts if line.split()[1] == "/.scone/memory"] == ["tmpfs"]


def test_volume_is_said_to_be_unprotected(notes: Notes, kept: Path) -> None:
    """LIMIT of the software mode: what Redis keeps is on the node in clear; every preview says so."""
    text = notes.preview().text
    assert "the volume data of the service redis is not encrypted in software mode" in text
    assert NOTE.encode() in b"".join(path.read_bytes() for path in kept.rglob("*") if path.is_file())


def test_password_that_was_another_for_a_while_reaches_every_pod(notes: Notes) -> None:
    """Somebody changes the size of Redis' password at CAS; `up` puts the text right, and both pods get the new value.

    The preview says so: which secret is made anew, and that the release changes. The text of all policies is what the
    pods started with.
    """
    text = notes.run("pulumi", "config", "get", "scone:identity")
    del notes.transcripts[-1]
    address = f"{notes.cas.host}:{notes.cas.port}"
    trust: dict[str, Any] = {"tolerance": TOLERANCE, "cas_key": None, "connect_to": {}}
    beside = connect(address, **trust, identity=Identity.parse(text))
    found = beside.read(notes.cas_namespace)
    assert found is not None
    canonical: Any = scone_policy.parse(found.description_yaml).canonical()
    canonical["secrets"]["redis_password"]["size"] += 1
    beside.upload(scone_policy.parse(canonical).wire(predecessor=found.hash))
    before = {service: notes.pod_of(service)["metadata"]["uid"] for service in SECRETS}
    notes.refresh()
    assert "will generate the secret redis_password anew, because its size changes" in notes.preview().text
    assert any("helm" in urn and step["op"] == "update" for urn, step in notes.preview_steps().items())
    notes.up()
    for service, uid in before.items():
        assert notes.pod_of(service)["metadata"]["uid"] != uid
    assert notes.preview_steps() == {}


def test_secrets_are_nowhere(notes: Notes) -> None:
    """The keys, the shared password, and the program are in no state, preview, log, pod spec, release or image.

    They are what CAS generated, taken from the two pods; the search covers what Pulumi printed and keeps, the logs of
    the pods, the CAS and the stack, all that Kubernetes stores of the application, and the registry's storage.
    """
    planted = {path: notes.read_file(service, path) for service, paths in SECRETS.items() for path in paths}
    needles = {path: _body(content) for path, content in planted.items()}
    needles["the program"] = b"An API over TLS that keeps notes in Redis. Every key"
    notes.refresh()
    notes.preview()
    stored = notes.kube("get", "pods,deployments,configmaps,events,replicasets,persistentvolumeclaims", "-o", "json")
    for release in notes.get("secrets"):
        if release["type"].startswith("helm.sh/release"):
            stored += gzip.decompress(base64.b64decode(base64.b64decode(release["data"]["release"]))).decode()
    logs = "".join(notes.kube("logs", notes.pod_of(service)["metadata"]["name"]) for service in SECRETS)
    files = [notes.cas.log, *(path for path in Paths.of().log.iterdir() if path.is_file())]
    files += [path for path in notes.cas.state.rglob("*") if path.is_file()]
    written = notes.everything_written() + stored.encode() + logs.encode()
    assert b"SCONE_CONFIG_ID" in written
    assert [name for name, needle in needles.items() if needle in written] == []
    blobs = [path for path in (Paths.of().state / "registry").rglob("data") if path.is_file()]
    assert len(blobs) > 5
    for path in (*files, *blobs):
        content = path.read_bytes()
        found = [name for name, needle in needles.items() if needle in content]
        assert found == [], path


def test_nothing_changed_is_no_difference(notes: Notes) -> None:
    """A second preview wants nothing, the image that a container builder made included."""
    assert notes.preview_steps() == {}


def test_destroy_leaves_nothing(notes: Notes) -> None:
    """Last: release, claims and policies are gone; what Redis kept on the node is its owner's to remove. No pod waits
    to be killed (30 s): they end by SIGTERM, once they have served what was on its way (5 s).
    """
    notes.destroy()
    begin = time.monotonic()
    assert notes.resources() == {}
    notes.wait_until_gone("pods")
    assert time.monotonic() - begin < 25
    notes.wait_until_gone("persistentvolumeclaims")
    assert notes.get("deployments") == notes.get("persistentvolumeclaims") == []


def _body(content: str) -> bytes:
    """What is searched for: a password, or the middle of a key without its first and last line."""
    lines = [line for line in content.splitlines() if line and "-----" not in line]
    return lines[0].encode()
