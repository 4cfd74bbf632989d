"""What one image is made of, and whether its paths are ones that an image can have. Pure."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from scone_provider.errors import ImageError
from scone_provider.image.build.places import Places
from scone_provider.image.build.source_files import SourceTree
from scone_provider.image.protection.measurement import MeasuredEnvironment
from scone_provider.image.protection.protection_file import (
    EXCLUDED_DIRECTORIES,
    EXCLUDED_FILES,
    SCONE,
    belongs_to_runtime,
)


@dataclass(frozen=True, kw_only=True)
class ImageInputs:
    """What one confidential image is made of, besides its base, the image key and the launcher. Paths are absolute.

    `program` is the first word of the command; where `binaries` are named, it has to be one of them. `dirs` are
    encrypted. `injected` are the paths of injection files (their content is CAS's). `fs_dirs` and `fs_files` must lie
    where they are verified; `volumes` may be mounts; `plains`, `plain_files` and `host_paths` may change. `cas_key`
    pins the CAS (Base58Check). `native_stage`: the base was built with the copied files that are not encrypted.
    `image_defaults`: the program gets the base's own variables and working folder where the policy says nothing.
    """

    name: str
    to: str
    program: str
    pwd: str
    source: SourceTree
    dirs: tuple[str, ...]
    injected: tuple[str, ...] = ()
    binaries: tuple[str, ...] = ()
    fs_dirs: tuple[str, ...] = ()
    fs_files: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    plains: tuple[str, ...] = ()
    plain_files: tuple[str, ...] = ()
    host_paths: tuple[str, ...] = ()
    environment: MeasuredEnvironment = field(default_factory=MeasuredEnvironment)
    cas_key: str | None = None
    native_stage: bool = False
    image_defaults: bool = False
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def unprotected(self) -> tuple[str, ...]:
        """Paths at and below which nothing is verified, and which are no mounts."""
        return tuple(sorted({*self.plains, *self.plain_files, *self.host_paths}))

    def place(self, key: str, item: str = "") -> str:
        """Where a build key's item was asked for, for errors."""
        return Places(name=self.name, known=self.places).of(key, item)


PATH_KEYS = ("dirs", "fs_dirs", "fs_files", "volumes", "plains", "plain_files", "host_paths")
"""Build keys whose items are absolute paths in the image."""


def outermost(paths: tuple[str, ...]) -> tuple[str, ...]:
    """`paths` without those that lie within another."""
    return tuple(path for path in sorted(set(paths)) if not within(posixpath.dirname(path), paths))


def within(path: str, folders: tuple[str, ...]) -> str | None:
    """The folder at or above `path`, if any."""
    return next((folder for folder in folders if path == folder or path.startswith(f"{folder}/")), None)


def check_paths(inputs: ImageInputs) -> None:
    """Raise ImageError for a path that no image could have."""
    named = {key: getattr(inputs, key) for key in PATH_KEYS}
    named |= {"injection_files": inputs.injected, "pwd": (inputs.pwd,), "copy": inputs.source.paths()}
    for key, paths in named.items():
        for path in paths:
            _check_path(inputs, key, path)


def _check_path(inputs: ImageInputs, key: str, path: str) -> None:
    if not path.startswith("/") or str(PurePosixPath(path)) != path or ".." in path.split("/") or "\x00" in path:
        raise refusal(inputs, key, path, "is not an absolute path without . and ..")
    if path == "/" and key != "pwd":
        raise refusal(inputs, key, path, "is the whole image", fix="name a directory of its own")
    if path == SCONE or path.startswith(f"{SCONE}/"):
        raise refusal(inputs, key, path, f"lies in {SCONE}, which belongs to the launcher")
    if key in {"dirs", "copy", "fs_dirs", "fs_files"} and belongs_to_runtime(path):
        raise refusal(inputs, key, path, "belongs to the container runtime and cannot be protected")
    if key == "dirs" and any(
        of_runtime.startswith(f"{path}/") for of_runtime in (*EXCLUDED_DIRECTORIES, *EXCLUDED_FILES)
    ):
        raise refusal(inputs, key, path, "holds paths of the container runtime", fix="name a directory of its own")


def refusal(inputs: ImageInputs, key: str, path: str, what: str, *, fix: str = "") -> ImageError:
    """The error for one path of a build key."""
    return ImageError(f"{path!r} {what}", where=inputs.place(key, path), fix=fix)
