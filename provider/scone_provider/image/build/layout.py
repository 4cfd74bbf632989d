"""Where a service's files, mount points and links lie in the image, judged against what the base has there. Pure."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from scone_provider.errors import ImageError
from scone_provider.image.build.places import Places
from scone_provider.image.build.source_files import SourceFile, SourceTree
from scone_provider.image.protection.image_keys import injected_name
from scone_provider.image.protection.measurement import MeasuredEnvironment
from scone_provider.image.protection.protection_file import (
    EXCLUDED_DIRECTORIES,
    EXCLUDED_FILES,
    KUBERNETES_FILES,
    MEMORY,
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


@dataclass(frozen=True, kw_only=True)
class Encrypted:
    """What one encrypted directory holds, by path relative to it."""

    files: Mapping[str, SourceFile]
    links: Mapping[str, str]
    directories: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The service's part of the file system. `links` and `injected` map paths to targets and to names in memory."""

    encrypted: Mapping[str, Encrypted]
    directories: frozenset[str]
    files: Mapping[str, SourceFile]
    links: Mapping[str, str]
    injected: Mapping[str, str]
    volumes: tuple[str, ...]
    unprotected: tuple[str, ...]
    notes: tuple[str, ...]


def wanted_paths(inputs: ImageInputs) -> tuple[str, ...]:
    """The paths of which a prediction has to know what the base has there: `paths` of `resolve_base`.

    Raises ImageError for a path that no image could have, so that nothing is downloaded for it.
    """
    _check_paths(inputs)
    encrypted = outermost(inputs.dirs)
    judged = (*inputs.fs_dirs, *inputs.fs_files, *inputs.unprotected)
    own = [p for p in (*inputs.source.paths(), *inputs.injected, inputs.pwd, *judged) if not within(p, encrypted)]
    return tuple(sorted({*encrypted, *own, *inputs.volumes}))


def lay_out(inputs: ImageInputs, *, base: Mapping[str, str], measured: frozenset[str]) -> Layout:
    """The layout of `inputs` on a base of which `base` says what lies where (`LockedBase.paths`).

    `measured` are the paths of program and loader, which nothing may replace. Raises ImageError for what cannot work.
    """
    return _Layouter(inputs, base, measured).layout()


PATH_KEYS = ("dirs", "fs_dirs", "fs_files", "volumes", "plains", "plain_files", "host_paths")
"""Build keys whose items are absolute paths in the image."""


def outermost(paths: tuple[str, ...]) -> tuple[str, ...]:
    """`paths` without those that lie within another."""
    return tuple(path for path in sorted(set(paths)) if not within(posixpath.dirname(path), paths))


def within(path: str, folders: tuple[str, ...]) -> str | None:
    """The folder at or above `path`, if any."""
    return next((folder for folder in folders if path == folder or path.startswith(f"{folder}/")), None)


def _check_paths(inputs: ImageInputs) -> None:
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


class _Layouter:
    def __init__(self, inputs: ImageInputs, base: Mapping[str, str], measured: frozenset[str]) -> None:
        self._inputs, self._base, self._measured = inputs, base, measured
        _check_paths(inputs)
        self._folders = outermost(inputs.dirs)
        self._directories: set[str] = set()
        self._files: dict[str, SourceFile] = {}
        self._links: dict[str, str] = {}
        self._notes: list[str] = []

    def layout(self) -> Layout:
        for folder in self._folders:
            self._encrypted_mount(folder)
        for volume in self._inputs.volumes:
            self._volume(volume)
        injected = self._injected()
        encrypted = {folder: self._content(folder, injected) for folder in self._folders}
        self._clear_files()
        pwd = self._inputs.pwd
        if not within(pwd, (*self._folders, *self._inputs.volumes)) and not belongs_to_runtime(pwd):
            self._directory(pwd, "pwd")
        return Layout(
            encrypted=encrypted,
            directories=frozenset(self._directories),
            files=self._files,
            links=self._links,
            injected=injected,
            volumes=tuple(sorted(set(self._inputs.volumes))),
            unprotected=self._inputs.unprotected,
            notes=tuple(self._notes),
        )

    def _encrypted_mount(self, folder: str) -> None:
        kind = self._kind(folder)
        if kind == "directory" and self._inputs.native_stage:
            raise self._refuse(
                "dirs", folder, "is to be encrypted, but `run` or `requirements` wrote into it: that is in clear",
                fix="let them write elsewhere, or name another `pwd`",
            )  # fmt: skip
        if kind not in {"absent", "empty"}:
            reason = "is not empty" if kind == "directory" else "is not a directory"
            raise self._refuse(
                "dirs", folder, f"{reason} in the base image: an encrypted directory would hide what is there",
                fix="the base holds it in clear: encrypt a directory that the base does not have, filled by `copy`",
            )  # fmt: skip
        for path in self._measured:
            if within(path, (folder,)):
                raise self._refuse("dirs", folder, f"holds the program or its loader ({path}), which are not encrypted")
        self._parents(folder, "dirs")
        self._directories.add(folder)

    def _volume(self, path: str) -> None:
        if within(path, self._folders) or any(within(folder, (path,)) for folder in self._folders):
            raise self._refuse("volumes", path, "and an encrypted directory lie one in the other")
        if not belongs_to_runtime(path):
            self._directory(path, "volumes")

    def _injected(self) -> dict[str, str]:
        injected = {}
        for path in sorted(set(self._inputs.injected)):
            if path in KUBERNETES_FILES:
                self._notes.append(
                    f"injection_files: {path} belongs to Kubernetes; the software mode leaves it as it is"
                )
                continue
            if belongs_to_runtime(path) or within(path, self._inputs.volumes):
                raise self._refuse("injection_files", path, "lies where the image cannot hold a link to it")
            name = injected[path] = injected_name(path)
            if not within(path, self._folders):
                self._place(path, "injection_files")
                self._links[path] = f"{MEMORY}/{name}"
        return injected

    def _content(self, folder: str, injected: Mapping[str, str]) -> Encrypted:
        source, prefix = self._inputs.source, f"{folder}/"
        files = {f.path.removeprefix(prefix): f for f in source.files if f.path.startswith(prefix)}
        links = {path.removeprefix(prefix): target for path, target in source.links if path.startswith(prefix)}
        if not files and not links:
            raise self._refuse(
                "dirs", folder, "is to be encrypted, but nothing that `copy` names lies in it",
                fix="copy files into it, or leave it out of `dirs`",
            )  # fmt: skip
        for path, name in injected.items():
            if path.startswith(prefix):
                place = path.removeprefix(prefix)
                if place in files or place in links:
                    raise self._refuse("injection_files", path, "is a file of `copy` too", fix="keep one of the two")
                links[place] = f"{MEMORY}/{name}"
        listed = {path.removeprefix(prefix) for path in source.directories if path.startswith(prefix)}
        above = {str(up) for path in (*files, *links, *listed) for up in PurePosixPath(path).parents}
        directories = frozenset((listed | above) - {"."})
        clash = sorted((files.keys() | links.keys()) & directories)
        if clash:
            raise self._refuse("copy", prefix + clash[0], "is a file and a directory")
        return Encrypted(files=files, links=links, directories=directories)

    def _clear_files(self) -> None:
        source = self._inputs.source
        links = {path: target for path, target in source.links if not within(path, self._folders)}
        files = {file.path: file for file in source.files if not within(file.path, self._folders)}
        for path in sorted({**links, **files}):
            if within(path, self._inputs.volumes):
                raise self._refuse("copy", path, "lies on a volume, which would hide it")
        if self._inputs.native_stage:
            return  # they came with the base, where `run` may have worked on them
        for directory in source.directories:
            if not within(directory, self._folders):
                self._directory(directory, "copy")
        for path in sorted({**links, **files}):
            self._place(path, "copy")
        self._links |= links
        self._files = files
        if files:
            self._notes.append(
                f"{len(files)} copied files lie outside of `dirs`: they are protected, but not encrypted"
            )

    def _directory(self, path: str, key: str) -> None:
        """A directory that has to be there: the base's, or made."""
        if path == "/" or path in self._directories:
            return
        kind = self._kind(path)
        if kind == "absent":
            self._parents(path, key)
            self._directories.add(path)
        elif kind not in {"directory", "empty"}:
            raise self._not_below(path, kind, key)
        else:
            self._parents(path, key)

    def _place(self, path: str, key: str) -> None:
        """A place for a file or link: with parents, and without a directory of the base or another file in its way."""
        if path in self._measured:
            raise self._refuse(key, path, "is the measured program or its loader")
        if path in self._links or path in self._directories:
            raise self._refuse(key, path, "is needed twice")
        if posixpath.basename(path).startswith(".wh."):
            raise self._refuse(key, path, "has a name that means a deletion in image layers", fix="rename it")
        if self._kind(path) in {"directory", "empty"}:
            raise self._refuse(key, path, "is a directory in the base image")
        self._parents(path, key)

    def _parents(self, path: str, key: str) -> None:
        for up in reversed([str(up) for up in PurePosixPath(path).parents if str(up) != "/"]):
            if up in self._links or up in self._files:
                raise self._refuse(key, path, f"lies below {up}, which is a file")
            kind = self._kind(up)
            if kind == "absent":
                self._directories.add(up)
            elif kind not in {"directory", "empty"}:
                raise self._not_below(up, kind, key)

    def _not_below(self, path: str, kind: str, key: str) -> ImageError:
        if kind.startswith("link "):
            return self._refuse(
                key, path, f"is a link ({kind.removeprefix('link ')}) in the base image", fix="name the real path"
            )
        return self._refuse(key, path, "is not a directory in the base image")

    def _kind(self, path: str) -> str:
        try:
            return self._base[path]
        except KeyError:
            raise ImageError(
                f"what the base has at {path} is not known yet", where="base", fix="extend the locked base first"
            ) from None

    def _refuse(self, key: str, path: str, what: str, *, fix: str = "") -> ImageError:
        return refusal(self._inputs, key, path, what, fix=fix)
