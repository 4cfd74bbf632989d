"""The project's virtual environment, made again when what it is installed from has changed."""

import sys
from pathlib import Path

from tools.devstack import files
from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths
from tools.devstack.steps import Job

_OLDEST = (3, 11)


def _stamp(paths: Paths) -> Path:
    return paths.venv / "devstack.stamp"


def _fingerprint(paths: Paths) -> str:
    launcher = paths.root / "provider" / "launcher"
    sources = [
        file
        for file in launcher.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.endswith("_test.go")
    ]
    return files.digest_of(paths.root, [paths.root / "pyproject.toml", paths.constraints, *sources])


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
        "--editable",
        ".[dev]",
        cwd=paths.root,
        environment=environment,
    )
    files.write(_stamp(paths), fingerprint)
