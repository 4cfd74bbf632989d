"""The packaged chart: laid out whole, once, and named by its templates."""

import subprocess
import sys
from pathlib import Path

import yaml

from scone_provider.chart import CHART_FOLDER, chart_files, lay_out

PROGRAM = """
import sys
from pathlib import Path
from scone_provider.chart import chart_files, lay_out
folder = Path(sys.argv[1])
for _ in range(30):
    lay_out(folder)
    found = {path: (folder / ".pulumi-scone/chart" / path).read_bytes() for path in chart_files()}
    assert found == chart_files()
    (folder / ".pulumi-scone/chart" / sys.argv[2]).write_text("in the way")
"""


def laid_out(project: Path) -> dict[str, bytes]:
    folder = project / CHART_FOLDER
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_of_it_is_there(tmp_path: Path) -> None:
    """The folder has exactly the packaged files, among them the template whose name begins with an underscore."""
    lay_out(tmp_path)
    assert laid_out(tmp_path) == chart_files()
    assert {"Chart.yaml", "values.yaml", "templates/_service.tpl", "templates/workloads.yaml"} <= chart_files().keys()


def test_path_is_relative(tmp_path: Path) -> None:
    """State compares the path as a string: it must be the same on every machine, and begin with `./`."""
    assert lay_out(tmp_path) == "./.pulumi-scone/chart"


def test_git_ignores_it(tmp_path: Path) -> None:
    """What is laid out is not committed; a .gitignore of the user's own is kept."""
    lay_out(tmp_path)
    ignore = tmp_path / ".pulumi-scone" / ".gitignore"
    assert ignore.read_text() == "*\n"
    ignore.write_text("# mine\n")
    lay_out(tmp_path)
    assert ignore.read_text() == "# mine\n"


def test_second_time_touches_nothing(tmp_path: Path) -> None:
    """Files that are right keep their inode and time: nobody who reads the chart meanwhile is disturbed."""
    lay_out(tmp_path)
    before = {path: path.stat() for path in tmp_path.rglob("*") if path.is_file()}
    lay_out(tmp_path)
    after = {path: path.stat() for path in before}
    assert {path: (s.st_ino, s.st_mtime_ns) for path, s in before.items()} == {
        path: (s.st_ino, s.st_mtime_ns) for path, s in after.items()
    }


def test_strangers_go_and_edits_are_undone(tmp_path: Path) -> None:
    """A template that someone put there would be rendered into the release: it goes, and edits of ours are undone."""
    lay_out(tmp_path)
    folder = tmp_path / CHART_FOLDER
    (folder / "templates" / "evil.yaml").write_text("kind: Pod\n")
    (folder / "templates" / "workloads.yaml").write_text("")
    (folder / "values.yaml").unlink()
    lay_out(tmp_path)
    assert laid_out(tmp_path) == chart_files()


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link in the place of a file of ours is replaced; what it led to is untouched."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    lay_out(tmp_path)
    values = tmp_path / CHART_FOLDER / "values.yaml"
    values.unlink()
    values.symlink_to(victim)
    lay_out(tmp_path)
    assert victim.read_text() == "mine"
    assert not values.is_symlink()


def test_two_programs_at_once_both_find_it_whole(tmp_path: Path) -> None:
    """Two programs that lay it out at the same time disturb each other in nothing."""
    programs = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path, name], stderr=subprocess.PIPE, text=True)
        for name in ("first", "second")
    ]
    said = [program.communicate(timeout=60)[1] for program in programs]
    assert [program.returncode for program in programs] == [0, 0], said
    lay_out(tmp_path)
    assert laid_out(tmp_path) == chart_files()


def test_version_names_the_templates() -> None:
    """The version is valid SemVer with a digest, the only sign by which Pulumi sees that templates changed."""
    chart = yaml.safe_load(chart_files()["Chart.yaml"])
    base, _, digest = chart["version"].partition("+")
    assert base.count(".") == 2
    assert len(digest) == 12
    assert int(digest, 16)
    assert chart_files() == chart_files()


OWN = {"api": {"Chart.yaml": b"apiVersion: v2\nname: mine\nversion: 1.0.0\n", "templates/a.yaml": b"kind: Pod\n"}}


def test_own_charts_are_sub_charts_named_like_their_service() -> None:
    """Helm gives a sub-chart the values under its name: so that is the service's, whatever its author called it."""
    files = chart_files(OWN)
    assert yaml.safe_load(files["charts/api/Chart.yaml"]) == {"apiVersion": "v2", "name": "api", "version": "1.0.0"}
    assert files["charts/api/templates/a.yaml"] == b"kind: Pod\n"
    nameless = chart_files({"api": {"Chart.yaml": b"version: 1.0.0\n"}})
    assert yaml.safe_load(nameless["charts/api/Chart.yaml"])["name"] == "api"


def test_version_names_own_templates_too() -> None:
    """A changed template of a service's own chart is another version, or Pulumi would not see it."""
    changed = {"api": {**OWN["api"], "templates/a.yaml": b"kind: Job\n"}}
    versions = {yaml.safe_load(files["Chart.yaml"])["version"] for files in map(chart_files, (OWN, changed, {}))}
    assert len(versions) == 3


def test_releases_with_own_charts_stand_apart(tmp_path: Path) -> None:
    """Two meshes of one program do not remove each other's charts."""
    assert lay_out(tmp_path, OWN, "one") == "./.pulumi-scone/chart-one"
    assert lay_out(tmp_path) == "./.pulumi-scone/chart"
    assert (tmp_path / ".pulumi-scone" / "chart-one" / "charts" / "api" / "Chart.yaml").is_file()
    assert laid_out(tmp_path) == chart_files()


def test_templates_that_make_the_same_keep_the_version() -> None:
    """A release that 0.1.0 made has nothing to change: its chart was written anew, its objects were not."""
    assert b"\nversion: 0.1.0+689d4b27a5c7\n" in chart_files()["Chart.yaml"]
    own = {"api": {"Chart.yaml": b"apiVersion: v2\nname: x\nversion: 1.0.0\n"}}
    assert b"689d4b27a5c7" not in chart_files(own)["Chart.yaml"]
