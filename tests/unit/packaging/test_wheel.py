"""The wheel, as a user gets it: complete, and usable in an environment that has nothing else."""

import hashlib
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LAUNCHER = "scone_provider/image/launcher-linux-amd64"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (found,) = folder.glob("*.whl")
    return found


def test_wheel_holds_what_it_needs(wheel: Path) -> None:
    """All packages, the recorded launcher, the chart, the marks for Pulumi and type checkers; no tests."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        recorded = archive.read("scone_provider/image/launcher.sha256").decode().split()[0]
        assert hashlib.sha256(archive.read(LAUNCHER)).hexdigest() == recorded
    packages = {name.partition("/")[0] for name in names}
    assert {"pulumi_scone", "scone_policy", "scone_provider", "scone_cas"} <= packages
    assert not packages & {"tests", "tools", "examples", "components", "provider"}
    assert {
        "pulumi_scone/pulumi-plugin.json",
        "pulumi_scone/py.typed",
        "scone_provider/chart/template/Chart.yaml",
        "scone_provider/chart/template/templates/_service.tpl",
        "scone_provider/chart/template/templates/workloads.yaml",
    } <= names


def test_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed into a new environment it imports, its command answers, and the launcher is the recorded one."""
    venv.create(tmp_path / "venv", with_pip=True)
    bin_ = tmp_path / "venv" / "bin"
    _run(str(bin_ / "pip"), "install", "--quiet", "--disable-pip-version-check", str(wheel), cwd=tmp_path)
    assert "identity" in _run(str(bin_ / "pulumi-scone"), "--help", cwd=tmp_path)
    assert "pulumi-scone 0." in _run(str(bin_ / "pulumi-scone"), "--version", cwd=tmp_path)
    script = (
        "import pulumi_scone; from scone_provider.image.launcher import launcher_bytes; print(len(launcher_bytes()))"
    )
    assert int(_run(str(bin_ / "python"), "-I", "-c", script, cwd=tmp_path)) > 1_000_000


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
