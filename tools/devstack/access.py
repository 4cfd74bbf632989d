"""Access to a cluster of the user's own: the part of their kubeconfig that names it, in a file of ours."""

import json
from collections.abc import Mapping
from pathlib import Path

from tools.devstack import files
from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths
from tools.devstack.settings import Target
from tools.devstack.steps import Job, Step
from tools.devstack.variables import kubeconfig

_FIX = "see kubectl config get-contexts"


def step(paths: Paths, *, target: Target, environ: Mapping[str, str]) -> Step:
    """Writes that file for the target's context. The user's own kubeconfig is only read."""
    file = kubeconfig(paths, target=target)
    return Step(
        name="access",
        is_ready=lambda _: _is_for(target, file),
        run=lambda job: _write(job, file, target=target, environ=environ),
        estimate=1,
        fix=_FIX,
    )


def _write(job: Job, file: Path, *, target: Target, environ: Mapping[str, str]) -> None:
    view = ("kubectl", "config", "view", "--minify", "--flatten", "--context", target.context, "-o", "json")
    answer = json.loads(job.command(*view, environment=environ))
    if not answer.get("clusters"):
        raise DevstackError(f"kubectl knows no context {target.context!r}", fix=_FIX)
    files.write_json(file, answer | {"current-context": target.context})


def _is_for(target: Target, file: Path) -> bool:
    value = files.read_json(file)
    return bool(value) and value["current-context"] == target.context
