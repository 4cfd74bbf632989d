"""The launcher: its own Go tests, the recorded digest of its bytes, and that they come out the same anywhere."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
from types import ModuleType

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
LAUNCHER = ROOT / "provider" / "launcher"
VECTORS = ROOT / "tests" / "vectors" / "make.py"


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", LAUNCHER / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def go(hook: ModuleType) -> str:
    return str(hook.find_go(LAUNCHER))


def run(*command: str, folder: pathlib.Path = LAUNCHER) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_go_vet_finds_nothing(go: str) -> None:
    """The launcher's source is free of what `go vet` knows to be wrong."""
    run(go, "vet", "./...", "./testdata/program")


def test_source_is_formatted(go: str) -> None:
    """The launcher's source is as gofmt writes it."""
    done = subprocess.run(
        [pathlib.Path(go).with_name("gofmt"), "-l", "."], cwd=LAUNCHER, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""


def test_go_tests_pass(go: str) -> None:
    """Protocol, verification, decryption and exec keep their promises, the fuzz targets' seeds included."""
    if "--- SKIP" in run(go, "test", "-v", "./..."):
        assert os.getuid() != 0
        pytest.skip("all Go tests passed, but real starts in a mount namespace need root")


def test_vectors_are_what_the_documents_demand() -> None:
    """The golden vectors that builder, CAS and launcher share follow from the documents alone."""
    run(sys.executable, str(VECTORS), folder=ROOT)


def test_packaged_launcher_is_the_recorded_one(hook: ModuleType) -> None:
    """The binary that images get, built if it is missing, has the digest that git keeps."""
    hook.ensure()
    assert hook.digest_of(hook.BINARY) == hook.recorded()
    assert os.access(hook.BINARY, os.X_OK)


def test_launcher_is_reproducible_from_another_folder(
    hook: ModuleType, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The present source gives the recorded bytes wherever it lies and whatever the user's variables ask of Go."""
    copy = tmp_path / "somewhere else"
    shutil.copytree(LAUNCHER, copy)
    for name, value in {
        "GOFLAGS": "-ldflags=-X=main.version=evil -tags=evil",
        "GOAMD64": "v3",
        "GOEXPERIMENT": "jsonv2",
        "CGO_ENABLED": "1",
        "GOOS": "windows",
        "GODEBUG": "gocacheverify=1",
    }.items():
        monkeypatch.setenv(name, value)
    assert hook.build(tmp_path / "launcher", source=copy) == hook.recorded(), f"record it anew: {hook.RECORD}"


def test_changed_source_is_refused(hook: ModuleType, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher that comes out otherwise than recorded is not packaged, and the error says how to record it."""
    target = tmp_path / "launcher-linux-amd64"
    recorded = tmp_path / "launcher.sha256"
    recorded.write_text("00" * 32 + "\n", encoding="ascii")
    monkeypatch.setattr(hook, "BINARY", target)
    monkeypatch.setattr(hook, "DIGEST", recorded)
    with pytest.raises(hook.LauncherBuildError, match=r"(?s)is recorded in .*--record"):
        hook.ensure()
    assert not target.exists()


def test_missing_go_is_named(hook: ModuleType, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go, or with another version, the error names the version that is needed and those that were found."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "go.mod").write_text("module x\n\ngo 1.2.3\n", encoding="ascii")
    with pytest.raises(hook.LauncherBuildError, match=r"needs go1\.2\.3 exactly"):
        hook.find_go(source)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pathlib.Path, "is_file", lambda _: False)
    with pytest.raises(hook.LauncherBuildError, match="found no Go"):
        hook.find_go(LAUNCHER)


def test_present_launcher_is_not_built_again(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """An up-to-date binary needs no Go."""
    hook.ensure()
    monkeypatch.setattr(hook, "find_go", lambda _: pytest.fail("built again"))
    assert hook.ensure() is False


def test_script_explains_itself(hook: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown argument prints how the script is used."""
    assert hook.main(["--help"]) == 2
    assert "--record" in capsys.readouterr().err
