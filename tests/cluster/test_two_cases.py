"""Two services on two CASes: one CAS keeps their policies, the other what they share; siblings find each other."""

import hashlib
import subprocess
from collections.abc import Callable, Iterator

import pytest

from scone_provider.cas.client import connect
from support.embedded_cas import EmbeddedCas
from support.mesh import MeshProject

ADDRESS = "10.123.0.3"  # a second CAS, beside the tests' first one
TOLERANCE = "--only_for_testing-debug --only_for_testing-trust-any --only_for_testing-ignore-signer"
MESH = """\
apiVersion: scone/5.8
kind: mesh
cas:
  - name: cas
    alias: [security, access, attestation]
    cas_url: $CAS_URL
    tolerance: "{tolerance}"
  - name: image
    cas_url: "{other}"
    tolerance: "{tolerance}"
policy:
  namespace: {namespace}
  tolerate: debug-mode
env:
  - service: global
    env:
      - {{name: API_HOST, value: "{{{{release}}}}-api"}}
      - {{name: imagePullSecrets, value: ""}}
  - service: api
    env:
      - {{name: APP_SERVICE_PORT, value: 8080}}
services:
  - {{name: api, image: $APP_IMAGE_REPO/api:1}}
  - {{name: user, image: $APP_IMAGE_REPO/user:1}}
"""
MANIFEST = """\
apiVersion: scone/5.8
kind: genservice
environment:
  local:
    - {{name: TOKEN, value: "$$SCONE::token$$"}}
  global:
    - name: API_HOST
secrets:
  {secrets}
build:
  name: {name}
  kind: python
  to: $APP_IMAGE_REPO/{name}:1
  pwd: /python
  command: python3 {name}.py
  copy: [{name}.py]
"""
API = """\
import hashlib, http.server, os

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(hashlib.sha256(os.environ["TOKEN"].encode()).hexdigest().encode())

http.server.HTTPServer(("", 8080), Answer).serve_forever()
"""
USER = """\
import hashlib, os, time, urllib.request

mine = hashlib.sha256(os.environ["TOKEN"].encode()).hexdigest()
while True:
    try:
        theirs = urllib.request.urlopen(f"http://{os.environ['API_HOST']}:8080/", timeout=5).read().decode()
        print("Siblings agree on", mine if mine == theirs else "nothing", flush=True)
    except OSError as error:
        print("Not yet:", error, flush=True)
    time.sleep(1)
"""


@pytest.fixture(scope="module")
def mesh(new_mesh: Callable[..., MeshProject]) -> MeshProject:
    """Both services' files in the example's place, not deployed yet."""
    project = new_mesh()
    text = MESH.format(tolerance=TOLERANCE, other=ADDRESS, namespace=project.cas_namespace)
    (project.program / "mesh.yaml").write_text(text)
    shared = {"api": "global: [{name: token, kind: ascii, size: 30}]", "user": "import: [token]"}
    for name, program in (("api", API), ("user", USER)):
        (project.program / f"{name}.yaml").write_text(MANIFEST.format(name=name, secrets=shared[name]))
        (project.program / f"{name}.py").write_text(program)
    project.edit("__main__.py", '["service.yaml"]', '["api.yaml", "user.yaml"]')
    return project


@pytest.fixture(scope="module")
def other(mesh: MeshProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCas]:
    """The CAS of what is shared, which lets the application's speak for the application's namespace."""
    first = f"{mesh.cas.host}:{mesh.cas.port}"
    key = connect(first, tolerance=TOLERANCE, cas_key=None, connect_to={}, identity=None).key_hash
    subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "scone0"], check=True)
    trusted = ("--trusted-peer", f"{key}={mesh.cas_namespace}")
    server = EmbeddedCas(tmp_path_factory.mktemp("other"), host=ADDRESS, options=trusted)
    server.start()
    yield server
    mesh.destroy(check=False)
    server.stop()
    subprocess.run(["ip", "address", "del", f"{ADDRESS}/32", "dev", "scone0"], check=True)


def test_policies_on_one_cas_and_secrets_from_the_other(mesh: MeshProject, other: EmbeddedCas) -> None:
    """Both services get the one secret that the other CAS made, and reach each other by `<release>-<service>`."""
    key = connect(
        f"{other.host}:{other.port}", tolerance=TOLERANCE, cas_key=None, connect_to={}, identity=None
    ).key_hash
    mesh.up()
    resources = mesh.resources()
    held = resources["pulumi-python:dynamic/scone:SecurityPolicy::hello-shared"]["inputs"]
    assert held["cas"]["url"] == ADDRESS
    assert list(held["policy"]["secrets"]) == ["token"]
    for service in ("api", "user"):
        policy = resources[f"pulumi-python:dynamic/scone:SecurityPolicy::hello-{service}"]["inputs"]
        assert policy["cas"]["url"] == mesh.cas.host
        imported = policy["policy"]["secrets"]["token"]["import"]
        assert imported == {"session": mesh.cas_namespace, "secret": "token", "cas_url": ADDRESS, "cas_key": key}
    pod = next(item["metadata"]["name"] for item in mesh.get("pods") if "user" in item["metadata"]["name"])
    log = mesh.wait_for_log(pod, "Siblings agree on ")
    agreed = log.partition("Siblings agree on ")[2].split()[0]
    assert len(agreed) == hashlib.sha256().digest_size * 2
    assert mesh.preview_steps() == {}


def test_other_cas_goes_and_nothing_is_left(mesh: MeshProject, other: EmbeddedCas) -> None:
    """Destroy retires the policies on both CASes."""
    assert other.running
    mesh.destroy()
    assert mesh.resources() == {}
    assert mesh.get("deployments") == []
