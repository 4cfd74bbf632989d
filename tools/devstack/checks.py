"""Lint and tests, phase by phase, with the time that each took; what waits for other programs runs beside another."""

import itertools
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths
from tools.devstack.progress import duration
from tools.devstack.variables import environment

SUITES = ("unit", "contract", "attacks", "fuzz", "upgrade", "engine", "cluster")
_BESIDE = ("engine", "cluster")
"""Suites that run at the same time: both wait for other programs most of theirs."""
_IN_ORDER = ("cluster",)
"""Suites whose order stays: the tests of a file share one deployment, because each takes a minute to make."""
_SPREAD = ("unit", "contract", "attacks")
"""Suites whose files share nothing, so that pytest-xdist spreads them over the cores."""
_SOURCES = ("components", "provider", "tools", "tests", "bench")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One command of a check; `silent` ones must also print nothing; neighbours with `beside` run at the same time."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    silent: bool = False
    beside: bool = False


def lint_phases(paths: Paths) -> Iterator[Phase]:
    """Style, types, workflows, and the same for Go."""
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
    workflows = sorted(str(path) for path in root.rglob(".github/workflows/*.yaml") if ".venv" not in path.parts)
    if workflows:
        module = paths.modules / "actionlint"
        yield Phase(name="actionlint", argv=("go", "tool", "actionlint", *workflows), cwd=module)


def suite_phases(paths: Paths, *, suites: tuple[str, ...], long: bool) -> Iterator[Phase]:
    """One pytest run per suite that exists, the fast ones first, in an order that is drawn anew (but see _IN_ORDER)."""
    for suite in suites:
        folder = paths.root / "tests" / suite
        if any(folder.rglob("test_*.py")):
            chosen = () if long else ("-m", "not long")
            order = ("-p", "no:randomly") if suite in _IN_ORDER else ()
            spread = ("-n", "auto", "--dist", "loadfile") if suite in _SPREAD else ()
            yield Phase(
                name=f"tests/{suite}",
                argv=(str(paths.venv / "bin" / "python"), "-m", "pytest", "-q", *order, *chosen, *spread, str(folder)),
                cwd=paths.root,
                beside=suite in _BESIDE,
            )


def mutants_phase(paths: Paths, options: Iterable[str]) -> Phase:
    """The mutation tester with its `options`; without any a sample that takes half an hour."""
    argv = (str(paths.venv / "bin" / "python"), "-m", "tools.mutants", *(name for name in options if name != "--"))
    return Phase(name="mutants", argv=argv, cwd=paths.root)


def run(paths: Paths, phases: Iterable[Phase]) -> None:
    """Run all phases, also after one has failed, and print what each took. Raises DevstackError naming the failed."""
    variables = environment(paths) | {
        "PYTHONPATH": ":".join(str(paths.root / name) for name in ("components", "provider", ".")),
        "CGO_ENABLED": "0",
    }
    failed, times = [], []
    for beside, group in itertools.groupby(phases, key=lambda phase: phase.beside):
        for phase, ok, seconds in _together([*group], variables) if beside else _in_turn(group, variables):
            times.append(f"{phase.name} {duration(seconds)}{'' if ok else ' FAILED'}")
            if not ok:
                failed.append(phase.name)
    print("== " + ", ".join(times), flush=True)
    if failed:
        raise DevstackError(f"failed: {', '.join(failed)}", where="checks", fix="the output of each is above")


def _in_turn(phases: Iterable[Phase], variables: dict[str, str]) -> Iterator[tuple[Phase, bool, float]]:
    for phase in phases:
        print(f"== {phase.name}", flush=True)
        started = time.monotonic()
        ok = _passes(phase, variables)
        yield phase, ok, time.monotonic() - started


def _together(phases: list[Phase], variables: dict[str, str]) -> Iterator[tuple[Phase, bool, float]]:
    """All at once; each line says whose it is."""
    print("== " + " beside ".join(phase.name for phase in phases), flush=True)

    def one(phase: Phase) -> tuple[Phase, bool, float]:
        started = time.monotonic()
        with subprocess.Popen(
            phase.argv, cwd=phase.cwd, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                print(f"{phase.name}: {line}", end="", flush=True)
        return phase, not running.returncode, time.monotonic() - started

    with ThreadPoolExecutor(max_workers=len(phases)) as pool:
        yield from pool.map(one, phases)


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
