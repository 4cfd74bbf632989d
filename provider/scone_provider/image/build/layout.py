"""Where a service's files, mount points and links lie in the image, judged against what the base has there. Pure."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from scone_provider.errors import ImageError
from scone_provider.image.build.inputs import ImageInputs, check_paths, outermost, refusal, within
from scone_provider.image.build.source_files import SourceFile
from scone_provider.image.protection.image_keys import injected_name
from scone_provider.image.protection.protection_file import (
    KUBERNETES_FILES,
    MEMORY,
    belongs_to_runtime,
)


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
    check_paths(inputs)
    encrypted = outermost(inputs.dirs)
    judged = (*inputs.fs_dirs, *inputs.fs_files, *inputs.unprotected)
    own = [p for p in (*inputs.source.paths(), *inputs.injected, inputs.pwd, *judged) if not within(p, encrypted)]
    return tuple(sorted({*encrypted, *own, *inputs.volumes}))


def lay_out(inputs: ImageInputs, *, base: Mapping[str, str], measured: frozenset[str]) -> Layout:
    """The layout of `inputs` on a base of which `base` says what lies where (`LockedBase.paths`).

    `measured` are the paths of program and loader, which nothing may replace. Raises ImageError for what cannot work.
    """
    return _Layouter(inputs, base, measured).layout()


class _Layouter:
    def __init__(self, inputs: ImageInputs, base: Mapping[str, str], measured: frozenset[str]) -> None:
        self._inputs, self._base, self._measured = inputs, base, measured
        check_paths(inputs)
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
