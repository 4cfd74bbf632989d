"""State and processes of a Pulumi project in the hands of others: an `up` that is killed, a state that is edited."""

import base64
import json
import os
import pickletools
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from support.pulumi_project import PulumiProject

HANGING = """
import pathlib, time
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Hanging(ResourceProvider):
    def create(self, props):
        import pathlib, time

        pathlib.Path("started").write_text("hanging")
        time.sleep(120)
        return CreateResult("x", {})


class Hang(Resource, module="test", name="Hang"):
    pass


Hang(Hanging(), "hang", {}, pulumi.ResourceOptions(depends_on=[found]))
"""
"""The end of a program: a resource whose creation waits for `found`, and hangs. The engine deletes nothing before."""


def killed_when_hanging(project: PulumiProject, *arguments: str) -> None:
    """`pulumi up` of a program that ends in `HANGING`, killed with all its children there; its lock is taken off."""
    started = project.folder / "started"
    with subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", *arguments],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not started.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    started.unlink()
    project.pulumi("cancel", "--yes")


def edit_state(project: PulumiProject, change: Callable[[dict[str, Any]], None]) -> None:
    """Export the state, change it, import it."""
    state = project.state()
    change(state)
    project.pulumi("stack", "import", stdin=json.dumps(state))


def with_other_pickles(state: dict[str, Any]) -> None:
    """Each dynamic resource's provider as another Python or `dill` writes it: the same object in other bytes."""
    for resource in state["deployment"]["resources"]:
        for props in (resource.get("inputs", {}), resource.get("outputs", {})):
            if "__provider" in props:
                shorter = pickletools.optimize(base64.b64decode(props["__provider"]))
                props["__provider"] = base64.b64encode(shorter).decode()
