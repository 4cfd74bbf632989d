"""One-layer OCI images: normalise a tar, describe it, push it to the local registry."""

import hashlib
import http.client
import io
import json
import posixpath
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO

from tools.devstack.errors import DevstackError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_MERGED = ("bin", "sbin", "lib", "lib64")  # folders that Debian keeps below /usr, with links in their place
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a base image leaves out, adds, and when everything in it was made (`epoch`, seconds since 1970).

    `left_out` are folders whose content goes, `absent` are paths that go, `added` maps a path to text, `joined` a path
    to the folder whose files, in the order of their names, it consists of, and `folders` a path to its owner's number.
    """

    epoch: int
    left_out: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    added: Mapping[str, str] = field(default_factory=dict)
    joined: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, int] = field(default_factory=dict)


def normalise(source: Path, target: BinaryIO, *, rules: Rules) -> None:
    """Write the tar `source` again so that only names, kinds, modes, owners and contents of its members count.

    Sorted, one time, no user names, no device nodes, and /bin, /sbin, /lib, /lib64 merged into /usr.
    """
    added = {name: text.encode() for name, text in rules.added.items()}
    with tarfile.open(source) as old, tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as new:
        sources: dict[str, tarfile.TarInfo] = {}
        members: dict[str, tarfile.TarInfo] = {}
        for member in old.getmembers():
            name = _name(member.name)
            if name and not (name in _MERGED and member.isdir()) and _wanted(name, member, rules):
                sources[_merged(name)] = member
                members[_merged(name)] = _copy(member, name=_merged(name), epoch=rules.epoch)
        for name in _MERGED:
            members[name] = _link(name, epoch=rules.epoch)
            members.setdefault(f"usr/{name}", _folder(f"usr/{name}", epoch=rules.epoch))
        added |= {name: _joined(old, folder) for name, folder in rules.joined.items()}
        for name, owner in rules.folders.items():
            members[name] = _folder(name, epoch=rules.epoch)
            members[name].uid = members[name].gid = owner
        for name, data in added.items():
            members[name] = _file(name, size=len(data), epoch=rules.epoch)
        for name in sorted(members):
            content = io.BytesIO(added[name]) if name in added else _content(old, sources.get(name))
            new.addfile(members[name], content)


def _joined(archive: tarfile.TarFile, folder: str) -> bytes:
    members = {_name(member.name): member for member in archive.getmembers() if member.isreg()}
    found = (_content(archive, members[name]) for name in sorted(members) if name.startswith(f"{folder}/"))
    return b"".join(content.read() for content in found if content)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo | None) -> IO[bytes] | None:
    return archive.extractfile(member) if member is not None and member.isreg() else None


def _name(name: str) -> str:
    """`name` without leading `./` or `/`; empty for the root itself."""
    return posixpath.normpath(f"/{name}").lstrip("/")


def _wanted(name: str, member: tarfile.TarInfo, rules: Rules) -> bool:
    if member.ischr() or member.isblk() or member.isfifo() or "__pycache__" in name.split("/"):
        return False
    return name not in rules.absent and not any(name.startswith(f"{folder}/") for folder in rules.left_out)


def _merged(name: str) -> str:
    return f"usr/{name}" if name.split("/", 1)[0] in _MERGED else name


def _copy(member: tarfile.TarInfo, *, name: str, epoch: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid, info.mtime = (
        member.type,
        member.mode & 0o7777,
        member.uid,
        member.gid,
        epoch,
    )
    info.size = member.size if member.isreg() else 0
    info.linkname = _merged(_name(member.linkname)) if member.islnk() else member.linkname
    return info


def _made(name: str, *, kind: bytes, mode: int, epoch: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, epoch
    return info


def _link(name: str, *, epoch: int) -> tarfile.TarInfo:
    info = _made(name, kind=tarfile.SYMTYPE, mode=0o777, epoch=epoch)
    info.linkname = f"usr/{name}"
    return info


def _folder(name: str, *, epoch: int) -> tarfile.TarInfo:
    return _made(name, kind=tarfile.DIRTYPE, mode=0o755, epoch=epoch)


def _file(name: str, *, size: int, epoch: int) -> tarfile.TarInfo:
    info = _made(name, kind=tarfile.REGTYPE, mode=0o644, epoch=epoch)
    info.size = size
    return info


def file_digest(path: Path) -> str:
    """`sha256:…` of a file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image of one layer: the tar at `layer`, and what its config says beside it (linux/amd64)."""

    layer: Path
    layer_digest: str
    environment: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    directory: str = ""

    @property
    def config(self) -> bytes:
        """The image configuration, canonical."""
        inner = {
            "Env": list(self.environment),
            "Cmd": list(self.command),
            "Entrypoint": list(self.entrypoint),
            "User": self.user,
            "WorkingDir": self.directory,
        }
        return _json(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {key: value for key, value in inner.items() if value},
                "rootfs": {"type": "layers", "diff_ids": [self.layer_digest]},
            }
        )

    @property
    def manifest(self) -> bytes:
        """The manifest, canonical."""
        return _json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": _CONFIG, "digest": _digest(self.config), "size": len(self.config)},
                "layers": [{"mediaType": _LAYER, "digest": self.layer_digest, "size": self.layer.stat().st_size}],
            }
        )

    @property
    def digest(self) -> str:
        """The image's digest, `sha256:…`."""
        return _digest(self.manifest)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry:
    """A registry on this machine, without authentication, over plain HTTP."""

    def __init__(self, *, host: str, port: int) -> None:
        self._host, self._port = host, port

    def digest(self, repository: str, tag: str) -> str | None:
        """Digest of `repository`:`tag`; None where there is none, or no registry."""
        try:
            status, headers = self._ask("HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFEST})
        except DevstackError:
            return None
        return headers.get("docker-content-digest") if status == 200 else None

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return self._ask("GET", "/v2/")[0] == 200
        except DevstackError:
            return False

    def push(self, image: Image, *, repository: str, tag: str) -> None:
        """Push `image` as `repository`:`tag`; the tag moves last."""
        with image.layer.open("rb") as layer:
            self._push_blob(repository, image.layer_digest, layer, size=image.layer.stat().st_size)
        self._push_blob(repository, _digest(image.config), image.config, size=len(image.config))
        status, _ = self._ask(
            "PUT", f"/v2/{repository}/manifests/{tag}", body=image.manifest, headers={"Content-Type": MANIFEST}
        )
        self._expect(201, status, f"manifest of {repository}:{tag}")

    def _push_blob(self, repository: str, digest: str, body: "bytes | BinaryIO", *, size: int) -> None:
        if self._ask("HEAD", f"/v2/{repository}/blobs/{digest}")[0] == 200:
            return
        status, headers = self._ask("POST", f"/v2/{repository}/blobs/uploads/")
        self._expect(202, status, f"upload into {repository}")
        place = headers["location"].removeprefix(f"http://{self._host}:{self._port}")
        place += f"{'&' if '?' in place else '?'}digest={digest}"
        fields = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self._expect(201, self._ask("PUT", place, body=body, headers=fields)[0], f"blob {digest}")

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: "bytes | BinaryIO | None" = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60, blocksize=_CHUNK)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}
        except (OSError, http.client.HTTPException) as error:
            raise DevstackError(
                f"no answer: {error}", where=f"registry {self._host}:{self._port}", fix="make status"
            ) from None
        finally:
            connection.close()

    def _expect(self, wanted: int, status: int, what: str) -> None:
        if status != wanted:
            raise DevstackError(
                f"{what}: status {status} instead of {wanted}",
                where=f"registry {self._host}:{self._port}",
                fix="look into the registry's log (logs registry)",
            )
