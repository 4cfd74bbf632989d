"""Reads one layer of a base image as a stream: members with their digests, within limits on all that it claims."""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from scone_provider.errors import ImageError
from scone_provider.image.base import elf
from scone_provider.image.oci.tree import Member, normalise, shown

_CHUNK = 1 << 20
_COMPRESSION = {
    "application/vnd.oci.image.layer.v1.tar": "",
    "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
}
_BROKEN = (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, gzip.BadGzipFile)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a base image may ask of us; sizes in bytes. Over all of its layers together."""

    layers: int = 128
    compressed: int = 8 << 30
    unpacked: int = 16 << 30
    entries: int = 500_000
    path: int = 4096


class Budget:
    """How much of the limits is left. One per image, so that many small layers are no way around them."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self._bytes, self._entries = limits, limits.unpacked, limits.entries

    def unpack(self, size: int) -> None:
        """Takes `size` bytes. Raises ImageError when fewer are left."""
        self._bytes -= size
        if self._bytes < 0:
            raise ImageError(f"the base unpacks to more than {self.limits.unpacked} bytes", fix="use a smaller base")

    def enter(self, path: str, target: str) -> None:
        """Takes one entry. Raises ImageError when none is left or a name is too long."""
        self._entries -= 1
        if self._entries < 0:
            raise ImageError(f"the base has more than {self.limits.entries} entries", fix="use a smaller base")
        if max(len(path), len(target)) > self.limits.path:
            raise ImageError(f"the base holds a path longer than {self.limits.path}: {shown(path)}")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Hashing:
    """Passes bytes on and keeps their SHA-256."""

    def __init__(self, source: _Readable) -> None:
        self._source, self._sha256 = source, hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(_CHUNK if size < 0 else size)
        self._sha256.update(data)
        return data

    @property
    def digest(self) -> str:
        return f"sha256:{self._sha256.hexdigest()}"


class _Forward:
    """What `tarfile` needs of a file, on a stream that only goes forward; long headers are refused, not collected."""

    def __init__(self, source: _Readable, budget: Budget) -> None:
        self._source, self._budget, self._position = source, budget, 0
        self.last = b""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise tarfile.ReadError("goes backwards")
        while self._position < position and self._take(min(_CHUNK, position - self._position)):
            pass
        return self._position

    def read(self, size: int = _CHUNK) -> bytes:
        if not 0 <= size <= _CHUNK:
            raise tarfile.ReadError("a header is too long")
        parts, left = [], size
        while left and (part := self._take(left)):
            parts.append(part)
            left -= len(part)
        self.last = b"".join(parts)
        return self.last

    def _take(self, size: int) -> bytes:
        data = self._source.read(size)
        self._position += len(data)
        self._budget.unpack(len(data))
        return data


def check_media_type(media_type: str) -> None:
    """Raises ImageError for a layer that cannot be read here."""
    if media_type not in _COMPRESSION:
        raise ImageError(
            f"the base has a layer of type {shown(media_type)}, which is not supported",
            fix="use a base whose layers are tar or tar with gzip",
        )


def read_layer(stream: BinaryIO, *, media_type: str, digest: str, diff_id: str, budget: Budget) -> list[Member]:
    """The members of a layer, in order. `digest` is that of the stream, `diff_id` that of the tar within.

    Raises ImageError when either differs, when the archive is broken, or when it asks for more than `budget` has.
    """
    check_media_type(media_type)
    packed = _Hashing(stream)
    # GzipFile only ever calls read(size): a hashing reader is file enough for it.
    unpacker: _Readable = gzip.GzipFile(fileobj=packed, mode="rb") if _COMPRESSION[media_type] else packed  # type: ignore[call-overload]
    unpacked = _Hashing(unpacker)
    source = _Forward(unpacked, budget)
    broken = ImageError(f"layer {digest} of the base is broken", fix="build or pull the base again")
    try:
        members = list(_members(source, budget))
        if source.last.strip(b"\x00"):
            # tarfile takes a damaged header for the end; container runtimes refuse it.
            raise broken
        while source.read():
            pass
        while packed.read(_CHUNK):
            pass
    except _BROKEN:
        raise broken from None
    if packed.digest != digest:
        raise ImageError(f"layer {digest} of the base has another content: {packed.digest}")
    if unpacked.digest != diff_id:
        raise ImageError(f"layer {digest} of the base is not the one that its configuration names ({diff_id})")
    return members


def _members(source: _Forward, budget: Budget) -> Iterator[Member]:
    # "r:" (not "r|"): only this mode asks our reader before it collects a long header.
    with tarfile.open(fileobj=source, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:  # type: ignore[call-overload]
        while (info := archive.next()) is not None:
            archive.members = []  # tarfile remembers every member; a big layer has many
            yield _member(archive, info, budget)


def _member(archive: tarfile.TarFile, info: tarfile.TarInfo, budget: Budget) -> Member:
    budget.enter(info.name, info.linkname)
    parts, mode = normalise(info.name), info.mode & 0o7777
    if info.size < 0:
        raise tarfile.ReadError("negative size")
    if info.isdir():
        return Member(parts=parts, kind="d", mode=mode)
    if info.issym():
        return Member(parts=parts, kind="l", target=info.linkname)
    if info.islnk():
        return Member(parts=parts, kind="h", target=info.linkname)
    if not info.isreg():
        if info.type not in {tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE}:
            raise tarfile.ReadError("unknown type")
        return Member(parts=parts, kind="o", mode=mode)
    if info.issparse():
        budget.unpack(info.size)  # holes cost no bytes of the stream
    content = archive.extractfile(info)
    assert content is not None
    hasher, size, head = hashlib.sha256(), 0, b""
    while chunk := content.read(_CHUNK):
        head = head or chunk[: elf.HEAD]
        hasher.update(chunk)
        size += len(chunk)
    if size != info.size:
        raise tarfile.ReadError("ends within a file")
    program = elf.inspect(head) if mode & 0o111 else ""
    return Member(parts=parts, kind="f", mode=mode, size=size, digest=hasher.hexdigest(), program=program)
