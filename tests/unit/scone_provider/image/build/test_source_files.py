"""The files of a service: taken as they are, normalised, and only from the manifest's folder."""

import os
import socket
from pathlib import Path

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.build.source_files import SourceLimits, encrypted_sizes, scan_source


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A manifest's folder with something of everything."""
    root = tmp_path / "project"
    (root / "lib" / "__pycache__").mkdir(parents=True)
    (root / "app.py").write_text("print(1)\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o700)
    (root / "lib" / "util.py").write_text("x = 1\n")
    (root / "lib" / "__pycache__" / "util.pyc").write_bytes(b"compiled")
    (root / "lib" / "latest").symlink_to("util.py")
    (tmp_path / "outside").write_text("not yours\n")
    return root


def test_paths_keep_their_folders_below_the_target(project: Path) -> None:
    """`lib/util.py` becomes `/python/lib/util.py`; a folder brings what lies below it, without compiled files."""
    tree = scan_source(project, ["app.py", "lib", "./run.sh"], into="/python")
    assert tree.paths() == (
        "/python/app.py",
        "/python/lib",
        "/python/lib/latest",
        "/python/lib/util.py",
        "/python/run.sh",
    )
    assert tree.links == (("/python/lib/latest", "util.py"),)
    assert tree.directories == ("/python/lib",)


def test_the_whole_folder_can_be_copied_and_twice_is_once(project: Path) -> None:
    """`.` is the manifest's folder; entries that overlap count once."""
    assert scan_source(project, [".", "lib", "lib/util.py"], into="/python") == scan_source(
        project, ["."], into="/python"
    )


def test_modes_are_normalised(project: Path) -> None:
    """A umask, a group's write bit or set-id in the checkout do not change the image: 0755 or 0644."""
    (project / "app.py").chmod(0o666)
    (project / "lib" / "util.py").chmod(0o600)
    modes = {file.path: file.mode for file in scan_source(project, ["."], into="/p").files}
    assert modes == {"/p/app.py": 0o644, "/p/run.sh": 0o755, "/p/lib/util.py": 0o644}


@pytest.mark.parametrize("entry", ["../outside", "/etc/passwd", "lib/../../outside", "", "a\x00b"])
def test_a_path_out_of_the_folder_is_refused(project: Path, entry: str) -> None:
    """A manifest brings its own files and nobody else's."""
    with pytest.raises(ImageError, match="below the manifest's folder"):
        scan_source(project, [entry], into="/python")


def test_links_out_of_the_folder_are_refused(project: Path) -> None:
    """Neither a link that is copied, nor a folder on the way that is one, nor an absolute target leads outside."""
    (project / "evil").symlink_to("../outside")
    (project / "absolute").symlink_to(project / "app.py")
    (project / "dangling").symlink_to("nothing")
    (project / "up").symlink_to("..")
    for entry in ("evil", "absolute", "dangling", "up", "up/outside"):
        with pytest.raises(ImageError, match="link"):
            scan_source(project, [entry], into="/python")


def test_a_missing_file_is_named_with_its_folder(project: Path) -> None:
    """The error says what is missing and what it is relative to."""
    with pytest.raises(ImageError) as caught:
        scan_source(project, ["ap.py"], into="/python")
    assert "'ap.py' does not exist" in str(caught.value)
    assert str(project) in str(caught.value)


def test_special_files_are_refused(project: Path) -> None:
    """A fifo would hang, a socket cannot be copied."""
    os.mkfifo(project / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(project / "socket"))
    for entry in ("fifo", "socket"):
        with pytest.raises(ImageError, match="neither file, folder nor link"):
            scan_source(project, [entry], into="/python")


def test_a_name_that_is_not_utf8_is_refused(project: Path) -> None:
    """It could not stand in the protection file."""
    (project / os.fsdecode(b"caf\xe9")).write_text("x")
    with pytest.raises(ImageError, match="not UTF-8"):
        scan_source(project, ["."], into="/python")


@pytest.mark.parametrize("limits", [SourceLimits(file=5), SourceLimits(total=20), SourceLimits(entries=2)])
def test_limits_hold(project: Path, limits: SourceLimits) -> None:
    """One file, all files and their number are bounded: they unpack into memory."""
    with pytest.raises(ImageError, match=r"too big|one more than"):
        scan_source(project, ["."], into="/python", limits=limits)


@pytest.mark.parametrize("change", ["content", "fifo", "link", "gone"])
def test_a_file_that_changes_after_it_was_seen_is_refused(project: Path, change: str) -> None:
    """What is built is what was previewed, or an error that says so."""
    [file] = scan_source(project, ["app.py"], into="/python").files
    assert file.read() == b"print(1)\n"
    path = project / "app.py"
    path.unlink()
    if change == "content":
        path.write_text("print(2)\n")
    elif change == "fifo":
        os.mkfifo(path)
    elif change == "link":
        path.symlink_to("run.sh")
    with pytest.raises(ImageError):
        file.read()


def test_sizes_of_what_is_encrypted(tmp_path: Path) -> None:
    """Memory is counted in pages, by directory, from the file system alone: no file has to be readable for it."""
    (tmp_path / "lib" / "deep").mkdir(parents=True)
    (tmp_path / "app.py").write_bytes(b"x")
    (tmp_path / "lib" / "big").write_bytes(b"x" * 4097)
    (tmp_path / "lib" / "deep" / "link").symlink_to("../big")
    with (tmp_path / "lib" / "huge").open("wb") as file:
        file.truncate(100 << 20)
    found = encrypted_sizes(tmp_path, ["app.py", "lib"], into="/app", dirs=["/app", "/app/lib/deep", "/other"])
    assert found == {"/app": (100 << 20) + 6 * 4096, "/app/lib/deep": 2 * 4096, "/other": 0}
    with pytest.raises(ImageError, match="does not exist"):
        encrypted_sizes(tmp_path, ["gone"], into="/app", dirs=["/app"])
