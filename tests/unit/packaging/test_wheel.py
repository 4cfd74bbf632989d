"""The distribution: what is in the wheel, and that it works in a virtual environment that has nothing else."""

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from scone_cas.identity.cas_evidence import measured_files

ROOT = Path(__file__).parents[3]
SOURCES = {
    "pulumi_scone": ROOT / "components",
    "scone_policy": ROOT / "provider",
    "scone_provider": ROOT / "provider",
    "scone_cas": ROOT / "provider",
}
LAUNCHER = "scone_provider/image/launcher-linux-amd64"
USE = """
import hashlib
from pathlib import Path
import pulumi_scone
from scone_provider.chart import chart_files, lay_out
from scone_provider.image.launcher import launcher_bytes
assert "site-packages" in pulumi_scone.__file__, pulumi_scone.__file__
print(hashlib.sha256(launcher_bytes()).hexdigest())
print(lay_out(Path.cwd()), len(chart_files()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=200,
    )
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def archive(wheel: Path) -> dict[str, bytes]:
    """Path → content of everything in it."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_every_module_and_template_is_inside(archive: dict[str, bytes]) -> None:
    """All that git knows of the four packages is in the wheel, from both roots, byte for byte."""
    listed = subprocess.run(
        ["git", "ls-files", "components/pulumi_scone", *(f"provider/{name}" for name in sorted(SOURCES)[1:])],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    wanted = {path.partition("/")[2]: (ROOT / path).read_bytes() for path in listed}
    assert len(wanted) > 80
    assert {path for path in wanted if archive.get(path) != wanted[path]} == set()


def test_nothing_else_is_inside(archive: dict[str, bytes]) -> None:
    """The four packages and the metadata; no tests, no state of the development stack, no launcher sources."""
    top = {name.split("/")[0] for name in archive}
    assert {name for name in top if not name.endswith(".dist-info")} == set(SOURCES)
    assert not [name for name in archive if name.endswith((".pyc", ".go")) or "/tests/" in name or ".devstack" in name]


def test_what_is_easily_forgotten(archive: dict[str, bytes]) -> None:
    """The template that begins with an underscore, the typing marks, and the mark that this is no provider plugin."""
    assert "scone_provider/chart/template/templates/_service.tpl" in archive
    assert {f"{name}/py.typed" for name in SOURCES} <= archive.keys()
    assert json.loads(archive["pulumi_scone/pulumi-plugin.json"]) == {"resource": False}


def test_cas_measures_all_of_its_package(archive: dict[str, bytes]) -> None:
    """What the embedded CAS measures of itself is every source file that the wheel has of it, and no other."""
    shipped = {name.removeprefix("scone_cas/") for name in archive if re.fullmatch(r"scone_cas/.*\.py", name)}
    assert set(measured_files()) == shipped


def test_launcher_is_the_recorded_one(wheel: Path, archive: dict[str, bytes]) -> None:
    """The launcher's bytes have the digest that git keeps, and may be executed."""
    recorded = archive["scone_provider/image/launcher.sha256"].decode().strip()
    assert hashlib.sha256(archive[LAUNCHER]).hexdigest() == recorded
    with zipfile.ZipFile(wheel) as opened:
        mode = opened.getinfo(LAUNCHER).external_attr >> 16
    assert stat.S_IMODE(mode) == 0o755


def test_metadata(archive: dict[str, bytes]) -> None:
    """Name, lower bounds and the command, as pyproject says."""
    (name,) = [name for name in archive if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(archive[name].decode())
    assert metadata["Name"] == "pulumi-scone"
    assert all(">=" in needed for needed in metadata.get_all("Requires-Dist") or [])
    entry_points = archive[name.replace("METADATA", "entry_points.txt")].decode()
    assert "pulumi-scone = scone_provider.cli:main" in entry_points


def test_two_builds_are_equal(wheel: Path, tmp_path: Path) -> None:
    """The same checkout gives the same wheel, byte for byte."""
    command: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed beside nothing but its dependencies: it imports, knows its launcher and chart, and its command runs."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str | Path) -> str:
        return subprocess.run(
            command, cwd=tmp_path, env=kept, check=True, stdout=subprocess.PIPE, text=True, timeout=280
        ).stdout

    run(home / "bin/pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    digest, chart = run(home / "bin/python", "-W", "error", "-c", USE).splitlines()
    assert digest == (ROOT / "provider/scone_provider/image/launcher.sha256").read_text().strip()
    assert chart.startswith("./.pulumi-scone/chart ")
    command = home / "bin/pulumi-scone"
    assert run(command, "--version").startswith("pulumi-scone ")
    assert "identity" in run(command, "--help")
    assert "--state" in run(command, "cas", "serve", "--help")
