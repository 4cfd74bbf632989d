"""Base images of a few files, assembled in memory for the tests of `scone_provider.image`."""

import gzip
import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scone_provider.image.base.cache import BaseCache
from scone_provider.image.base.locked_base import LockedBase
from scone_provider.image.base.resolve import resolve_base
from scone_provider.image.build.inputs import ImageInputs
from scone_provider.image.build.layout import wanted_paths
from scone_provider.image.build.source_files import scan_source
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import OCI_INDEX, OCI_MANIFEST

LAYER = "application/vnd.oci.image.layer.v1.tar"
IMAGE_KEY = bytes(range(32))
LAUNCHER = b"\x7fELF the launcher of the tests"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def elf(loader: str = "/lib64/ld.so", *, machine: int = 62, body: bytes = b"") -> bytes:
    """The smallest file that is an x86-64 program with this loader; static when the loader is empty."""
    path = loader.encode() + b"\x00" if loader else b""
    count = 1 if loader else 0
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(path), len(path), 1) if loader else b""
    return header + segment + path + body


@dataclass(frozen=True)
class In:
    """One member of a layer: a directory without content and target, a link with a target, else a file."""

    name: str
    content: bytes | None = None
    target: str = ""
    mode: int = 0o644
    kind: bytes = b""


def tar(*members: In, format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    """A layer's archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.mode, info.linkname = member.mode, member.target
            if member.kind:
                info.type = member.kind
            elif member.target:
                info.type = tarfile.SYMTYPE
            elif member.content is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(member.content)
            archive.addfile(info, io.BytesIO(member.content or b""))
    return buffer.getvalue()


def folder(name: str, mode: int = 0o755) -> In:
    return In(name, mode=mode)


def program(name: str, content: bytes | None = None) -> In:
    return In(name, content=elf() if content is None else content, mode=0o755)


USUAL = tar(
    folder("etc"),
    In("etc/hosts", b"127.0.0.1 localhost\n"),
    In("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
    folder("lib64"),
    program("lib64/ld.so", elf("")),
    folder("usr"),
    folder("usr/bin"),
    program("usr/bin/python3.11"),
    In("usr/bin/python3", target="python3.11"),
    program("usr/bin/tool", b"#!/bin/sh\n"),
    In("var/run", target="/run"),
    folder("opt/empty"),
)
"""A base with one program, its loader, a link to it, a script, a link on the way, and an empty directory."""


@dataclass(frozen=True)
class TinyImage:
    """A base image: its blobs by digest, and its manifest."""

    manifest: bytes
    blobs: dict[str, bytes] = field(repr=False)
    media_type: str = OCI_MANIFEST

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return digest_of(self.manifest)

    def index(self) -> bytes:
        """An index that names this image for linux/amd64, and others for other platforms."""
        other = {"mediaType": OCI_MANIFEST, "digest": digest_of(b"other"), "size": 5}
        mine = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest)}
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [
                    other | {"platform": {"os": "linux", "architecture": "arm64"}},
                    mine | {"platform": {"os": "linux", "architecture": "amd64"}},
                    other | {"platform": {"os": "unknown", "architecture": "unknown"}},
                ],
            }
        ).encode()

    def fill(self, cache: BaseCache) -> None:
        """Puts everything into a cache, as if it had been downloaded."""
        for digest, data in self.blobs.items():
            cache.put(digest, data)
        cache.put(self.digest, self.manifest)
        cache.keep_fact("manifest-" + self.digest.removeprefix("sha256:"), self.media_type.encode())


def tiny_image(
    *archives: bytes, compressed: bool = False, config: Mapping[str, object] | None = None, **platform: str
) -> TinyImage:
    """An image of these layers (by default `USUAL`). `config` is the configuration's own `config` part."""
    archives = archives or (USUAL,)
    layers = [gzip.compress(archive, mtime=0) if compressed else archive for archive in archives]
    configuration = json.dumps(
        {"os": "linux", "architecture": "amd64"}
        | platform
        | {
            "created": "2024-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/opt/bin:/usr/bin", "LANG=C.UTF-8"]} if config is None else config,
            "rootfs": {"type": "layers", "diff_ids": [digest_of(archive) for archive in archives]},
            "history": [{"created_by": "the test"}],
        }
    ).encode()
    media_type = f"{LAYER}+gzip" if compressed else LAYER
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest_of(configuration),
                "size": len(configuration),
            },
            "layers": [{"mediaType": media_type, "digest": digest_of(data), "size": len(data)} for data in layers],
        }
    ).encode()
    return TinyImage(manifest=manifest, blobs={digest_of(data): data for data in [configuration, *layers]})


def cached_base(
    image: TinyImage,
    cache: BaseCache,
    *,
    program: str = "python3",
    paths: tuple[str, ...] = (),
    binaries: tuple[str, ...] = (),
) -> LockedBase:
    """`image` locked from the cache alone: its registry does not exist."""
    image.fill(cache)
    reference = f"registry.invalid/base@{image.digest}"
    return resolve_base(reference, program=program, paths=paths, binaries=binaries, registry=Registry(), cache=cache)


def service(folder: Path, *, files: dict[str, str] | None = None, **changes: object) -> ImageInputs:
    """The inputs of a small service, whose files are written into `folder`."""
    for name, content in (files or {"app.py": "print('hello')\n"}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    copied = sorted(files or {"app.py": ""})
    values: dict[str, object] = {
        "name": "hello",
        "to": "registry.invalid/team/hello:1",
        "program": "python3",
        "pwd": "/python",
        "source": scan_source(folder, copied, into="/python"),
        "dirs": ("/python",),
    }
    return ImageInputs(**(values | changes))  # type: ignore[arg-type]


def base_for(inputs: ImageInputs, cache: BaseCache, image: TinyImage | None = None) -> LockedBase:
    """A base that knows all that these inputs need."""
    paths, names = wanted_paths(inputs), inputs.binaries
    return cached_base(image or tiny_image(), cache, program=inputs.program, paths=paths, binaries=names)
