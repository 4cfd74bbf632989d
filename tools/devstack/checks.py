"""Lint and tests, phase by phase, with the time that each took."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths
from tools.devstack.progress import duration
from tools.devstack.variables import environment

SUITES = ("unit", "contract", "fuzz", "engine", "cluster")
_SOURCES = ("components", "provider", "tools", "tests", "bench")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One command of a check; `silent` ones must also print nothing."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    silent: bool = False


def lint_phases(paths: Paths) -> Iterator[Phase]:
    """Style, types, and the same for Go."""
    bin_, root = paths.venv / "bin", paths.root
    yield Phase(name="ruff check", argv=(str(bin_ / "ruff"), "check", "."), cwd=root)
    yield Phase(name="ruff format", argv=(str(bin_ / "ruff"), "format", "--check", "."), cwd=root)
    yield Phase(
        name="mypy",
        argv=(str(bin_ / "mypy"), *(name for name in _SOURCES if any((root / name).rglob("*.py")))),
        cwd=root,
    )
    for program in sorted((root / "examples").glob("*/__main__.py")):  # one by one: all are modules named __main__
        yield Phase(name=f"mypy {program.parent.name}", argv=(str(bin_ / "mypy"), str(program)), cwd=root)
    launcher = root / "provider" / "launcher"
    if (launcher / "go.mod").exists():
        gofmt = shutil.which("gofmt") or "/usr/local/go/bin/gofmt"
        yield Phase(name="gofmt", argv=(gofmt, "-l", "."), cwd=launcher, silent=True)
        yield Phase(name="go vet", argv=("go", "vet", "./..."), cwd=launcher)
        yield Phase(name="go test", argv=("go", "test", "./..."), cwd=launcher)


def suite_phases(paths: Paths, *, suites: tuple[str, ...], long: bool) -> Iterator[Phase]:
    """One pytest run per suite that exists, the fast ones first."""
    for suite in suites:
        folder = paths.root / "tests" / suite
        if any(folder.rglob("test_*.py")):
            chosen = () if long else ("-m", "not long")
            yield Phase(
                name=f"tests/{suite}",
                argv=(str(paths.venv / "bin" / "python"), "-m", "pytest", "-q", *chosen, str(folder)),
                cwd=paths.root,
            )


def run(paths: Paths, phases: Iterator[Phase]) -> None:
    """Run all phases, also after one has failed, and print what each took. Raises DevstackError naming the failed."""
    variables = environment(paths) | {
        "PYTHONPATH": ":".join(str(paths.root / name) for name in ("components", "provider", ".")),
        "CGO_ENABLED": "0",
    }
    failed, times = [], []
    for phase in phases:
        print(f"== {phase.name}", flush=True)
        started = time.monotonic()
        ok = _passes(phase, variables)
        times.append(f"{phase.name} {duration(time.monotonic() - started)}{'' if ok else ' FAILED'}")
        if not ok:
            failed.append(phase.name)
    print("== " + ", ".join(times), flush=True)
    if failed:
        raise DevstackError(f"failed: {', '.join(failed)}", where="checks", fix="the output of each is above")


def _passes(phase: Phase, variables: dict[str, str]) -> bool:
    try:
        if phase.silent:
            done = subprocess.run(phase.argv, cwd=phase.cwd, env=variables, capture_output=True, text=True, check=False)
            sys.stdout.write(done.stdout + done.stderr)
            return not done.returncode and not done.stdout
        return not subprocess.run(phase.argv, cwd=phase.cwd, env=variables, check=False).returncode
    except FileNotFoundError:
        print(f"{phase.argv[0]} is not there")
        return False
