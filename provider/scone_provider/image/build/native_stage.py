"""The native stage: what a container builder makes of `requirements` and `run`, before the confidential layers.

Its context holds the requirements and the copied files that are not encrypted, and nothing else: what is encrypted is
never given to a builder, so it cannot reach a layer of the native image.
"""

import hashlib
import os
import posixpath
import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scone_provider.errors import ImageError
from scone_provider.file_errors import file_errors, file_reason, resolved
from scone_provider.image.build.inputs import within
from scone_provider.image.build.source_files import SourceTree, read_ignore, scan_source
from scone_provider.image.oci.reference import parse_reference

CONTEXT_FOLDER = ".pulumi-scone/native"
"""Where contexts stand in a project, relative to it; git-ignored."""
PIP_SECRET = "pip_config"  # noqa: S105  the name of a build secret
"""Build secret with the text of a pip.conf: where packages come from, and with which credentials."""

_COPIED, _REQUIRED = "files", "requirements"
_TAG_LENGTH = 128
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._+@/\-]*")
_INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]\s*(\S+)")
_REQUIREMENTS_LIMIT = 1 << 20
_MOST_REQUIREMENTS = 100


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the builder sees. `files` are in clear already; `requirements` are texts by their path in the folder."""

    pwd: str
    files: SourceTree
    requirements: Mapping[str, bytes]
    main: str | None

    @property
    def copies(self) -> bool:
        """True when there are files to copy."""
        return bool(self.files.paths())


def native_reference(to: str) -> str:
    """Where the native image of `to` is kept: the same repository, so that its layers are there already."""
    reference = parse_reference(to)
    return f"{reference.name}:{('native-' + (reference.tag or 'latest'))[:_TAG_LENGTH]}"


def read_context(
    folder: Path,
    *,
    copy: Sequence[str],
    dirs: Sequence[str],
    pwd: str,
    requirements: str | None,
    places: Mapping[str, str],
) -> Context:
    """What of the manifest's folder the native stage may see. `dirs` are encrypted. Raises ImageError."""
    if not _PLAIN_PATH.fullmatch(pwd):
        raise ImageError(
            f"{pwd!r} cannot be written in a Dockerfile",
            where=places.get("pwd", "pwd"),
            fix="use letters, digits and . _ - + @ / only",
        )
    tree = scan_source(folder, copy, into=pwd, places=places)
    clear = SourceTree(
        files=tuple(file for file in tree.files if not within(file.path, tuple(dirs))),
        links=tuple(link for link in tree.links if not within(link[0], tuple(dirs))),
        directories=tuple(path for path in tree.directories if not within(path, tuple(dirs))),
    )
    texts = read_requirements(folder, requirements, places) if requirements else {}
    main = posixpath.normpath(requirements) if requirements else None
    return Context(pwd=pwd, files=clear, requirements=texts, main=main)


def dockerfile(context: Context, *, base: str, run: Sequence[str]) -> str:
    """The Dockerfile of the native stage: the same inputs, the same text."""
    lines = [f"FROM {base}"]
    if context.pwd.strip("/"):
        lines.append(f"WORKDIR {context.pwd}")
    if context.copies:
        lines.append(f'COPY ["{_COPIED}/", "{context.pwd.rstrip("/")}/"]')
    if context.main:
        lines.append(_install(context.main))
    lines += [f"RUN {_one_line(command)}" for command in run]
    return "\n".join(lines) + "\n"


def _install(main: str) -> str:
    # Nothing of the machine enters the image: no cache, no compiled files with times, no index, no credentials.
    return (
        f"RUN --mount=type=bind,source={_REQUIRED},target=/run/requirements --mount=type=secret,id={PIP_SECRET}"
        f" cd /run/requirements"
        f" && PIP_CONFIG_FILE=/run/secrets/{PIP_SECRET} PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore"
        f" python3 -m pip install --no-cache-dir --no-compile --no-input -r {shlex.quote(main)}"
    )


def _one_line(command: str) -> str:
    """A command as one instruction: the lines of the manifest's text are joined, as the vendor's tool does it.

    Lines that are comments are left out, as between the lines of a RUN: joined, the first would swallow the command.
    """
    lines = [line.strip() for line in command.splitlines()]
    kept = [line.removesuffix("\\").rstrip() for line in lines if not line.startswith("#")]
    return " ".join(line for line in kept if line)


def read_requirements(folder: Path, main: str, places: Mapping[str, str]) -> dict[str, bytes]:
    """The requirements file and those that it includes, by path relative to the folder. Raises ImageError."""
    where = places.get("requirements", f"{folder}: build.requirements")
    folder = resolved(folder, where=where, kind=ImageError)
    ignore = read_ignore(folder)
    found: dict[str, bytes] = {}
    pending = [posixpath.normpath(main)]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        outside = name.startswith(("/", "../")) or name == ".."
        if outside or not resolved(folder / name, where=where, kind=ImageError).is_relative_to(folder):
            raise ImageError(f"{name!r} is not a file below the manifest's folder", where=where)
        if ignore.excludes(name):
            raise ImageError(f"{name!r} is left out by .dockerignore", where=where, fix="correct .dockerignore")
        found[name] = text = _read(folder / name, name, where)
        if len(found) > _MOST_REQUIREMENTS:
            raise ImageError(f"more than {_MOST_REQUIREMENTS} files of requirements", where=where)
        for line in text.decode("utf-8", "replace").splitlines():
            included = _INCLUDE.match(line)
            if included and "://" not in included[1]:
                pending.append(posixpath.normpath(posixpath.join(posixpath.dirname(name), included[1])))
    return found


def _read(path: Path, name: str, where: str) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(_REQUIREMENTS_LIMIT + 1)
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{name!r} cannot be read: {file_reason(error)}",
            where=where,
            fix="paths are relative to the manifest's folder",
        ) from None
    if len(text) > _REQUIREMENTS_LIMIT:
        raise ImageError(f"{name!r} is larger than {_REQUIREMENTS_LIMIT} bytes", where=where)
    return text


def lay_out_context(project: Path, name: str, context: Context) -> str:
    """Writes a context into the project and returns its path relative to it, which is the same on every machine.

    What is right already is left alone, the rest replaced atomically, strangers are removed. Raises ImageError.
    """
    relative = f"{CONTEXT_FOLDER}/{name}"
    with file_errors("the builder's context cannot be written", where=project / relative, kind=ImageError):
        _lay_out(project, relative, context)
    return f"./{relative}"


def _lay_out(project: Path, relative: str, context: Context) -> None:
    folder = project / relative
    writer = _Writer(folder)
    for file in context.files.files:
        writer.file(f"{_COPIED}/{posixpath.relpath(file.path, context.pwd)}", file.read(), file.mode)
    for path, target in context.files.links:
        writer.link(f"{_COPIED}/{posixpath.relpath(path, context.pwd)}", target)
    for path in context.files.directories:
        writer.folder(f"{_COPIED}/{posixpath.relpath(path, context.pwd)}")
    for path, text in context.requirements.items():
        writer.file(f"{_REQUIRED}/{path}", text, 0o644)
    writer.finish()
    ignore = project / CONTEXT_FOLDER.split("/", maxsplit=1)[0] / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


class _Writer:
    """Makes a folder hold exactly what it is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: set[Path] = set()
        self.folder("")

    def folder(self, path: str) -> None:
        current = self._folder
        for part in ("", *Path(path).parts):
            current = current / part
            if current.is_symlink() or (current.exists() and not current.is_dir()):
                current.unlink()
            current.mkdir(parents=True, exist_ok=True)
            current.chmod(0o755)
            self._kept.add(current)

    def file(self, path: str, content: bytes, mode: int) -> None:
        target = self._place(path)
        same = target.is_file() and not target.is_symlink() and target.stat().st_mode & 0o7777 == mode
        if same and hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(content).digest():
            return
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        Path(temporary).replace(target)

    def link(self, path: str, to: str) -> None:
        target = self._place(path)
        if target.is_symlink() and target.readlink().as_posix() == to:
            return
        target.unlink(missing_ok=True)
        target.symlink_to(to)

    def finish(self) -> None:
        """Remove what was not named; folders after what they hold."""
        for found in sorted(self._folder.rglob("*"), reverse=True):
            if found in self._kept or found.name.startswith(".new-"):
                continue
            if found.is_dir() and not found.is_symlink():
                found.rmdir()
            else:
                found.unlink(missing_ok=True)

    def _place(self, path: str) -> Path:
        self.folder(posixpath.dirname(path))
        target = self._folder / path
        if target.is_dir() and not target.is_symlink():
            for inner in sorted(target.rglob("*"), reverse=True):
                inner.rmdir() if inner.is_dir() and not inner.is_symlink() else inner.unlink()
            target.rmdir()
        self._kept.add(target)
        return target
