"""Which test runs which line, and what a run imports."""

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import coverage
import pytest
from tools.mutants.run import OPTIONS, TESTS

OURS = ("scone_", "pulumi_scone", "unit", "support", "conftest", "tests", "vectors")
"""Modules that every mutant's run imports anew."""


class Recorder:
    """Traces the files below `folders`; at the end writes lines, imports, times and foreign modules to `to`."""

    def __init__(self, folders: list[str], to: Path) -> None:
        self._to, self._seconds = to, dict[str, float]()
        self._coverage = coverage.Coverage(data_file=None, include=[f"{folder}/*" for folder in folders])
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """What runs from here on, fixtures included, is run by this test; its time is the processor's."""
        self._coverage.switch_context(item.nodeid)
        started = time.process_time()
        result = yield
        self._seconds[item.nodeid] = time.process_time() - started
        self._coverage.switch_context("")
        return result

    def pytest_unconfigure(self) -> None:
        """Write all that was noted: tests are numbers, in the order in which they ran."""
        self._coverage.stop()
        data, top = self._coverage.get_data(), f"{Path.cwd()}{os.sep}"
        numbers = {name: number for number, name in enumerate(self._seconds)}
        lines = {
            file.removeprefix(top): {
                line: sorted(numbers[name] for name in names if name)
                for line, names in sorted(data.contexts_by_lineno(file).items())
            }
            for file in sorted(data.measured_files())
        }
        foreign = sorted(name for name in sys.modules if not name.startswith(OURS) and not name.endswith("reactor"))
        found = {
            "tests": list(self._seconds.items()),
            "lines": lines,
            "users": _users(lines),
            "modules": foreign,
        }
        self._to.write_text(json.dumps(found))


def _users(lines: Mapping[str, object]) -> dict[str, list[str]]:
    """For each file of `lines` the files that hold something of it: a class, a function, the module."""
    names = {module.__name__: str(file) for module in [*sys.modules.values()] if (file := _file(module)) in lines}
    users = defaultdict[str, set[str]](set)
    for module in [*sys.modules.values()]:
        if (user := _file(module)) in lines:
            for value in vars(module).values():
                name = getattr(value, "__module__", None) or getattr(value, "__name__", None)
                if isinstance(name, str) and (used := names.get(name)) and used != user:
                    users[used].add(str(user))
    return {used: sorted(by) for used, by in sorted(users.items())}


def _file(module: object) -> str | None:
    file = getattr(module, "__file__", None)
    return file.removeprefix(f"{Path.cwd()}{os.sep}") if isinstance(file, str) else None


def record(to: str, folders: list[str]) -> None:
    """In the copy: run all tests once and write the baseline to file `to`."""
    pytest.main([*OPTIONS, *TESTS], plugins=[Recorder(folders, Path(to))])
