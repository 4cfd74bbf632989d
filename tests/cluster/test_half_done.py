"""An engine that is killed in the middle of an `up`: whatever was done by then, the next `up` finishes it."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable

import pytest

from support.mesh import MeshProject

ALIASED = 'pulumi.ResourceOptions(aliases=[pulumi.Alias(name="hello")])'


def killed_up(mesh: MeshProject, moment: str) -> None:
    """`pulumi up`, killed with its plugins as soon as it says `moment`."""
    command = ["pulumi", "up", "--yes", "--skip-preview", "--color=never", "--non-interactive"]
    path = shutil.which("pulumi", path=mesh.environment["PATH"])
    assert path is not None
    process = subprocess.Popen(
        [path, *command[1:]],
        cwd=mesh.folder,
        env=mesh.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if moment in " ".join(line.split()):
            os.killpg(process.pid, signal.SIGKILL)
            break
    else:
        pytest.fail(f"{moment!r} was never said:\n{''.join(said)}")
    mesh.transcripts += said
    process.wait(30)
    process.stdout.close()
    whole_state(mesh)
    mesh.pulumi("cancel", "--yes")


def whole_state(mesh: MeshProject) -> None:
    """Pulumi's file backend writes in place: a kill in that moment cuts its file, and the one before lies beside it."""
    (state,) = (mesh.backend / ".pulumi" / "stacks").rglob("dev.json")
    try:
        json.loads(state.read_text())
    except ValueError:
        shutil.copy(state.with_name("dev.json.bak"), state)


@pytest.mark.parametrize(
    "moment",
    [
        "ConfidentialImage hello-pythonapp creating",
        "SecurityPolicy hello-pythonapp creating",
        "SecurityPolicy hello-pythonapp created",
        "Release hello creating",
        "Rollout hello creating",
    ],
)
def test_first_up_that_was_killed(new_mesh: Callable[..., MeshProject], moment: str) -> None:
    """Image pushed; policy uploaded; Helm in the middle of it; released, nobody waited: one more `up` is all."""
    mesh = new_mesh()
    killed_up(mesh, moment)
    mesh.up()
    assert "Integrity OK" in mesh.log_until("Integrity OK")
    assert mesh.preview_steps() == {}


def test_updates_that_were_killed(new_mesh: Callable[..., MeshProject]) -> None:
    """With overlapping rollouts, too: killed before and after each step that writes, then one `up`, one revision.

    The program changes again each time: what was written and not kept in the state comes in by a refresh. The last time
    the component is renamed, with an alias, and killed when the new release is made and the old one still stands.
    """
    mesh = new_mesh()
    mesh.edit("__main__.py", '    "hello",\n    {\n', '    "hello",\n    {\n        "rollout": "overlap",\n')
    # Where rollouts overlap, a service with a port is ready when it listens; this program does not.
    mesh.edit("mesh.yaml", "      - name: APP_SERVICE_PORT\n        value: 443\n", "")
    mesh.up()
    name = "myself"
    for new, moment in (
        ("second", "SecurityPolicy hello-pythonapp updating"),
        ("third", "Rollout hello updating"),
        ("fourth", "ReleasedRevision hello-pythonapp updating"),
        ("fifth", "Rollout shop creating"),
    ):
        if name == "fourth":
            mesh.edit("__main__.py", '    "hello",\n', '    "shop",\n')
            mesh.edit("__main__.py", "    },\n)\n", f"    }},\n    {ALIASED},\n)\n")
        mesh.edit("mesh.yaml", f"value: {name}", f"value: {new}")
        name = new
        killed_up(mesh, moment)
        mesh.refresh()
    assert "was retired" not in mesh.up().text
    mesh.kube("wait", "pods", "-l", "app.kubernetes.io/instance=hello", "--for=delete", "--timeout=60s")
    assert f"Hello, '{name}'" in mesh.log_until(name)
    mesh.kube("delete", "pod", mesh.pod())
    assert f"Hello, '{name}'" in mesh.log_until(name)
    assert mesh.workload().startswith("shop")
    assert mesh.preview_steps() == {}
    assert mesh.refresh().status == 0
    assert mesh.preview_steps() == {}
