"""A running confidential service: what it does, what nobody sees, and the limits of the software mode as they are."""

import base64
import gzip
import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
from tools.devstack.paths import Paths

from support.mesh import MeshProject


@pytest.fixture(scope="module")
def password(mesh: MeshProject) -> str:
    """The generated secret, taken by the one way that the software mode leaves open (test_limit_proc_environ)."""
    environment = mesh.kube("exec", mesh.pod(), "--", "cat", "/proc/1/environ")
    (found,) = (item for item in environment.split("\0") if item.startswith("API_PASSWORD="))
    return found.removeprefix("API_PASSWORD=")


def test_program_runs_with_its_secret(mesh: MeshProject) -> None:
    """The program got its environment from CAS, its secret from inside CAS, and unchanged arguments."""
    log = mesh.log_until("Integrity OK")
    assert "Hello, 'myself' - thanks for passing along the API_PASSWORD" in log
    assert re.search(r"Checksum of API_PASSWORD = '[0-9a-f]+'", log)


def test_second_up_changes_nothing(mesh: MeshProject) -> None:
    """An unchanged program is no update of anything: not of a policy, an image, or the release."""
    assert mesh.preview_steps() == {}
    text = mesh.up().text
    assert re.search(r"Resources:\n +\d+ unchanged\n", text), text


def test_exec_env_shows_no_secret(mesh: MeshProject, password: str) -> None:
    """A process started by `kubectl exec` inherits the pod's environment, which has nothing of the policy."""
    shown = mesh.kube("exec", mesh.pod(), "--", "env")
    assert "SCONE_CONFIG_ID=" in shown
    assert password not in shown
    assert "API_" not in shown


def test_pod_spec_and_helm_release_show_no_secret(mesh: MeshProject, password: str) -> None:
    """Whatever Kubernetes stores of the application has neither the secret nor the program's variables."""
    stored = mesh.kube("get", "pods,deployments,configmaps,events,replicasets", "-o", "json")
    for release in mesh.get("secrets"):
        if release["type"].startswith("helm.sh/release"):
            stored += gzip.decompress(base64.b64decode(base64.b64decode(release["data"]["release"]))).decode()
    assert "SCONE_CONFIG_ID" in stored
    assert password not in stored
    assert "API_USER" not in stored


def test_planted_secrets_are_nowhere(mesh: MeshProject, password: str) -> None:
    """The password, the program's source, the image key and the identity are in no state, transcript or log in clear.

    The logs are those of the CAS, the pod, the registry, containerd, the kubelet and the rest of Kubernetes.
    """
    mesh.refresh()
    mesh.preview()
    logs = [mesh.cas.log, *(path for path in Paths.of().log.iterdir() if path.is_file())]
    written = mesh.everything_written() + mesh.log_until("Integrity OK").encode()
    written += b"".join(path.read_bytes() for path in logs)
    planted = _planted(mesh, password)
    found = [name for name, value in planted.items() if value in written]
    assert found == []
    assert mesh.service.encode() in written


def test_registry_holds_no_secret(mesh: MeshProject, password: str) -> None:
    """No blob in the registry's storage contains the password, the image key, or a line or name of the program."""
    storage = Paths.of().state / "registry"
    planted = _planted(mesh, password) | {"file name": b"print_env.py"}
    blobs = [path for path in storage.rglob("data") if path.is_file()]
    assert len(blobs) > 3
    for path in blobs:
        content = path.read_bytes()
        assert [name for name, value in planted.items() if value in content] == [], path.name


def test_cas_stores_secrets_sealed(mesh: MeshProject, password: str) -> None:
    """Who copies the CAS's database without its sealing key does not have the password."""
    files = [path for path in mesh.cas.state.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert password.encode() not in path.read_bytes(), path.name


def test_pod_is_hardened(mesh: MeshProject) -> None:
    """The pod runs as nobody, read-only, without capabilities and without a token for the cluster."""
    (pod,) = [item for item in mesh.get("pods") if item["metadata"]["name"] == mesh.pod()]
    container = pod["spec"]["containers"][0]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "@sha256:" in container["image"]


def test_limit_proc_environ(mesh: MeshProject, password: str) -> None:
    """LIMIT of the software mode: who may exec into the pod as its user reads the program's environment."""
    checksum = hashlib.sha256(password.encode()).hexdigest()
    shown = re.search(r"Checksum of API_PASSWORD = '([0-9a-f]+)'", mesh.log_until("Integrity OK"))
    assert shown is not None
    assert checksum.startswith(shown[1])


def test_limit_decrypted_files(mesh: MeshProject) -> None:
    """LIMIT of the software mode: the decrypted program lies in a memory mount that exec can read."""
    assert "Integrity OK" in mesh.kube("exec", mesh.pod(), "--", "cat", "/python/print_env.py")


def test_limit_forged_evidence(mesh: MeshProject, password: str, tmp_path: Path) -> None:
    """LIMIT of the software mode: who reaches the enclave port and knows the measurement can forge evidence."""
    driver = tmp_path / "attest"
    source = Path(__file__).parents[2] / "provider" / "launcher"
    subprocess.run(["go", "build", "-o", str(driver), "./cmd/attest"], cwd=source, check=True)
    policy = next(
        item for item in mesh.resources().values() if item.get("id") == f"{mesh.cas_namespace}/{mesh.service}"
    )
    measurement = policy["outputs"]["policy"]["services"][mesh.service]["attestation"]["mrenclave"]
    (deployment,) = mesh.get("deployments")
    variables = {
        item["name"]: item.get("value") for item in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    options = {
        "-cas": f"{mesh.cas.host}:{mesh.cas.enclave_port}",
        "-key": policy["outputs"]["attested_key"],
        "-config-id": variables["SCONE_CONFIG_ID"],
        "-measurement": measurement,
    }
    command = [str(driver), *(part for option in options.items() for part in option)]
    forged = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(forged.stdout)["environment"]["API_PASSWORD"] == password


def _planted(mesh: MeshProject, password: str) -> dict[str, bytes]:
    source = (mesh.program / "print_env.py").read_text().splitlines()
    own = [line.strip() for line in source if len(line) > 24 and not line.startswith(("from ", "import "))]
    lines = {f"source line {number}": line.encode() for number, line in enumerate(own)}
    shown = mesh.run("pulumi", "config", "get", "scone:imageKey")
    identity = mesh.run("pulumi", "config", "get", "scone:identity")
    del mesh.transcripts[-2:]
    body = [line for line in identity.splitlines() if line and "-----" not in line]
    return {"password": password.encode(), "image key": shown.strip().encode(), "identity": body[0].encode(), **lines}
