"""What a registry does for images: manifests and blobs by digest, every byte checked (OCI distribution)."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO
from urllib.parse import quote

import requests

from scone_provider.errors import ImageError
from scone_provider.image.layers import Blob
from scone_provider.image.reference import Reference, is_digest
from scone_provider.image.transport import Body, RegistryOptions, TransientError, Transport, said

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_ACCEPT = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_INDEX}, {DOCKER_MANIFEST}"
MANIFEST_LIMIT = 4 << 20


class Deletion(Enum):
    """What came of a wish to delete an image."""

    DELETED = "deleted"
    ABSENT = "absent"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest as stored. `digest` is computed here, never taken from the registry's word."""

    data: bytes
    media_type: str
    digest: str


class Registry:
    """All registries, under one set of options. Bases are read through mirrors, our images go where they say."""

    def __init__(self, options: RegistryOptions | None = None) -> None:
        self.options = options or RegistryOptions()
        self._transports: dict[str, Transport] = {}
        self._lock = threading.Lock()

    def source(self, reference: Reference) -> "Repository":
        """Where the repository of `reference` is read from: its registry's mirror, if there is one."""
        host = self.options.mirrors.get(reference.host, reference.host)
        return Repository(self._transport(host), reference.repository)

    def target(self, reference: Reference) -> "Repository":
        """Where the repository of `reference` is written to: its own registry."""
        return Repository(self._transport(reference.host), reference.repository)

    def _transport(self, host: str) -> Transport:
        with self._lock:
            if host not in self._transports:
                self._transports[host] = Transport(host, self.options)
            return self._transports[host]


class Repository:
    """One repository of one registry. Its calls raise ImageError; RegistryUnavailableError when nobody answers."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport, self.name = transport, name

    @property
    def host(self) -> str:
        """The registry that really is talked to."""
        return self._transport.host

    def manifest(self, version: str) -> Manifest | None:
        """The manifest or index of a tag or digest, None when there is none. A digest is verified."""
        return self._transport.retry(lambda: self._manifest(version))

    def has_manifest(self, digest: str) -> bool:
        """True when the registry has this manifest in this repository."""
        return self._transport.retry(lambda: self._exists(f"manifests/{digest}"))

    def put_manifest(self, version: str, data: bytes, *, media_type: str) -> None:
        """Stores `data` under a digest or a tag, and checks that the registry means the same bytes."""
        self._transport.retry(lambda: self._put_manifest(version, data, media_type))

    def delete_manifest(self, digest: str) -> Deletion:
        """Deletes the manifest `digest`, and with it the tags that point to it."""
        if not is_digest(digest):
            raise ImageError("images are deleted by digest only", where=f"{self.host}/{self.name}")
        return self._transport.retry(lambda: self._delete_manifest(digest))

    def has_blob(self, digest: str) -> bool:
        """True when the registry has this blob in this repository."""
        return self._transport.retry(lambda: self._exists(f"blobs/{digest}"))

    def download(self, digest: str, *, size: int, into: BinaryIO) -> None:
        """Writes a blob to `into` (a seekable file). Nothing may use it before this returns: then it is verified."""
        self._transport.retry(lambda: self._download(digest, size, into))

    def mount(self, digest: str, *, source: str) -> bool:
        """Asks the registry to take a blob from its own repository `source`; False when it does not."""
        return self._transport.retry(lambda: self._mount(digest, source))

    def upload(self, blob: Blob) -> None:
        """Stores a blob. Begins anew when the connection breaks."""
        self._transport.retry(lambda: self._upload(blob))

    def _request(self, method: str, path: str, *, write: bool = False, **options: object) -> requests.Response:
        url = path if "://" in path else f"/v2/{self.name}/{path}"
        return self._transport.request(method, url, repository=self.name, write=write, **options)  # type: ignore[arg-type]

    def _manifest(self, version: str) -> Manifest | None:
        response = self._request("GET", f"manifests/{version}", headers={"Accept": _ACCEPT})
        if response.status_code == 404:
            response.close()
            return None
        if response.status_code != 200:
            raise self._refused(response, f"does not give the manifest {version}")
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        data = b"".join(self._limited(response, MANIFEST_LIMIT, "the manifest"))
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        claimed = version if is_digest(version) else response.headers.get("Docker-Content-Digest", digest)
        if claimed != digest:
            raise self._lied(f"the manifest {claimed}", digest)
        return Manifest(data=data, media_type=media_type, digest=digest)

    def _exists(self, path: str) -> bool:
        response = self._request("HEAD", path, headers={"Accept": _ACCEPT})
        response.close()
        if response.status_code not in {200, 404}:
            raise self._refused(response, f"does not say whether it has {path}")
        return response.status_code == 200

    def _put_manifest(self, version: str, data: bytes, media_type: str) -> None:
        response = self._request(
            "PUT", f"manifests/{version}", write=True, headers={"Content-Type": media_type}, body=data
        )
        if response.status_code != 201:
            raise self._refused(response, f"does not take the manifest {version}")
        response.close()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        claimed = response.headers.get("Docker-Content-Digest", digest)
        if claimed != digest:
            raise self._lied(f"the manifest {digest}", claimed)

    def _delete_manifest(self, digest: str) -> Deletion:
        response = self._request("DELETE", f"manifests/{digest}", write=True)
        if response.status_code in {405, 501} or (response.status_code == 400 and "UNSUPPORTED" in said(response)):
            response.close()
            return Deletion.UNSUPPORTED
        if response.status_code == 404:
            response.close()
            return Deletion.ABSENT
        if response.status_code not in {200, 202, 204}:
            raise self._refused(response, f"does not delete {digest}")
        response.close()
        return Deletion.DELETED

    def _download(self, digest: str, size: int, into: BinaryIO) -> None:
        into.seek(0)
        into.truncate()
        response = self._request("GET", f"blobs/{digest}")
        if response.status_code != 200:
            raise self._refused(response, f"does not give the blob {digest}")
        hasher, got = hashlib.sha256(), 0
        for chunk in self._limited(response, size, f"the blob {digest}"):
            hasher.update(chunk)
            got += len(chunk)
            into.write(chunk)
        found = f"sha256:{hasher.hexdigest()}"
        if got < size:
            raise TransientError(f"the blob {digest} breaks off after {got} of {size} bytes")
        if found != digest:
            raise self._lied(f"the blob {digest}", found)

    def _mount(self, digest: str, source: str) -> bool:
        response = self._request(
            "POST", f"blobs/uploads/?mount={quote(digest)}&from={quote(source, safe='')}", write=True, body=b""
        )
        response.close()
        if response.status_code in {201, 202, 401, 403, 404, 405}:
            return response.status_code == 201  # 202: it opened an upload instead, which it forgets by itself
        raise self._refused(response, f"does not mount {digest}")

    def _upload(self, blob: Blob) -> None:
        response = self._request("POST", "blobs/uploads/", write=True, body=b"")
        location = response.headers.get("Location")
        if response.status_code != 202 or not location:
            raise self._refused(response, "does not begin an upload")
        response.close()
        location = f"{location}{'&' if '?' in location else '?'}digest={quote(blob.digest)}"
        response = self._request(
            "PUT",
            location if "://" in location else f"{self._transport.scheme}://{self._transport.endpoint}{location}",
            write=True,
            headers={"Content-Type": "application/octet-stream"},
            body=Body(blob.read, blob.size),
        )
        if response.status_code == 404:
            response.close()
            raise TransientError("the registry forgot the upload")
        if response.status_code != 201:
            raise self._refused(response, f"does not take the blob {blob.digest}")
        response.close()

    def _limited(self, response: requests.Response, limit: int, what: str) -> Iterator[bytes]:
        got = 0
        for chunk in self._transport.read(response):
            got += len(chunk)
            if got > limit:
                raise ImageError(f"the registry sends more than {limit} bytes for {what}", where=self.host)
            yield chunk

    def _refused(self, response: requests.Response, what: str) -> ImageError:
        denied = response.status_code in {401, 403}
        return ImageError(
            f"the registry {what} ({said(response)})",
            where=f"{self.host}/{self.name}",
            fix=f"run `docker login {self.host}` as someone with the right to do this" if denied else "",
        )

    def _lied(self, what: str, found: str) -> ImageError:
        return ImageError(
            f"the registry has another content for {what}: {found}",
            where=f"{self.host}/{self.name}",
            fix="do not use this registry before it is clear who changed it",
        )
