"""What was downloaded or computed of base images, on disk: private, content-addressed, safe for several processes."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from scone_provider.errors import ImageError
from scone_provider.file_errors import file_errors
from scone_provider.image.oci.reference import is_digest


def default_cache_folder() -> Path:
    """`$XDG_CACHE_HOME/pulumi-scone/bases`, by default below `~/.cache`. Raises ImageError where nobody has a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "pulumi-scone" / "bases"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise ImageError("there is no home folder to keep base images in", where="$HOME", fix="set HOME") from None


class BaseCache:
    """One folder. Files appear by rename, complete and verified, or not at all."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is made when missing, for its owner alone. Raises ImageError when it belongs to someone else."""
        self._folder = folder or default_cache_folder()
        with self._usable():
            for part in ("blobs", "facts", "tags", "locks"):
                (self._folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.chmod(0o700)

    def get(self, digest: str, *, limit: int) -> bytes | None:
        """A small blob, verified; None when it is not here (or no longer what it was, which removes it)."""
        path = self._blob(digest)
        with self._usable():
            try:
                if path.stat().st_size > limit:
                    return None
                data = path.read_bytes()
            except FileNotFoundError:
                return None
        if f"sha256:{hashlib.sha256(data).hexdigest()}" == digest:
            return data
        self.drop(digest)
        return None

    def put(self, digest: str, data: bytes) -> None:
        """Keeps a small blob that the caller has verified."""
        self._write(self._blob(digest), lambda file: file.write(data))

    def has(self, digest: str, *, size: int) -> bool:
        """True when a blob of this size is here. Its content is verified by whoever reads it."""
        path = self._blob(digest)
        with self._usable():
            return path.is_file() and path.stat().st_size == size

    def fetch(self, digest: str, download: Callable[[BinaryIO], object]) -> None:
        """Keeps what `download` writes and verifies; nothing is kept when it raises."""
        self._write(self._blob(digest), download)

    @contextlib.contextmanager
    def open(self, digest: str) -> Iterator[BinaryIO]:
        """A blob to read from. It must be here (`has`)."""
        with self._usable(), self._blob(digest).open("rb") as file:
            yield file

    def drop(self, digest: str) -> None:
        """Forgets a blob that turned out damaged."""
        with self._usable():
            self._blob(digest).unlink(missing_ok=True)

    def fact(self, name: str) -> bytes | None:
        """What was computed and kept under `name` (letters, digits, dots), None when nothing was."""
        with self._usable():
            try:
                return (self._folder / "facts" / name).read_bytes()
            except FileNotFoundError:
                return None

    def keep_fact(self, name: str, data: bytes) -> None:
        """Keeps what was computed."""
        self._write(self._folder / "facts" / name, lambda file: file.write(data))

    def recall(self, reference: str) -> str | None:
        """The digest that a tag had when it was last seen."""
        with self._usable():
            try:
                digest = self._tag(reference).read_text("ascii", "replace")
            except FileNotFoundError:
                return None
        return digest if is_digest(digest) else None

    def remember(self, reference: str, digest: str) -> None:
        """Keeps which digest a tag has now."""
        self._write(self._tag(reference), lambda file: file.write(digest.encode()))

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Lets one process at a time work on `name` (letters, digits, dots): the others find its result."""
        with self._usable():
            descriptor = os.open(self._folder / "locks" / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            with self._usable():
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _blob(self, digest: str) -> Path:
        assert is_digest(digest)
        return self._folder / "blobs" / digest.removeprefix("sha256:")

    def _tag(self, reference: str) -> Path:
        return self._folder / "tags" / hashlib.sha256(reference.encode()).hexdigest()

    def _write(self, path: Path, fill: Callable[[BinaryIO], object]) -> None:
        with self._usable():
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    fill(file)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    def _usable(self) -> contextlib.AbstractContextManager[None]:
        return file_errors(
            "the cache of base images cannot be used",
            where=self._folder,
            fix="make room there, or name another folder in XDG_CACHE_HOME",
            kind=ImageError,
        )
