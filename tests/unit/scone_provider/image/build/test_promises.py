"""What a manifest says of single paths: where they must lie, what takes their protection away, and what is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.build.plan import ImagePlan, plan_image
from scone_provider.image.build.source_files import SourceTree
from scone_provider.image.protection.image_keys import derive_keys
from scone_provider.image.protection.seal import ROOT_LABEL, unseal
from support.tiny_image import (
    IMAGE_KEY,
    LAUNCHER,
    USUAL,
    In,
    TinyImage,
    base_for,
    folder,
    program,
    service,
    tar,
    tiny_image,
)
from unit.scone_provider.image.build.test_plan import files_of

MORE = tar(folder("srv"), folder("srv/data"), In("srv/data/seed", b"seed"), In("srv/settings", b"x=1\n"))


@pytest.fixture
def plan(tmp_path: Path, cache: BaseCache) -> Callable[..., ImagePlan]:
    """Plans a service on the usual tiny base with a few more files."""

    def plan(*, image: TinyImage | None = None, **changes: Any) -> ImagePlan:
        inputs = service(tmp_path / "project", **changes)
        base = base_for(inputs, cache, image or tiny_image(USUAL, MORE))
        return plan_image(inputs, base, image_key=IMAGE_KEY, launcher=LAUNCHER)

    return plan


def protection_of(plan: ImagePlan) -> dict[str, Any]:
    """The opened protection file."""
    key = bytes.fromhex(derive_keys(IMAGE_KEY, identity="team/hello").fspf_key)
    return json.loads(unseal(key, ROOT_LABEL, files_of(plan)["/.scone/service.fspf"]))


def test_unprotected_paths_stand_in_the_protection_and_are_told(plan: Callable[..., ImagePlan]) -> None:
    """`plains`, `plain_files` and `host_paths` are what the launcher does not compare; each is said to people."""
    made = plan(plains=("/srv/data",), plain_files=("/srv/settings",), host_paths=("/etc/resolv.conf", "/usr/bin/tool"))
    assert protection_of(made)["unprotected"] == ["/etc/resolv.conf", "/srv/data", "/srv/settings", "/usr/bin/tool"]
    assert len([note for note in made.notes if "nobody notices" in note]) == 3


def test_volumes_stand_in_the_protection_with_a_mount_point(plan: Callable[..., ImagePlan]) -> None:
    """A volume may be a mount; the image has a directory there, because its root is read-only."""
    made = plan(volumes=("/var/lib/db",))
    assert protection_of(made)["volumes"] == ["/var/lib/db"]
    assert files_of(made)["/var/lib/db"] is None


def test_verified_paths_change_nothing_where_they_are_verified_anyway(plan: Callable[..., ImagePlan]) -> None:
    """`fs_dirs` and `fs_files` are promises about an image, not parts of it: the digest stays."""
    assert plan(fs_dirs=("/usr", "/srv/data"), fs_files=("/srv/settings",)).digest == plan().digest


def test_what_is_encrypted_is_verified_too(plan: Callable[..., ImagePlan]) -> None:
    """A promise of integrity about an encrypted path is kept, and more."""
    made = plan(fs_files=("/python/app.py",))
    assert any("which is encrypted: that protects it too" in note for note in made.notes)


def test_copied_files_of_a_verified_folder_are_clear_and_listed(plan: Callable[..., ImagePlan]) -> None:
    """With `fs_dirs` in place of `dirs`, the files lie in the layer as they are, each with its digest."""
    made = plan(files={"app.py": "print(1)\n"}, dirs=(), fs_dirs=("/python",))
    assert files_of(made)["/python/app.py"] == b"print(1)\n"
    assert protection_of(made)["entries"]["/python/app.py"][0] == "f"
    assert protection_of(made)["encrypted"] == {}


def test_files_of_a_native_stage_come_with_the_base(plan: Callable[..., ImagePlan]) -> None:
    """What a builder copied already is not laid over it again: `run` may have worked on it."""
    made = plan(files={"app.py": "print(1)\n"}, dirs=(), native_stage=True)
    assert "/python/app.py" not in files_of(made)
    assert set(made.fingerprints) == {"/python/app.py"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fs_dirs": ("/gone",)}, "is not in the image"),
        ({"fs_dirs": ("/srv/settings",)}, "is no directory"),
        ({"fs_files": ("/srv/data",)}, "is no file"),
        ({"fs_files": ("/usr/bin/python3",)}, "is a link (python3.11)"),
        ({"fs_dirs": ("/srv/data",), "plains": ("/srv",)}, "lies within an unprotected path: /srv"),
        ({"fs_dirs": ("/srv/data",), "volumes": ("/srv",)}, "lies within volumes: /srv"),
        ({"fs_dirs": ("/run/x",)}, "belongs to the container runtime"),
        ({"plains": ("/python",)}, "which is encrypted"),
        ({"plains": ("/python/static",)}, "which is encrypted"),
        ({"plains": ("/usr",)}, "holds /usr/bin/python3.11, which must be protected"),
        ({"plain_files": ("/lib64/ld.so",)}, "holds /lib64/ld.so, which must be protected"),
        ({"plains": ("/gone",)}, "is not in the image"),
        ({"plain_files": ("/srv/data",)}, "is no file"),
        ({"host_paths": ("/.scone/x",)}, "belongs to the launcher"),
        ({"plains": ("/",)}, "whole image"),
        ({"binaries": ("tool2",)}, "which is none of them"),
        ({"binaries": ("ruby",)}, "no such program"),
    ],
)
def test_broken_promises_are_refused(plan: Callable[..., ImagePlan], changes: Any, words: str) -> None:
    """Each of these would protect less than the manifest says: it is an error with the path, at the manifest's line."""
    image = tiny_image(USUAL, MORE, tar(program("usr/bin/tool2")))
    with pytest.raises(ImageError) as caught:
        plan(image=image, **changes)
    assert words in str(caught.value)


def test_errors_name_the_line(plan: Callable[..., ImagePlan]) -> None:
    """Where the manifest's lines are known, an error begins with the one of the item."""
    with pytest.raises(ImageError) as caught:
        plan(plains=("/gone",), places={"plains /gone": "service.yaml:30: build.plains[0]"})
    assert caught.value.where == "service.yaml:30: build.plains[0]"


def test_the_started_program_is_one_of_binaries(plan: Callable[..., ImagePlan]) -> None:
    """`binaries` may name the command's program by another of its names; what is measured stays."""
    assert plan(binaries=("/usr/bin/python3.11",)).measurement == plan().measurement


def test_a_wrapped_image_keeps_its_variables_and_working_folder(plan: Callable[..., ImagePlan]) -> None:
    """What the native image sets for its program is in the launcher's verified configuration, SCONE's variables not."""
    config = {"Env": ["PATH=/usr/bin", "LANG=C.UTF-8", "EMPTY=", "SCONE_HEAP=1G"], "WorkingDir": "/srv"}
    wrapped = plan(image=tiny_image(config=config), dirs=(), pwd="/", source=SourceTree(), image_defaults=True)
    settings = json.loads(files_of(wrapped)["/.scone/launcher.json"])
    assert settings["environment"] == {"PATH": "/usr/bin", "LANG": "C.UTF-8", "EMPTY": ""}
    assert settings["pwd"] == "/srv"
