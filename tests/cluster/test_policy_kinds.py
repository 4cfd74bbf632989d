"""A policy that moves between resources of different kinds and meshes: the secrets that it holds come along."""

import hashlib
import re
from collections.abc import Callable

from support.mesh import MeshProject
from support.software_enclave import MEASUREMENT, EnclavePort

SWITCHES = "--only_for_testing-debug --only_for_testing-ignore-signer --only_for_testing-trust-any -C -G -S"
ALONE = """
import pulumi
from pulumi_scone import CasNamespace, SecurityPolicy

config = pulumi.Config("pulumi-scone")
place = {{"namespace": "{namespace}", "cas_url": config.require("casUrl"), "tolerance": "{switches}"}}
above = CasNamespace("ns", place)
SecurityPolicy("alone", cas=above.trust, opts=pulumi.ResourceOptions(depends_on=[above]), policy={{
    "name": "{namespace}/pythonapp", "version": "0.3.10",
    "secrets": {{"password": {{"kind": "ascii", "size": 10}}}},
    "services": {{"pythonapp": {{"command": "/app", "environment": {{"API_PASSWORD": "$$SCONE::password$$"}},
                              "attestation": {{"mrenclave": "{measurement}"}}}}}},
    "security": {{"attestation": {{"tolerate": {{"debug-mode": True}}}}}},
}})
"""


def whole_up(mesh: MeshProject) -> tuple[int, str]:
    """`pulumi up` as people run it: what the preview refuses is not begun."""
    done = mesh.pulumi("up", "--yes", "--color=never", check=False)
    return done.status, done.text


def carried_out(mesh: MeshProject) -> str:
    """What an `up` said, which must succeed and retire nothing."""
    status, text = whole_up(mesh)
    assert status == 0, text
    assert "was retired" not in text
    return text


def attested(mesh: MeshProject) -> str:
    """The checksum of the secret that an attested program is given."""
    session = f"{mesh.cas_namespace}/pythonapp/pythonapp"
    status, found = EnclavePort(mesh.cas.host, mesh.cas.enclave_port).attest(session)
    assert status == 200, found
    return hashlib.sha256(found["environment"]["API_PASSWORD"].encode()).hexdigest()


def restarted(mesh: MeshProject) -> dict[str, str]:
    """Deployment → the checksum of the secret of its pod, which was started again."""
    found = {}
    mesh.kube("rollout", "restart", "deployment")
    for item in mesh.get("deployments"):
        name = item["metadata"]["name"]
        mesh.kube("rollout", "status", "deployment", name, "--timeout=60s")
        newest = max(
            (pod for pod in mesh.get("pods") if pod["metadata"]["name"].startswith(f"{name}-")),
            key=lambda pod: pod["metadata"]["creationTimestamp"],
        )["metadata"]["name"]
        found[name] = re.findall(r"API_PASSWORD = '(\w{64})'", mesh.wait_for_log(newest, "Integrity OK"))[-1]
    return found


def assert_settled(mesh: MeshProject) -> None:
    """A preview that looks at CAS and cluster has nothing to do, and nothing to tell."""
    text = mesh.pulumi("preview", "--refresh", "--diff", "--color=never").text
    for word in ("to create", "to update", "to delete", "to replace", "changed since", "belongs to", "error"):
        assert word not in text, text


def test_between_security_policy_and_mesh(new_mesh: Callable[..., MeshProject]) -> None:
    """A policy of its own becomes a mesh's, and one of its own again, with its namespace: the secret stays the same."""
    mesh = new_mesh()
    program, whole = mesh.program / "__main__.py", (mesh.program / "__main__.py").read_text()
    alone = ALONE.format(namespace=mesh.cas_namespace, switches=SWITCHES, measurement=MEASUREMENT)
    program.write_text(alone)
    mesh.up()
    checksum = attested(mesh)
    program.write_text(whole)
    carried_out(mesh)
    assert restarted(mesh) == {"hello-pythonapp": checksum}
    assert_settled(mesh)
    program.write_text(alone)
    carried_out(mesh)
    assert attested(mesh) == checksum
    assert_settled(mesh)
    program.write_text(whole)
    carried_out(mesh)
    assert restarted(mesh) == {"hello-pythonapp": checksum}


def test_split_and_merged(new_mesh: Callable[..., MeshProject]) -> None:
    """Two services of one mesh become two meshes, and one again, in one namespace at CAS: both keep their secrets."""
    mesh = new_mesh()
    program, whole = mesh.program / "__main__.py", (mesh.program / "__main__.py").read_text()
    one = (mesh.program / "mesh.yaml").read_text()
    service = "  - name: {0}\n    image: $APP_IMAGE_REPO/python_hello_user:{1}\n"
    first, second = service.format("pythonapp", 1), service.format("other", 2)
    (mesh.program / "mesh.yaml").write_text(one + second)
    (mesh.program / "second.yaml").write_text(one.replace(first, second))
    manifest = (mesh.program / "service.yaml").read_text()
    (mesh.program / "other.yaml").write_text(manifest.replace("python_hello_user:1", "python_hello_user:2"))
    both = whole.replace('["service.yaml"]', '["service.yaml", "other.yaml"]')
    program.write_text(both)
    mesh.up()
    before = restarted(mesh)
    assert len(set(before.values())) == 2
    (mesh.program / "first.yaml").write_text(one)
    again = whole[whole.index("mesh = MeshDeployment(") : whole.index("pulumi.export")]
    again = again.replace('"hello",', '"second",').replace("mesh.yaml", "second.yaml").replace("service.", "other.")
    program.write_text(whole.replace("mesh.yaml", "first.yaml") + again)
    carried_out(mesh)
    split = {"hello-pythonapp": before["hello-pythonapp"], "second-other": before["hello-other"]}
    assert restarted(mesh) == split
    assert_settled(mesh)
    program.write_text(both)
    carried_out(mesh)
    assert restarted(mesh) == before
    assert_settled(mesh)
