"""One repository of a registry: manifests and blobs by digest, every byte checked (OCI distribution)."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import BinaryIO
from urllib.parse import quote

import requests

from scone_provider.errors import ImageError
from scone_provider.image.oci.layers import Blob
from scone_provider.image.oci.reference import is_digest
from scone_provider.image.registry.addresses import joined
from scone_provider.image.registry.answers import said
from scone_provider.image.registry.authorization import Scopes
from scone_provider.image.registry.connection import Body
from scone_provider.image.registry.errors import DeniedError, TransientError, UnsupportedError
from scone_provider.image.registry.manifests import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    MANIFEST_LIMIT,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    media_type_of,
)
from scone_provider.image.registry.transport import Transport
from scone_provider.image.registry.upload import UploadState, upload_blob

_ACCEPT = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_INDEX}, {DOCKER_MANIFEST}"
_TAGS_AT_ONCE = 1000
_TAGS_LIMIT = 16 << 20
_MOST_PAGES = 1000
_MOST_TAGS = 1_000_000


class Deletion(Enum):
    """What came of a wish to delete an image."""

    DELETED = "deleted"
    ABSENT = "absent"
    UNSUPPORTED = "unsupported"
    DENIED = "denied"


class Repository:
    """One repository of one registry. Its calls raise ImageError; RegistryUnavailableError when nobody answers."""

    def __init__(self, transport: Transport, name: str, *, write: bool = False) -> None:
        """With `write`, tokens are asked for pushing too: one for pulling alone would show nothing of a repository that
        the first push is to make.
        """
        self._transport, self.name, self._write = transport, name, write

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
        """Stores a blob. Begins anew when the connection breaks, and in pieces where one request is too big."""
        state = UploadState()
        self._transport.retry(lambda: upload_blob(blob, state, send=self._write_request, refuse=self._refused))

    def tags(self) -> frozenset[str]:
        """Every tag of this repository; none when the registry has no such repository. Raises UnsupportedError, too."""
        return self._transport.retry(self._tags)

    def _request(
        self,
        method: str,
        path: str,
        *,
        actions: str | None = None,
        others: Scopes = (),
        headers: Mapping[str, str] | None = None,
        body: Body | bytes | None = None,
    ) -> requests.Response:
        """`actions` of the token, else by what this object is for; `others`: scopes besides those of the repository."""
        url = path if "://" in path else f"/v2/{self.name}/{path}"
        actions = actions or ("pull,push" if self._write else "pull")
        return self._transport.request(
            method,
            url,
            repository=self.name,
            scopes=(f"repository:{self.name}:{actions}", *others),
            headers=headers,
            body=body,
        )

    def _write_request(
        self, method: str, path: str, headers: Mapping[str, str], body: Body | bytes
    ) -> requests.Response:
        return self._request(method, path, actions="pull,push", headers=headers, body=body)

    def _looked_for(self, method: str, path: str) -> requests.Response | None:
        """A read whose answer may be that there is nothing: None.

        To somebody who is about to push, a repository that does not exist yet may show itself as one that he has no
        right to see. Whether he has the right to push is found out by pushing.
        """
        try:
            response = self._request(method, path, headers={"Accept": _ACCEPT})
        except DeniedError:
            if self._write:
                return None
            raise
        if response.status_code == 404 or (self._write and response.status_code in {401, 403}):
            response.close()
            return None
        return response

    def _manifest(self, version: str) -> Manifest | None:
        response = self._looked_for("GET", f"manifests/{version}")
        if response is None:
            return None
        if response.status_code != 200:
            raise self._refused(response, f"does not give the manifest {version}")
        data = b"".join(self._limited(response, MANIFEST_LIMIT, "the manifest"))
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        claimed = version if is_digest(version) else response.headers.get("Docker-Content-Digest") or digest
        if claimed != digest:
            raise self._lied(f"the manifest {claimed}", digest)
        return Manifest(
            data=data, media_type=media_type_of(data, served_as=response.headers.get("Content-Type", "")), digest=digest
        )

    def _exists(self, path: str) -> bool:
        response = self._looked_for("HEAD", path)
        if response is not None and response.status_code in {400, 405, 501} and path.startswith("manifests/"):
            response.close()
            response = self._looked_for("GET", path)  # an old registry that knows no HEAD
        if response is None:
            return False
        response.close()
        if response.status_code != 200:
            raise self._refused(response, f"does not say whether it has {path}")
        return True

    def _tags(self) -> frozenset[str]:
        found: set[str] = set()
        path = f"tags/list?n={_TAGS_AT_ONCE}"
        for _ in range(_MOST_PAGES):
            response = self._request("GET", path, headers={"Accept": "application/json"})
            if response.status_code == 404:
                response.close()
                return frozenset(found)
            if response.status_code in {400, 403, 405, 501}:
                error = self._refused(response, "does not list its tags")
                raise UnsupportedError(error.what, where=error.where, fix=error.fix)
            if response.status_code != 200:
                raise self._refused(response, "does not list its tags")
            link = response.headers.get("Link", "")
            text = b"".join(self._limited(response, _TAGS_LIMIT, "its tags"))
            try:
                found.update(str(tag) for tag in json.loads(text)["tags"] or ())
            except (ValueError, KeyError, TypeError, RecursionError):
                raise ImageError(
                    "the registry's list of tags cannot be read", where=f"{self.host}/{self.name}"
                ) from None
            following = (
                [one for one in requests.utils.parse_header_links(link) if one.get("rel") == "next"] if link else []
            )
            if not following:
                return frozenset(found)
            if len(found) > _MOST_TAGS:
                break
            path = joined(response.url, following[0]["url"])
        raise ImageError("the registry has too many tags here to look at all", where=f"{self.host}/{self.name}")

    def _put_manifest(self, version: str, data: bytes, media_type: str) -> None:
        response = self._write_request("PUT", f"manifests/{version}", {"Content-Type": media_type}, data)
        if not 200 <= response.status_code < 300:
            raise self._refused(response, f"does not take the manifest {version}")
        response.close()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        claimed = response.headers.get("Docker-Content-Digest") or digest
        if claimed != digest:
            raise self._lied(f"the manifest {digest}", claimed)

    def _delete_manifest(self, digest: str) -> Deletion:
        try:
            response = self._request("DELETE", f"manifests/{digest}", actions="delete,pull")
        except DeniedError:
            return Deletion.DENIED
        if response.status_code in {405, 501} or (response.status_code == 400 and "UNSUPPORTED" in said(response)):
            response.close()
            return Deletion.UNSUPPORTED
        if response.status_code == 404:
            response.close()
            return Deletion.ABSENT
        if response.status_code in {401, 403}:
            response.close()
            return Deletion.DENIED
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
        try:
            response = self._request(
                "POST",
                f"blobs/uploads/?mount={quote(digest)}&from={quote(source, safe='')}",
                actions="pull,push",
                others=(f"repository:{source}:pull",),
                body=b"",
            )
        except DeniedError:
            return False  # a token for both repositories is not to be had: one for ours may be
        response.close()
        if response.status_code in {201, 202, 400, 401, 403, 404, 405}:
            return response.status_code == 201  # 202: it opened an upload instead, which it forgets by itself
        raise self._refused(response, f"does not mount {digest}")

    def _limited(self, response: requests.Response, limit: int, what: str) -> Iterator[bytes]:
        got = 0
        for chunk in self._transport.read(response):
            got += len(chunk)
            if got > limit:
                raise ImageError(f"the registry sends more than {limit} bytes for {what}", where=self.host)
            yield chunk

    def _refused(self, response: requests.Response, what: str) -> ImageError:
        status = response.status_code
        fix = {
            401: f"run `docker login {self.host}` as someone with the right to do this",
            403: f"run `docker login {self.host}` as someone with the right to do this",
            404: f"check that {self.name} exists: some registries want a repository made before the first push",
            413: "the registry, or a proxy before it, limits the size of a request: raise that limit (nginx: "
            "client_max_body_size; ingress-nginx: proxy-body-size), or make the image's files smaller",
        }.get(status, "")
        return ImageError(f"the registry {what} ({said(response)})", where=f"{self.host}/{self.name}", fix=fix)

    def _lied(self, what: str, found: str) -> ImageError:
        return ImageError(
            f"the registry has another content for {what}: {found}",
            where=f"{self.host}/{self.name}",
            fix="do not use this registry before it is clear who changed it",
        )
