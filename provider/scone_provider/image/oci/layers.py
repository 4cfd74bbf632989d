"""Deterministic layers: uncompressed tar without times, owners and order of its own, streamed and never held whole."""

import hashlib
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from scone_provider.errors import ImageError

LAYER_MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar"
_BLOCK = 512
_RECORD = 10240  # tar pads archives to whole records
_TYPES = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE}

Chunks = Callable[[], Iterable[bytes]]
"""Makes the content anew each time it is called: once to know the digest, and once to send it."""


@dataclass(frozen=True, kw_only=True)
class Blob:
    """Bytes that a registry stores: known by digest and size, produced when needed."""

    digest: str
    size: int
    media_type: str
    chunks: Chunks = field(repr=False, compare=False)

    def descriptor(self) -> dict[str, object]:
        """The OCI descriptor."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    def read(self) -> Iterator[bytes]:
        """The bytes. Raises ImageError when they are no longer those that the digest was computed over."""
        hasher, size = hashlib.sha256(), 0
        for chunk in self.chunks():
            hasher.update(chunk)
            size += len(chunk)
            if size > self.size:
                break
            yield chunk
        if size != self.size or f"sha256:{hasher.hexdigest()}" != self.digest:
            raise ImageError("the files of the image changed while it was built", fix="run the command again")


def bytes_blob(data: bytes, *, media_type: str) -> Blob:
    """A blob that is held in memory."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Blob(digest=digest, size=len(data), media_type=media_type, chunks=lambda: (data,))


@dataclass(frozen=True, kw_only=True)
class TarEntry:
    """One member of a layer. `path` is absolute; `size` counts for files, `target` for links."""

    path: str
    kind: Literal["f", "d", "l"]
    mode: int
    size: int = 0
    target: str = ""
    chunks: Chunks = field(default=lambda: (), repr=False, compare=False)


def directory(path: str, mode: int = 0o755) -> TarEntry:
    """A directory."""
    return TarEntry(path=path, kind="d", mode=mode)


def link(path: str, target: str) -> TarEntry:
    """A symbolic link."""
    return TarEntry(path=path, kind="l", mode=0o777, target=target)


def file(path: str, content: bytes, mode: int = 0o644) -> TarEntry:
    """A regular file whose content is in memory."""
    return TarEntry(path=path, kind="f", mode=mode, size=len(content), chunks=lambda: (content,))


def layer(entries: Iterable[TarEntry]) -> Blob:
    """The layer that holds `entries`, sorted by path. Reads every content once; raises ImageError for a path twice."""
    ordered = tuple(sorted(entries, key=lambda entry: entry.path))
    paths = [entry.path for entry in ordered]
    if len(set(paths)) != len(paths):
        raise ImageError(f"a layer would hold {next(p for p in paths if paths.count(p) > 1)} twice")
    hasher, size = hashlib.sha256(), 0
    for chunk in _archive(ordered):
        hasher.update(chunk)
        size += len(chunk)
    return Blob(
        digest=f"sha256:{hasher.hexdigest()}",
        size=size,
        media_type=LAYER_MEDIA_TYPE,
        chunks=lambda: _archive(ordered),
    )


def _archive(entries: tuple[TarEntry, ...]) -> Iterator[bytes]:
    position = 0
    for entry in entries:
        for chunk in _member(entry):
            position += len(chunk)
            yield chunk
    end = position + 2 * _BLOCK
    yield bytes(2 * _BLOCK + -end % _RECORD)


def _member(entry: TarEntry) -> Iterator[bytes]:
    info = tarfile.TarInfo(entry.path.removeprefix("/"))
    info.type = _TYPES[entry.kind]
    info.mode, info.size, info.linkname = entry.mode, entry.size, entry.target
    # pax only where ustar has no room: long or non-ASCII names. Times and owners stay zero, so nothing else varies.
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
    written = 0
    for chunk in entry.chunks():
        written += len(chunk)
        yield chunk
    if written != entry.size:
        raise ImageError(f"{entry.path} changed its size while it was read", fix="run the command again")
    yield bytes(-written % _BLOCK)
