"""Tries mutants in a copy of the project: each in a process of its own, forked from one that has imported the rest."""

import contextlib
import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
from tools.mutants.mutations import Mutant

TESTS = (
    "tests/unit/scone_policy",
    "tests/unit/scone_cas",
    "tests/unit/scone_provider",
    "tests/contract/registry",  # what speaks with a registry is tried with a real one
    "tests/contract/providers/test_provider_image.py",
    "tests/contract/providers/test_provider_vendor_image.py",
)
_SLOW = 4.0
"""Seconds above which a test is left out: some try every byte of a file."""
_MEMORY, _FILE = 8 << 30, 256 << 20
"""Bytes that a mutant may take: what loops for ever must not take the machine with it."""
OPTIONS = (
    *("-q", "--tb=line", "--timeout=60", "--hypothesis-profile=mutants", "-m", "not long"),
    *("-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # plugins are imported already
)
_SKIPPED = shutil.ignore_patterns(".git", ".venv", ".devstack", "__pycache__", ".*_cache", ".hypothesis", "dist")


class Chosen:
    """Only the tests of `order`, in that order; `failed` are those that did."""

    def __init__(self, order: list[str]) -> None:
        self.failed = set[str]()
        self._place = {name: place for place, name in enumerate(order)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drop and sort."""
        chosen = [item for item in items if item.nodeid in self._place]
        items[:] = sorted(chosen, key=lambda item: self._place[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what fails."""
        if report.failed:
            self.failed.add(report.nodeid)


class Trial:
    """A copy of the project at `root` below `state`, what its tests cover, and the results so far.

    The folder is named after the text of all that is tried and tests it: a run that was stopped goes on, and a change
    of any file begins anew.
    """

    def __init__(self, root: Path, state: Path, folders: list[str]) -> None:
        self._root, self._folders = root, folders
        self._home = state / _digest(root)
        self.source = self._home / "source"
        self.tree, self._map = self._home / "tree", self._home / "baseline.json"
        self._results = self._home / "results.jsonl"
        self.done: dict[str, str] = {}

    def prepare(self) -> None:
        """Make what is missing of copy and baseline."""
        known = self._map.exists()
        if not known:
            shutil.rmtree(self._home, ignore_errors=True)
            shutil.copytree(self._root, self.source, ignore=_SKIPPED, symlinks=True)
        shutil.copytree(self.source, self.tree, dirs_exist_ok=True, symlinks=True)  # a killed run left its mutant
        if not known:
            code = "import sys; from tools.mutants.baseline import record; record(sys.argv[1], sys.argv[2:])"
            environment = os.environ | {"PYTHONPATH": self._path(), "PYTHONDONTWRITEBYTECODE": ""}
            argv = [sys.executable, "-c", code, str(self._map), *self._folders]
            subprocess.run(argv, cwd=self.tree, env=environment, check=False)
        found = json.loads(self._map.read_text())
        self._tests, self._lines, self._users = found["tests"], found["lines"], found["users"]
        if self._results.exists():
            self.done = dict(json.loads(line) for line in self._results.read_text().splitlines())
        sys.path[:0] = self._path().split(":")
        os.environ |= {"PYTHONPATH": self._path(), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(self._home)}
        sys.dont_write_bytecode = True
        for name in found["modules"]:
            with contextlib.suppress(Exception):  # what cannot be imported by itself is imported by who needs it
                importlib.import_module(name)
        self._left_out = {number for number, (_, seconds) in enumerate(self._tests) if seconds >= _SLOW}
        self._leave_out_failing()

    def _leave_out_failing(self) -> None:
        """A test that fails without any change, alone or in the process of a mutant, notices nothing."""
        failing = self._home / "failing.json"
        if not failing.exists():
            usable = [number for number in range(len(self._tests)) if number not in self._left_out]
            self.fork(usable, failing)
        names = json.loads(failing.read_text())
        if len(names) > len(self._tests) // 100:
            raise RuntimeError(f"{len(names)} tests fail without any change: see {self._home / 'last.log'}")
        self._left_out |= {number for number, (name, _) in enumerate(self._tests) if name in names}

    def _path(self) -> str:
        return ":".join(str(self.tree / name) for name in ("components", "provider", "tests", ""))

    def tests_of(self, mutant: Mutant) -> list[int]:
        """The tests that run a line of the mutant's statement; the nearest and fastest first.

        What runs at import only (constants, fields) is tried by all that run something of its file or its users'.
        """
        lines = self._lines.get(mutant.path, {})
        found = {test for line in mutant.lines for test in lines.get(str(line), ())}
        if not found and any(str(line) in lines for line in mutant.lines):
            for file in (mutant.path, *self._users.get(mutant.path, ())):
                found |= {test for tests in self._lines.get(file, {}).values() for test in tests}
        near = str(Path(mutant.path).parent).replace("provider/", "tests/unit/", 1)
        return sorted(
            found - self._left_out,
            key=lambda test: (not self._tests[test][0].startswith(near), self._tests[test][1], test),
        )

    def attempt(self, mutant: Mutant) -> str:
        """`killed`, `survived`, `timeout`, or `uncovered` where no test runs the line; kept for the next run."""
        key = f"{mutant.path}:{mutant.start}:{mutant.end}:{mutant.text}"
        if key not in self.done:
            tests = self.tests_of(mutant)
            self.done[key] = self._attempt(mutant, tests) if tests else "uncovered"
            with self._results.open("a") as file:
                file.write(json.dumps([key, self.done[key]]) + "\n")
        return self.done[key]

    def _attempt(self, mutant: Mutant, tests: list[int]) -> str:
        target = self.tree / mutant.path
        source = (self.source / mutant.path).read_bytes()
        for cached in (target.parent / "__pycache__").glob(f"{target.stem}.*"):
            cached.unlink()  # of the same second and size as the mutant
        target.write_bytes(mutant.apply(source))
        try:
            return self.fork(tests)
        finally:
            target.write_bytes(source)

    def fork(self, tests: list[int], failing: Path | None = None) -> str:
        """Run `tests` in a child up to the first that fails, or all to write the names of the `failing` to a file."""
        limit = int(15 + 4 * sum(self._tests[test][1] for test in tests))
        sys.stdout.flush()
        if not (pid := os.fork()):
            self._child([self._tests[test][0] for test in tests], limit, failing)
        deadline = time.monotonic() + 120 + 5 * limit  # the machine may be busy, or the mutant wait for ever
        while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # also what its tests have started
        if not ended[0]:
            os.waitpid(pid, 0)
            return "timeout"
        code = os.waitstatus_to_exitcode(ended[1])
        return "timeout" if code == -signal.SIGXCPU else "killed" if code else "survived"

    def _child(self, tests: list[str], limit: int, failing: Path | None) -> None:
        code = 1
        try:
            os.setsid()
            os.dup2(os.open(self._home / "last.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
            os.dup2(1, 2)
            os.chdir(self.tree)
            for kind, most in (("AS", _MEMORY), ("FSIZE", _FILE), ("CPU", limit), ("CORE", 0)):
                resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (most, most))
            files = list(dict.fromkeys(name.partition("::")[0] for name in tests))
            base = f"--basetemp={self._home / 'tmp'}"
            options = (*OPTIONS, base, *(() if failing else ("-x",)))
            chosen = Chosen(tests)
            code = pytest.main([*options, *files], plugins=[chosen])
            if failing:
                failing.write_text(json.dumps(sorted(chosen.failed)))
            if code == pytest.ExitCode.NO_TESTS_COLLECTED:
                code = 0  # a test that is not there notices nothing
        except BaseException:  # noqa: BLE001 - a child must never go on as its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _digest(root: Path) -> str:
    """A name for the text of all Python files that are tried or test."""
    whole = hashlib.sha256()
    for file in sorted(path for top in ("provider", "components", "tests") for path in (root / top).rglob("*.py")):
        whole.update(str(file.relative_to(root)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:16]
