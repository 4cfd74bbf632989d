"""Someone with rights on the cluster or the registry changes what runs: no effect, or a refusal that says why."""

import base64
import re
from collections.abc import Callable

import pytest

from support.mesh import MeshProject
from support.tamper import Tamperer


def test_host_values_have_no_effect(mesh: MeshProject) -> None:
    """Environment and arguments put into the Deployment reach nothing: the program gets what the policy says."""
    changed = {
        "env": [{"name": "API_USER", "value": "mallory"}, {"name": "LD_PRELOAD", "value": "/x.so"}],
        "args": ["--evil"],
    }
    with mesh.patched(changed):
        log = mesh.log_until("Integrity OK")
        assert "Hello, 'myself'" in log
        assert "mallory" not in log
        assert "evil" not in log


def test_other_command_gets_nothing(mesh: MeshProject) -> None:
    """Another command in the Deployment starts something else, which has neither the program nor a secret."""
    script = "import os; print('mine', sorted(os.environ), os.listdir('/python')); import time; time.sleep(60)"
    with mesh.patched({"command": ["/usr/bin/python3", "-u", "-c", script], "startupProbe": None}):
        log = mesh.log_until("mine")
    assert "API_" not in log
    assert log.rstrip().endswith("[]")


def test_other_heap_is_refused(mesh: MeshProject) -> None:
    """SCONE_HEAP is part of the measurement: another value is another program."""
    with mesh.patched({"env": [{"name": "SCONE_HEAP", "value": "1G"}]}):
        code, line = mesh.refusal()
    _refused_measurement(code, line)


def test_changed_interpreter_is_refused(mesh: MeshProject) -> None:
    """One byte of the interpreter differs: the measurement is unexpected, and the one that was brought is shown."""
    image = Tamperer(mesh.outputs()["images"][mesh.service])
    path = mesh.kube("exec", mesh.pod(), "--", "readlink", "-f", "/usr/bin/python3").strip()
    content = mesh.run("kubectl", "-n", mesh.kubernetes_namespace, "exec", mesh.pod(), "--", "base64", "-w0", path)
    del mesh.transcripts[-1]
    binary = bytearray(base64.b64decode(content))
    binary[-1] ^= 1
    with mesh.patched({"image": image.with_files({path: bytes(binary)})}):
        code, line = mesh.refusal()
    _refused_measurement(code, line)


def test_changed_program_is_refused(mesh: MeshProject) -> None:
    """One bit of the encrypted program differs: refused before anything runs."""
    image = Tamperer(mesh.outputs()["images"][mesh.service])
    (blob,) = (path for path in image.layer(-1) if "/blobs/" in f"/{path}")
    content = bytearray(image.layer(-1)[blob])
    content[-1] ^= 1
    with mesh.patched({"image": image.with_files({blob: bytes(content)}, mode=0o644)}):
        code, line = mesh.refusal()
    assert code == 66
    assert re.search(r"Integrity check failed: .*expected.*found", line), line


def test_changed_library_is_refused(mesh: MeshProject) -> None:
    """A library of the base image was replaced: refused, naming the file, expected and found."""
    image = Tamperer(mesh.outputs()["images"][mesh.service])
    library = "/usr/lib/python3.11/json/__init__.py"
    with mesh.patched({"image": image.with_files({library: b"print('mine')\n"}, mode=0o644)}):
        code, line = mesh.refusal()
    assert code == 66
    assert library in line
    assert "expected" in line
    assert "found" in line


def test_added_file_is_refused(mesh: MeshProject) -> None:
    """A file that was not there when the image was built could be imported: refused, naming it."""
    image = Tamperer(mesh.outputs()["images"][mesh.service])
    added = "/usr/lib/python3.11/sitecustomize_extra.py"
    with mesh.patched({"image": image.with_files({added: b"print('mine')\n"}, mode=0o644)}):
        code, line = mesh.refusal()
    assert code == 66
    assert added in line


def test_mount_is_refused(mesh: MeshProject) -> None:
    """A volume over a directory of the image could bring other files: refused, naming the mount."""
    mounted = "/usr/lib/python3.11/json"
    with mesh.patched(
        {"volumeMounts": [{"name": "mine", "mountPath": mounted}]}, pod={"volumes": [{"name": "mine", "emptyDir": {}}]}
    ):
        code, line = mesh.refusal()
    assert code == 66
    assert mounted in line


def test_writable_root_is_refused(mesh: MeshProject) -> None:
    """What is writable could change after it was verified: refused."""
    with mesh.patched({"securityContext": {"readOnlyRootFilesystem": False}}):
        code, line = mesh.refusal()
    assert code == 66
    assert "root file system is writable" in line


def test_older_image_is_refused(new_mesh: Callable[..., MeshProject]) -> None:
    """After an update the image from before, though once trusted and well signed, does not start any more."""
    mesh = new_mesh()
    mesh.up()
    older = mesh.outputs()["images"][mesh.service]
    mesh.edit("print_env.py", "Integrity OK", "Integrity is OK")
    mesh.up()
    mesh.log_until("Integrity is OK")
    assert mesh.outputs()["images"][mesh.service] != older
    with mesh.patched({"image": older}):
        code, line = mesh.refusal()
    assert code == 66
    assert re.search(r"expected.*found", line), line


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [pytest.param("debug-mode, ", "", ["debug-mode", "tolerate"], id="policy-without-debug-mode")],
)
def test_untolerated_evidence_is_refused(
    new_mesh: Callable[..., MeshProject], old: str, new: str, words: list[str]
) -> None:
    """A policy that tolerates no debug enclave refuses simulated evidence; `up` fails with the launcher's own line."""
    mesh = new_mesh()
    mesh.edit("mesh.yaml", old, new)
    done = mesh.up(check=False)
    assert done.status != 0
    assert "Attestation failed" in done.text
    assert [word for word in words if word not in done.text] == []
    assert "Traceback" not in done.text


def _refused_measurement(code: int, line: str) -> None:
    assert code == 65, line
    assert re.search(r"Attestation failed: unexpected measurement.*: found [0-9a-f]{64}", line), line
    assert "expected " not in line.replace("unexpected ", "")
