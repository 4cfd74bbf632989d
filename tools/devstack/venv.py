"""The project's virtual environment, made again when what it is installed from has changed."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.devstack import files
from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths
from tools.devstack.steps import Job, Step

_OLDEST = (3, 11)
_LOCK_HEAD = "# Written by `make lock`: what lint and tests run with. The package itself asks for lower bounds only."


def _stamp(paths: Paths) -> Path:
    return paths.venv / "devstack.stamp"


def _fingerprint(paths: Paths) -> str:
    launcher = paths.root / "provider" / "launcher"
    sources = [
        file
        for file in launcher.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.endswith("_test.go")
    ]
    return files.digest_of(paths.root, [paths.root / "pyproject.toml", paths.constraints, paths.lock, *sources])


def is_ready(paths: Paths) -> bool:
    """Whether the environment holds the project as it stands: same dependencies, same launcher."""
    stamp = _stamp(paths)
    program = paths.venv / "bin" / "pulumi-scone"
    return program.is_file() and stamp.is_file() and stamp.read_text() == _fingerprint(paths)


def make(job: Job, paths: Paths, *, environment: dict[str, str]) -> None:
    """Make or mend the environment and install the project into it, editable, with its tools for development."""
    if sys.version_info < _OLDEST:
        raise DevstackError(f"Python {sys.version.split()[0]} is too old", fix="run with Python 3.11 or later")
    fingerprint = _fingerprint(paths)
    _stamp(paths).unlink(missing_ok=True)
    if not (paths.venv / "bin" / "python").exists() or not job.succeeds(
        paths.venv / "bin" / "python", "-m", "pip", "--version"
    ):
        try:
            job.command(sys.executable, "-m", "venv", "--clear", paths.venv)
        except DevstackError as error:
            raise DevstackError(
                error.what, fix="install Python's venv module (Debian: apt-get install python3-venv)"
            ) from None
    job.command(
        paths.venv / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        paths.constraints,
        "--constraint",
        paths.lock,
        "--editable",
        ".[dev]",
        cwd=paths.root,
        environment=environment,
    )
    files.write(_stamp(paths), fingerprint)


def lock_step(paths: Paths, *, environ: Mapping[str, str]) -> Step:
    """Resolves the newest versions that the constraints allow and writes them to `paths.lock`; installs nothing."""
    return Step(
        name="lock",
        is_ready=lambda _: False,
        run=lambda job: _lock(job, paths, environment=dict(environ)),
        estimate=60,
        fix="check that PyPI can be reached, then run this again",
    )


def _lock(job: Job, paths: Paths, *, environment: dict[str, str]) -> None:
    report = paths.state / "lock.json"
    wanted = ("--constraint", paths.constraints, "--editable", ".[dev]")
    options = ("--quiet", "--dry-run", "--ignore-installed", "--report", report)
    program = (paths.venv / "bin" / "python", "-m", "pip", "install")
    job.command(*program, *options, *wanted, cwd=paths.root, environment=environment)
    found = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    versions = {re.sub(r"[-_.]+", "-", item["name"]).lower(): item["version"] for item in found}
    lines = sorted(f"{name}=={version}" for name, version in versions.items() if name != "pulumi-scone")
    files.write(paths.lock, "".join(f"{line}\n" for line in [_LOCK_HEAD, *lines]), mode=0o644)
