"""Lint and tests as `make` runs them: what runs beside what, and what a failure says."""

import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from tools.devstack import checks
from tools.devstack.checks import Phase
from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths

ROOT = Path(__file__).parents[3]


def phase(name: str, program: str, folder: Path, *, beside: bool = False, silent: bool = False) -> Phase:
    return Phase(name=name, argv=(sys.executable, "-c", program), cwd=folder, beside=beside, silent=silent)


def test_phases_beside_each_other_run_at_the_same_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each waits for a file that only the other makes; every line says whose it is."""
    meet = "import pathlib, time\n"
    meet += "pathlib.Path('{0}').touch()\nwhile not pathlib.Path('{1}').exists(): time.sleep(0.01)\nprint('met {1}')"
    phases = [
        phase("one", meet.format("a", "b"), tmp_path, beside=True),
        phase("two", meet.format("b", "a"), tmp_path, beside=True),
    ]
    checks.run(Paths(root=tmp_path, cache=tmp_path), iter(phases))
    text = capfd.readouterr().out
    assert "one: met b\n" in text
    assert "two: met a\n" in text


def test_a_failure_does_not_hide_what_comes_after_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All phases run, the error names those that failed, also a silent one that printed, and one beside another."""
    phases = [
        phase("bad", "raise SystemExit(3)", tmp_path),
        phase("loud", "print('x.go')", tmp_path, silent=True),
        phase("one", "raise SystemExit(1)", tmp_path, beside=True),
        phase("two", "print('fine')", tmp_path, beside=True),
        phase("last", "print('reached')", tmp_path),
    ]
    with pytest.raises(DevstackError, match="bad, loud, one"):
        checks.run(Paths(root=tmp_path, cache=tmp_path), iter(phases))
    assert "reached" in capfd.readouterr().out


def test_every_suite_runs_once() -> None:
    """`make test` leaves no folder of tests out, and no suite twice."""
    names = [found.name for found in checks.suite_phases(Paths.of(), suites=checks.SUITES, long=False)]
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(names) == sorted(f"tests/{folder}" for folder in folders)


def test_the_lock_holds_every_package_that_the_project_names() -> None:
    """What lint and tests run with is known to the last package; the toolchain's versions are the constraints'."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    locked = dict(line.split("==") for line in Paths.of().lock.read_text().splitlines()[1:])
    assert {line.partition(">=")[0] for line in asked} - locked.keys() == set()
    for line in Paths.of().constraints.read_text().splitlines()[1:]:
        name, _, version = line.partition("==")
        assert locked[name] == version


def test_workflows_pin_their_actions() -> None:
    """An action is named by the hash of a commit: a tag can be moved to code that nobody read."""
    found = 0
    for path in [*(ROOT / ".github" / "workflows").glob("*.yaml")]:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for step in job["steps"]:
                if "uses" in step:
                    found += 1
                    assert len(step["uses"].partition("@")[2]) == 40, f"{path.name}: {step['uses']}"
    assert found
