"""A mesh of many services goes up as one, and nothing is left to do then."""

import sys
from collections.abc import Callable

import pytest

from support import wide_mesh
from support.mesh import MeshProject


@pytest.mark.parametrize(
    "count", [8, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(1500)])], ids=lambda count: f"{count}"
)
def test_many_services(new_mesh: Callable[..., MeshProject], count: int) -> None:
    """All pods attest and run; a change of one service restarts that one alone. `-s` shows the times."""
    mesh = new_mesh()
    wide_mesh.write(mesh, count)
    seconds = wide_mesh.measure(mesh)
    sys.stdout.write(f"\n{wide_mesh.told(count, seconds)}\n")
    assert mesh.preview_steps() == {}
    pods = [item for item in mesh.get("pods") if "deletionTimestamp" not in item["metadata"]]
    assert len(pods) == count
    (changed,) = [item["metadata"]["name"] for item in pods if item["metadata"]["name"].startswith("hello-s0-")]
    oldest = min(item["metadata"]["creationTimestamp"] for item in pods)
    newest = max(pods, key=lambda item: item["metadata"]["creationTimestamp"])
    assert newest["metadata"]["name"] == changed
    assert newest["metadata"]["creationTimestamp"] > oldest
    assert "Hello second-s0" in mesh.wait_for_log(changed, "Hello")
