import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tools.devstack import files, packages
from tools.devstack.__main__ import main
from tools.devstack.gobuild import CLI, NODE, PLUGIN, Part, Toolchain
from tools.devstack.paths import Paths
from tools.devstack.progress import Progress
from tools.devstack.steps import Job


def test_an_interrupted_publish_leaves_nothing_in_the_place(tmp_path: Path) -> None:
    """A folder appears whole or not at all, and what an interrupted attempt left is cleared by the next."""
    target = tmp_path / "part"

    def stop(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.publish(target, stop)
    assert not target.exists()
    files.publish(target, lambda folder: (folder / "whole").touch())
    assert [entry.name for entry in target.iterdir()] == ["whole"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_write_replaces_the_file_whole_and_private(tmp_path: Path) -> None:
    """Files are private unless said otherwise, and no helper file stays behind."""
    path = tmp_path / "deep" / "file"
    files.write(path, "one")
    files.write(path, b"two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_broken_record_reads_as_none(tmp_path: Path) -> None:
    """Half a file, as a full disk leaves it, is no record and no traceback."""
    (tmp_path / "x").write_text('{"pid": 1')
    assert files.read_json(tmp_path / "x") is None
    assert files.read_json(tmp_path / "none") is None


def test_digests_keep_parts_apart() -> None:
    """Moving a byte from one part to the next changes the digest."""
    assert files.digest("ab", "c") != files.digest("a", "bc")


def test_a_lock_is_free_when_its_holder_is_gone(tmp_path: Path) -> None:
    """A killed run blocks nobody, a living one does, and the one who waits is told."""
    script = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tools.devstack import files
with files.locked(Path(sys.argv[2])):
    print("held", flush=True)
    input()
"""
    order = [sys.executable, "-c", script, str(Path(__file__).parents[3]), str(tmp_path / "lock")]
    waited = []
    with subprocess.Popen(order, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        def waiting() -> None:
            waited.append(True)
            holder.kill()

        with files.locked(tmp_path / "lock", waiting=waiting):
            assert waited == [True]


def test_the_toolchains_key_follows_its_sources(tmp_path: Path) -> None:
    """Any change to go.mod, go.sum or a source gives another folder of the cache; the same sources give the same."""
    import shutil

    modules = tmp_path / "tools" / "devstack" / "toolchain"
    shutil.copytree(Paths.of().modules, modules)
    paths = Paths(root=tmp_path, cache=tmp_path / "cache")

    job = Job(
        name="x", log=tmp_path / "log", progress=Progress(stream=io.StringIO(), live=False), stop=threading.Event()
    )

    def folder(part: Part) -> Path:
        return Toolchain(paths, environ=os.environ).folder(job, part)

    before = {part.name: folder(part) for part in (CLI, PLUGIN, NODE)}
    assert len(set(before.values())) == 3
    assert folder(NODE) == before["kubernetes-node"]
    with (modules / "kubernetes" / "go.sum").open("a") as file:
        file.write("\n")
    assert folder(NODE) != before["kubernetes-node"]
    assert folder(CLI) == before["pulumi"]


def test_packages_that_are_there_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that another package brought (Docker's containerd) is left as it is."""
    monkeypatch.setattr(packages, "PROBES", {"containerd": "sh", "nothing": "no-such-program-anywhere"})
    assert packages.missing() == ["nothing"]


def test_errors_reach_the_user_as_two_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ends with exit code 1 and a sentence with its remedy, without a traceback."""
    monkeypatch.setenv("KUBE_CONTEXT", "mine")
    monkeypatch.delenv("REGISTRY", raising=False)
    monkeypatch.delenv("CAS_HOST", raising=False)
    assert main(["up"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: your own cluster: KUBE_CONTEXT given without REGISTRY, CAS_HOST\n  → give all of")


def test_an_unknown_log_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Asking for a log that does not exist says which exist."""
    assert main(["logs", "no-such-step"]) == 1
    assert "no log of 'no-such-step'" in capsys.readouterr().err


def test_exports_can_be_read_by_a_shell() -> None:
    """What `env` prints sets the variables in a shell, PATH in front of its own."""
    root = Path(__file__).parents[3]
    order = 'eval "$(python3 -m tools.devstack env)"; echo "$PULUMI_BACKEND_URL $PATH"'
    done = subprocess.run(
        ["sh", "-c", order],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
    )
    assert (
        done.stdout.strip()
        == f"file://{root}/.devstack/demo/backend {root}/.venv/bin:{root}/.devstack/bin:{os.environ['PATH']}"
    )
