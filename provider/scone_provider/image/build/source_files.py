"""The files of a service: what `copy` names in the manifest's folder, as they will lie in the image."""

import hashlib
import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scone_provider.errors import ImageError
from scone_provider.file_errors import file_errors, file_problem, file_reason, resolved
from scone_provider.image.build import dockerignore

_PAGE = 4096
_IGNORED = frozenset({"__pycache__"})
"""Compiled Python depends on machine and moment: it would give every build another digest."""


@dataclass(frozen=True, kw_only=True)
class SourceLimits:
    """What a service may bring; sizes in bytes. A file is sealed whole, and all of them unpack into memory."""

    file: int = 256 << 20
    total: int = 1 << 30
    entries: int = 50_000


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file: `path` in the image, `mode` 0644 or 0755, content as it was when it was looked at, at `origin`."""

    path: str
    mode: int
    size: int
    sha256: str
    load: Callable[[], bytes] = field(repr=False, compare=False)
    origin: Path | None = field(default=None, repr=False, compare=False)
    private: bool = field(default=False, repr=False, compare=False)
    """Whether nobody but its owner may read it here; the image has no part in that."""

    def read(self) -> bytes:
        """The content. Raises ImageError when it is no longer the one that was looked at."""
        content = self.load()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ImageError("the file changed while the image was built", where=self.path, fix="run the command again")
        return content


@dataclass(frozen=True, kw_only=True)
class SourceTree:
    """Files, links (path to relative target) and directories, by absolute path in the image."""

    files: tuple[SourceFile, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    directories: tuple[str, ...] = ()

    def paths(self) -> tuple[str, ...]:
        """Every path, sorted."""
        return tuple(sorted([f.path for f in self.files] + [path for path, _ in self.links] + list(self.directories)))


def scan_source(
    folder: Path,
    copy: Sequence[str],
    *,
    into: str,
    limits: SourceLimits | None = None,
    places: Mapping[str, str] | None = None,
) -> SourceTree:
    """What `copy` (paths relative to `folder`, the manifest's own) brings below the directory `into` of the image.

    A path keeps its folders: `src/app.py` becomes `<into>/src/app.py`; a folder brings all below it. Modes become 0755
    where the owner may execute, else 0644. What the folder's `.dockerignore` names is left out. Raises ImageError for
    what is missing, special, too big, or outside; `places` are those of `ImageInputs`.
    """
    scan = _Scan(folder, into, limits or SourceLimits(), places or {})
    for entry in copy:
        scan.add(entry)
    return scan.tree()


def encrypted_sizes(folder: Path, copy: Sequence[str], *, into: str, dirs: Sequence[str]) -> dict[str, int]:
    """How much memory each of `dirs` takes when it is decrypted, in bytes; `copy` and `into` as of `scan_source`.

    Looks at sizes alone and reads no file. Raises ImageError as `scan_source` does.
    """
    scan = _Sizes(folder, into, SourceLimits(), {})
    for entry in copy:
        scan.add(entry)
    tree = scan.tree()
    others = (*tree.directories, *(path for path, _ in tree.links))
    pages = {**dict.fromkeys(others, 1), **{file.path: -(-file.size // _PAGE) for file in tree.files}}
    return {
        place: sum(count for path, count in pages.items() if path == place or path.startswith(f"{place}/")) * _PAGE
        for place in dirs
    }


class _Scan:
    def __init__(self, folder: Path, into: str, limits: SourceLimits, places: Mapping[str, str]) -> None:
        self._folder = resolved(folder, where=f"{folder}: build.copy", kind=ImageError)
        self._into, self._limits = into, limits
        self._places, self._entry = places, ""
        self._ignore = read_ignore(self._folder)
        self._files: dict[str, SourceFile] = {}
        self._links: dict[str, str] = {}
        self._directories: set[str] = set()
        self._left = limits.total

    def tree(self) -> SourceTree:
        return SourceTree(
            files=tuple(self._files[path] for path in sorted(self._files)),
            links=tuple(sorted(self._links.items())),
            directories=tuple(sorted(self._directories)),
        )

    def add(self, entry: str) -> None:
        self._entry = entry
        with self._readable(entry):
            self._add(entry)

    def _add(self, entry: str) -> None:
        relative = posixpath.normpath(entry) if entry else ""
        if not entry or entry.startswith("/") or relative.split("/")[0] == ".." or "\x00" in entry:
            raise self._refuse(entry, "is not a path below the manifest's folder", fix="copy only what lies below it")
        found = self._folder / relative
        if not _exists(found):
            raise self._refuse(entry, "does not exist", fix=f"paths of `copy` are relative to {self._folder}")
        if found != self._folder and not self._end(found.parent, entry).is_relative_to(self._folder):
            raise self._refuse(entry, "leads out of the manifest's folder through a link", fix="copy the file itself")
        taken = [self._take(path) for path in _below(found, self._prunes)]
        if not any(taken) and self._ignore.excludes(relative):
            fix = f"correct {self._folder / dockerignore.NAME}"
            raise self._refuse(entry, "is to be copied, but .dockerignore leaves it out", fix=fix)

    def _prunes(self, path: Path) -> bool:
        return self._ignore.prunes(path.relative_to(self._folder).as_posix())

    def _take(self, path: Path) -> bool:
        """Takes one path, unless it is to be ignored: then False."""
        relative = path.relative_to(self._folder).as_posix()
        if self._ignore.excludes(relative):
            return False
        try:
            relative.encode()
        except UnicodeEncodeError:
            shown = relative.encode("utf-8", "backslashreplace").decode()
            raise self._refuse(shown, "has a name that is not UTF-8", fix="rename it") from None
        place = posixpath.normpath(posixpath.join(self._into, relative))
        if len(self._files) + len(self._links) + len(self._directories) >= self._limits.entries:
            raise self._refuse(relative, f"is one more than the {self._limits.entries} files an image may bring")
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            self._links[place] = self._target(path, relative)
        elif stat.S_ISDIR(status.st_mode):
            if place != self._into:
                self._directories.add(place)
        elif stat.S_ISREG(status.st_mode):
            if place not in self._files:
                self._files[place] = self._file(path, relative, place, status)
        else:
            raise self._refuse(relative, "is neither file, folder nor link", fix="do not copy it")
        return True

    def _judge(self, relative: str, status: os.stat_result) -> None:
        self._left -= status.st_size
        if status.st_size > self._limits.file or self._left < 0:
            raise self._refuse(
                relative,
                f"is too big: a file may have {self._limits.file} bytes, all of them {self._limits.total}",
                fix="put big data on a volume",
            )

    def _file(self, path: Path, relative: str, place: str, status: os.stat_result) -> SourceFile:
        self._judge(relative, status)

        def load() -> bytes:
            return self._load(path, relative)

        content = load()
        return SourceFile(
            path=place,
            mode=0o755 if status.st_mode & stat.S_IXUSR else 0o644,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            origin=self._end(path, relative),
            load=load,
            private=not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO),
        )

    def _load(self, path: Path, relative: str) -> bytes:
        try:
            # Not through a link, and not waiting for a fifo, which may stand there since it was looked at.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    content = file.read(self._limits.file + 1)
                    if len(content) <= self._limits.file:
                        return content
        except (OSError, ValueError) as error:
            raise self._refuse(relative, f"cannot be read: {file_reason(error)}") from None
        raise self._refuse(relative, "changed while the image was built", fix="run the command again")

    def _target(self, path: Path, relative: str) -> str:
        target = path.readlink().as_posix()
        end = self._end(path, relative)
        if target.startswith("/") or not end.is_relative_to(self._folder) or not end.exists():
            raise self._refuse(relative, "is a link that does not lead to a file of the manifest's folder")
        try:
            target.encode()
        except UnicodeEncodeError:
            raise self._refuse(relative, "is a link to a name that is not UTF-8") from None
        return target

    def _end(self, path: Path, relative: str) -> Path:
        """Where links lead in the end."""
        try:
            return path.resolve()
        except (OSError, RuntimeError) as error:
            raise self._refuse(
                relative,
                f"cannot be read: {file_reason(error)}",
                fix="remove the link, or leave it out by .dockerignore",
            ) from None

    @contextmanager
    def _readable(self, entry: str) -> Iterator[None]:
        with file_errors(f"{entry!r} cannot be read", where=self._where(), kind=ImageError):
            yield

    def _where(self) -> str:
        return self._places.get(f"copy {self._entry}") or f"{self._folder}: build.copy"

    def _refuse(self, entry: str, what: str, *, fix: str = "") -> ImageError:
        return ImageError(f"{entry!r} {what}", where=self._where(), fix=fix)


class _Sizes(_Scan):
    """Files that nobody will read: their sizes as the file system tells them."""

    def _file(self, path: Path, relative: str, place: str, status: os.stat_result) -> SourceFile:
        self._judge(relative, status)
        return SourceFile(
            path=place, mode=0o644, size=status.st_size, sha256="", load=lambda: self._load(path, relative)
        )


def read_ignore(folder: Path) -> dockerignore.Ignore:
    """The `.dockerignore` of a folder; without one, nothing is ignored. Raises ImageError."""
    path = folder / dockerignore.NAME
    try:
        with path.open("rb") as file:
            data = file.read(dockerignore.LIMIT + 1)
        text = data.decode()
    except FileNotFoundError:
        return dockerignore.Ignore()
    except (OSError, UnicodeDecodeError) as error:
        raise file_problem(error, "the file cannot be read as text", where=path, kind=ImageError) from None
    if len(data) > dockerignore.LIMIT:
        raise ImageError(f"the file is larger than {dockerignore.LIMIT} bytes", where=str(path))
    return dockerignore.parse(text, where=str(path))


def _exists(path: Path) -> bool:
    """Whether there is something, be it a link that leads nowhere. Raises OSError where that cannot be seen."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _below(top: Path, prunes: Callable[[Path], bool]) -> Iterator[Path]:
    """`top` and all that lies below it but for what is pruned; no link followed, each folder before what it holds."""
    pending = [top]
    while pending:
        path = pending.pop()
        yield path
        if path.is_symlink() or not path.is_dir() or prunes(path):
            continue
        try:
            children = sorted(path.iterdir(), reverse=True)
        except OSError as error:
            raise file_problem(error, "the folder cannot be read", where=path, kind=ImageError) from None
        pending += [child for child in children if child.name not in _IGNORED]
