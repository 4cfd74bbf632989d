"""Whatever the operating system refuses about a file is an error of ours: with the path, and never a traceback."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pulumi_scone._inputs import read_text
from pulumi_scone._mesh_files import _chart
from scone_provider.cas.identity import load_identity
from scone_provider.catalogue.load import load_catalogue
from scone_provider.chart import chart_text, lay_out
from scone_provider.commands.audit import verify_files
from scone_provider.commands.files import UsageError, text_of
from scone_provider.errors import DeployError, ImageError, SconeError
from scone_provider.file_errors import file_errors, resolved
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.build.native_stage import Context, lay_out_context, read_requirements
from scone_provider.image.build.source_files import SourceTree, encrypted_sizes, read_ignore, scan_source
from scone_provider.image.build.vendor_builder import _key
from scone_provider.image.publish.cosign import read_key_file
from scone_provider.image.registry.credentials import CredentialStore
from scone_provider.image.registry.trust_store import trust_store
from scone_provider.policy.files import remove_policy, write_policy

EMPTY = Context(pwd="/", files=SourceTree(), requirements={}, main=None)
FILES: dict[str, Callable[[Path], object]] = {
    "copied file": lambda path: scan_source(path.parent, [path.name], into="/app"),
    "copied file, its size": lambda path: encrypted_sizes(path.parent, [path.name], into="/app", dirs=[]),
    "requirements": lambda path: read_requirements(path.parent, path.name, {}),
    "signing key": lambda path: read_key_file(path, where="signature"),
    "key of a builder": lambda path: _key({"file": str(path)}),
    "document of a component": lambda path: read_text(str(path)),
    "document of a command": lambda path: text_of(str(path)),
    "identity": lambda path: load_identity({"SCONE_IDENTITY": str(path)}, path.parent, None),
    "docker configuration": lambda path: CredentialStore(path).find("registry.example"),
    "authorities": lambda path: trust_store({"REQUESTS_CA_BUNDLE": str(path)}),
    "audit log": lambda path: verify_files([path], cas_key=None, known=None, as_json=False, tell=print),
}
FOLDERS: dict[str, Callable[[Path], object]] = {
    "copied folder": lambda path: scan_source(path, ["."], into="/app"),
    "ignored files": read_ignore,
    "chart of a service": lambda path: _chart(path, where="mesh.yaml:3"),
    "chart that is written": lay_out,
    "chart that is read": chart_text,
    "context of a builder": lambda path: lay_out_context(path, "api", EMPTY),
    "catalogue": lambda path: load_catalogue([str(path)]),
    "policy that is written": lambda path: write_policy(path / "policy.yaml", "name: a"),
    "cache": BaseCache,
}


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    """A link that leads to itself."""
    path = tmp_path / "round-and-round"
    path.symlink_to(path.name)
    return path


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A name that no file system takes."""
    return tmp_path / ("n" * 300)


def refusal(work: Callable[[Path], object], path: Path) -> str:
    """What a person reads."""
    with pytest.raises((SconeError, UsageError)) as caught:
        work(path)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(FILES | FOLDERS))
def test_links_in_a_circle(name: str, loop: Path) -> None:
    """ELOOP, which Python tells in two ways, is told with the path."""
    text = refusal((FILES | FOLDERS)[name], loop)
    assert loop.name in text or str(loop.parent) in text or "key file" in text


@pytest.mark.parametrize("name", sorted((FILES.keys() | FOLDERS.keys()) - {"ignored files"}))
def test_names_that_are_too_long(name: str, long: Path) -> None:
    """ENAMETOOLONG is told."""
    assert refusal((FILES | FOLDERS)[name], long)


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"copied file", "copied file, its size", "authorities"}))
def test_a_folder_in_the_place_of_a_file(name: str, tmp_path: Path) -> None:
    """EISDIR is told."""
    (tmp_path / "folder").mkdir()
    assert refusal(FILES[name], tmp_path / "folder")


@pytest.mark.parametrize("name", sorted(FOLDERS.keys() - {"copied folder", "ignored files"}))
def test_a_file_in_the_place_of_a_folder(name: str, tmp_path: Path) -> None:
    """ENOTDIR and EEXIST are told."""
    (tmp_path / "file").write_text("x")
    assert refusal(FOLDERS[name], tmp_path / "file")


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"docker configuration"}))
def test_below_a_file(name: str, tmp_path: Path) -> None:
    """A path through a file (ENOTDIR) is told."""
    (tmp_path / "file").write_text("x")
    assert refusal(FILES[name], tmp_path / "file" / "below")


@pytest.mark.parametrize("name", ["document of a component", "document of a command", "signing key"])
def test_a_path_with_a_null_byte(name: str, tmp_path: Path) -> None:
    """What is no path at all is told."""
    assert "this is no path" in refusal(FILES[name], tmp_path / "a\0b")


def test_a_loop_deep_in_a_copied_folder(tmp_path: Path) -> None:
    """Links that lead in a circle somewhere below: the link is named, with what to do."""
    (tmp_path / "app" / "deep").mkdir(parents=True)
    (tmp_path / "app" / "deep" / "a").symlink_to("b")
    (tmp_path / "app" / "deep" / "b").symlink_to("a")
    text = refusal(lambda path: scan_source(path, ["app"], into="/p"), tmp_path)
    assert "'app/deep/a' cannot be read: Too many levels of symbolic links" in text
    assert "remove the link, or leave it out by .dockerignore" in text


def test_a_policy_that_cannot_be_removed(tmp_path: Path) -> None:
    """A folder stands there: it is left, and told."""
    (tmp_path / "policy.yaml").mkdir()
    with pytest.raises(DeployError, match="the policy cannot be removed"):
        remove_policy(tmp_path / "policy.yaml", "text")


def test_a_chart_with_a_link_out_of_it(tmp_path: Path) -> None:
    """A loop within a chart is refused as every link is."""
    (tmp_path / "Chart.yaml").write_text("name: a\nversion: 1.0.0\n")
    (tmp_path / "values.yaml").symlink_to("values.yaml")
    assert "a link" in refusal(lambda path: _chart(path, where="mesh.yaml:3"), tmp_path)


def test_a_full_disk(tmp_path: Path) -> None:
    """ENOSPC while a download is kept: told with the folder, and nothing half of it stays."""
    cache = BaseCache(tmp_path)

    def download(_: object) -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(ImageError, match="No space left on device") as caught:
        cache.fetch(f"sha256:{'0' * 64}", download)
    assert "make room there" in str(caught.value)
    assert list((tmp_path / "blobs").iterdir()) == []


def test_too_many_open_files(tmp_path: Path) -> None:
    """EMFILE while files are copied into an image: one error, with the limit that is to be raised."""
    (tmp_path / "app.py").write_text("x")
    program = (
        "import os, sys, resource, pathlib\n"
        "from scone_provider.image.build import source_files\n"
        "from scone_provider.errors import ImageError\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "held = []\n"
        "try:\n"
        "    while True: held.append(os.open('/dev/null', os.O_RDONLY))\n"
        "except OSError: pass\n"
        "try:\n"
        "    source_files.scan_source(pathlib.Path(sys.argv[1]), ['app.py'], into='/p')\n"
        "except ImageError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Too many open files" in done.stdout
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_operating_system(number: int) -> None:
    """Each of them becomes the error that was asked for, with its reason and the path that it is about."""
    with (
        pytest.raises(ImageError) as caught,
        file_errors("the file cannot be read", where="/a", kind=ImageError),
    ):
        raise OSError(number, os.strerror(number), b"/b/\xff")
    assert str(caught.value).startswith(f"/a: the file cannot be read: {os.strerror(number)} (/b/\\udcff)")


def test_other_errors_are_not_hidden(loop: Path) -> None:
    """A mistake in a program stays one; a path without an end is ours."""
    for error in (RuntimeError("other"), ValueError("other"), KeyError("other")):
        with pytest.raises(type(error)), file_errors("x", where="y"):
            raise error
    with pytest.raises(SconeError, match="Too many levels of symbolic links"):
        resolved(loop)
