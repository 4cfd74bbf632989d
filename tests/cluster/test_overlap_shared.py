"""`rollout: overlap` of services that share a secret: it stays the same for old and new pods, and moves with both."""

from collections.abc import Callable

import httpx
import pytest

from support.mesh import MeshProject

PROGRAM = """\
import hashlib, json, os, signal, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WHAT = json.dumps({"version": "first", "token": hashlib.sha256(os.environ["TOKEN"].encode()).hexdigest()}).encode()

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(WHAT)))
        self.end_headers()
        self.wfile.write(WHAT)

server = ThreadingHTTPServer(("", 8080), Answer)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""
MANIFEST = """\
apiVersion: scone/5.8
kind: genservice
environment:
  local:
    - {{name: SCONE_HEAP, value: 256M}}
    - {{name: TOKEN, value: $$SCONE::token$$}}
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
SECRETS = {"writer": "global: [{name: token, kind: ascii, size: 24}]", "reader": "import: [token]"}


@pytest.fixture(scope="module")
def mesh(new_mesh: Callable[..., MeshProject]) -> MeshProject:
    """A writer that defines a token and a reader that imports it, deployed with overlapping rollouts."""
    project = new_mesh()
    for name, secrets in SECRETS.items():
        (project.program / f"{name}.py").write_text(PROGRAM)
        (project.program / f"{name}.yaml").write_text(MANIFEST.format(name=name, secrets=secrets))
    services = "".join(f"  - name: {name}\n    image: $APP_IMAGE_REPO/{name}:1\n" for name in SECRETS)
    text = (project.program / "mesh.yaml").read_text()
    (project.program / "mesh.yaml").write_text(text[: text.index("services:\n")] + "services:\n" + services)
    project.edit("mesh.yaml", "      - name: API_USER\n        value: myself\n", "")
    project.edit("mesh.yaml", "value: 443", "value: 8080")
    project.edit("__main__.py", '["service.yaml"]', '["writer.yaml", "reader.yaml"],\n        "rollout": "overlap"')
    project.up()
    return project


def pods(mesh: MeshProject) -> dict[str, dict]:
    """Service → its one pod."""
    found = [item for item in mesh.get("pods") if "deletionTimestamp" not in item["metadata"]]
    assert len(found) == len(SECRETS), found
    return {item["metadata"]["labels"]["app.kubernetes.io/name"].rpartition("-")[2]: item for item in found}


def answers(mesh: MeshProject) -> dict[str, dict[str, str]]:
    """Service → what it says."""
    found = {}
    for name, pod in pods(mesh).items():
        found[name] = httpx.get(f"http://{pod['status']['podIP']}:8080", timeout=10, trust_env=False).json()
    return found


def test_both_have_one_secret(mesh: MeshProject) -> None:
    """The reader has the writer's token; no second `up` is needed."""
    said = answers(mesh)
    assert said["reader"]["token"] == said["writer"]["token"]
    assert mesh.preview_steps() == {}


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_change_of_one_keeps_the_secret(mesh: MeshProject, name: str) -> None:
    """A new revision of either rolls out alone, with the token that the other one has."""
    before, old = answers(mesh), pods(mesh)
    mesh.edit(f"{name}.py", '"first"', '"second"')
    assert "stays trusted beside the new one" in mesh.preview().text
    mesh.up()
    after, new = answers(mesh), pods(mesh)
    other = next(one for one in SECRETS if one != name)
    assert after[name] == {**before[name], "version": "second"}
    assert after[other] == before[other]
    assert new[other]["metadata"]["uid"] == old[other]["metadata"]["uid"]
    assert mesh.preview_steps() == {}


def test_failed_rollout_of_the_reader(mesh: MeshProject) -> None:
    """What was released still imports, also when its pod starts anew."""
    before = answers(mesh)
    mesh.edit("reader.py", "server = Thr", "raise SystemExit(3)\nserver = Thr")
    assert mesh.up(check=False).status != 0
    for item in mesh.get("pods"):
        if any(status.get("ready") for status in item["status"]["containerStatuses"]):
            mesh.kube("delete", "pod", item["metadata"]["name"], "--wait=true", "--grace-period=1")
    mesh.edit("reader.py", "raise SystemExit(3)\n", "")
    mesh.up()
    assert answers(mesh) == before
    assert mesh.preview_steps() == {}
