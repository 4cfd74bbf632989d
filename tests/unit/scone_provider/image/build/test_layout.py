"""Where a service's parts may lie in an image, and what is refused before anything is built."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.build.layout import Layout, lay_out, wanted_paths
from support.tiny_image import base_for, service

MEASURED = frozenset({"/usr/bin/python3.11", "/lib64/ld.so"})


@pytest.fixture
def lay(tmp_path: Path, cache: BaseCache) -> Any:
    """Lays a service out on the usual tiny base, with some of its inputs changed."""

    def lay(files: dict[str, str] | None = None, **changes: Any) -> Any:
        inputs = service(tmp_path / "project", files=files, **changes)
        return lay_out(inputs, base=base_for(inputs, cache).paths, measured=MEASURED)

    return lay


def test_copied_files_are_encrypted_below_a_new_mount_point(lay: Callable[..., Layout]) -> None:
    """Nothing of the files stands outside of the encrypted directory; that one is all that the layer gets."""
    layout = lay({"app.py": "1", "lib/util.py": "2"})
    assert list(layout.encrypted) == ["/python"]
    assert sorted(layout.encrypted["/python"].files) == ["app.py", "lib/util.py"]
    assert layout.encrypted["/python"].directories == {"lib"}
    assert layout.directories == {"/python"}
    assert not layout.files
    assert not layout.links


def test_parents_are_made_only_where_the_base_has_none(lay: Callable[..., Layout]) -> None:
    """A directory of the base keeps its mode: it is not listed again."""
    layout = lay(injected=("/etc/app/key.pem", "/tls/client.crt"))
    assert layout.directories == {"/python", "/etc/app", "/tls"}
    assert sorted(layout.links) == ["/etc/app/key.pem", "/tls/client.crt"]
    assert all(target.startswith("/.scone/memory/files/") for target in layout.links.values())


def test_an_injection_file_inside_an_encrypted_directory_becomes_a_link_there(lay: Callable[..., Layout]) -> None:
    """The image cannot hold a link below a mount; the launcher makes it when it unpacks."""
    layout = lay(injected=("/python/conf/key",))
    assert layout.links == {}
    assert layout.encrypted["/python"].links["conf/key"] == f"/.scone/memory/{layout.injected['/python/conf/key']}"
    assert "conf" in layout.encrypted["/python"].directories


def test_files_of_kubernetes_are_left_alone_and_that_is_said(lay: Callable[..., Layout]) -> None:
    """/etc/hosts is the kubelet's: no link, no protection, but a note."""
    layout = lay(injected=("/etc/hosts",))
    assert (layout.injected, layout.links) == ({}, {})
    assert "/etc/hosts belongs to Kubernetes" in layout.notes[0]


def test_files_outside_of_dirs_are_clear_and_that_is_said(lay: Callable[..., Layout]) -> None:
    """With `dirs` that do not cover all copied files, the others are protected, but readable."""
    layout = lay({"data/x": "1", "app.py": "2"}, dirs=("/python/data",))
    assert sorted(layout.files) == ["/python/app.py"]
    assert "1 copied files lie outside" in layout.notes[0]


def test_nested_dirs_are_one(lay: Callable[..., Layout]) -> None:
    """A directory within another encrypted one is encrypted already."""
    assert list(lay({"lib/a": "1"}, dirs=("/python/lib", "/python", "/python")).encrypted) == ["/python"]


def test_an_empty_directory_of_the_base_may_become_a_mount_point(lay: Callable[..., Layout], tmp_path: Path) -> None:
    """Nothing is hidden by the mount."""
    project = tmp_path / "other"
    source = service(project).source
    moved = dataclasses.replace(source, files=tuple(dataclasses.replace(f, path="/opt/empty/a") for f in source.files))
    assert list(lay(source=moved, dirs=("/opt/empty",), pwd="/opt/empty").encrypted) == ["/opt/empty"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dirs": ("/python", "/data")}, "nothing that `copy` names lies in it"),
        ({"dirs": ("/python", "/usr")}, "is not empty in the base image"),
        ({"dirs": ("/python", "/etc")}, "holds paths of the container runtime"),
        ({"dirs": ("/python", "/usr/bin/python3")}, "is not a directory"),
        ({"dirs": ("/python", "/")}, "whole image"),
        ({"dirs": ("/python", "/run/x")}, "belongs to the container runtime"),
        ({"dirs": ("/python", "/.scone/x")}, "belongs to the launcher"),
        ({"dirs": ("python",)}, "not an absolute path"),
        ({"dirs": ("/a/../python",)}, "not an absolute path"),
        ({"dirs": ("/python/",)}, "not an absolute path"),
        ({"injected": ("/usr/bin",)}, "is a directory in the base image"),
        ({"injected": ("/usr/bin/python3.11",)}, "measured program"),
        ({"injected": ("/lib64/ld.so",)}, "measured program or its loader"),
        ({"injected": ("/var/run/x",)}, "is a link (/run) in the base image"),
        ({"injected": ("/usr/bin/tool/x",)}, "'/usr/bin/tool' is not a directory"),
        ({"injected": ("/run/secrets/x",)}, "cannot hold a link"),
        ({"injected": ("/etc", "/a")}, "is a directory in the base image"),
        ({"injected": ("/a", "/a/b")}, "which is a file"),
        ({"injected": ("/etc/.wh.passwd",)}, "means a deletion"),
        ({"injected": ("/python/app.py",)}, "is a file of `copy` too"),
        ({"injected": ("/python/app.py/x",)}, "is a file and a directory"),
        ({"volumes": ("/python/data",)}, "lie one in the other"),
        ({"volumes": ("/",)}, "whole image"),
        ({"volumes": ("/var/run",)}, "is a link"),
        ({"volumes": ("/data",), "injected": ("/data/x",)}, "cannot hold a link"),
        ({"pwd": "relative"}, "not an absolute path"),
        ({"pwd": "/usr/bin/tool"}, "is not a directory"),
    ],
)
def test_what_could_not_work_in_the_container_is_refused(lay: Callable[..., Layout], changes: Any, words: str) -> None:
    """Each case would fail in the pod or protect nothing: it is said at preview, with the path."""
    with pytest.raises(ImageError) as caught:
        lay(**changes)
    assert words in str(caught.value)
    assert str(caught.value).startswith("hello: ")


def test_volumes_get_a_place_to_be_mounted_on(lay: Callable[..., Layout]) -> None:
    """The root is read-only: the mount point has to be there. Below /tmp the runtime's directories do."""
    layout = lay(volumes=("/data/db", "/tmp/scratch"))  # noqa: S108  names in an image
    assert layout.volumes == ("/data/db", "/tmp/scratch")  # noqa: S108
    assert layout.directories == {"/python", "/data", "/data/db"}


def test_paths_that_the_base_was_not_asked_for_are_no_guess(tmp_path: Path, cache: BaseCache) -> None:
    """A prediction never assumes what a base has: it says that it must look."""
    inputs = service(tmp_path / "project", injected=("/tls/a",))
    known = dict(base_for(service(tmp_path / "project"), cache).paths)
    with pytest.raises(ImageError, match="what the base has at /tls"):
        lay_out(inputs, base=known, measured=MEASURED)
    assert "/tls/a" in wanted_paths(inputs)


def test_a_working_directory_of_the_runtime_is_left_to_it(lay: Callable[..., Layout]) -> None:
    """Nobody lists /tmp, and the image does not change its mode."""
    assert lay(pwd="/tmp").directories == {"/python"}  # noqa: S108  a name in an image


def test_a_working_directory_that_the_base_lacks_is_made(lay: Callable[..., Layout]) -> None:
    """The launcher changes into it: it has to be there."""
    assert lay(pwd="/srv/app").directories == {"/python", "/srv", "/srv/app"}
