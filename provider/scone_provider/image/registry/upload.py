"""Sends one blob to a registry: in one request, or in pieces where a proxy before the registry takes no big ones."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import requests

from scone_provider.image.oci.layers import Blob
from scone_provider.image.registry.addresses import joined
from scone_provider.image.registry.connection import Body
from scone_provider.image.registry.errors import TransientError

Send = Callable[[str, str, Mapping[str, str], Body | bytes], requests.Response]
"""(method, path or URL, headers, body) → answer, to be closed by whoever asked."""
Refuse = Callable[[requests.Response, str], Exception]
"""The error for an answer, and for what the registry does not do."""

PIECES = (32 << 20, 8 << 20, 2 << 20, 512 << 10)
"""Sizes of pieces in bytes, tried in this order. Common limits: 100 MB, 50 MB, 10 MB, and 1 MB (nginx's default)."""
_WHOLE_ATTEMPTS = 2
_BYTES = {"Content-Type": "application/octet-stream"}


@dataclass
class UploadState:
    """What the attempts before taught: whether the blob has to be sent in pieces."""

    broken: int = 0
    pieces: bool = False


def upload_blob(blob: Blob, state: UploadState, *, send: Send, refuse: Refuse) -> None:
    """One attempt to store `blob`. Raises TransientError for what is to be tried again, and what `refuse` makes."""
    if not state.pieces:
        response = _begin(send, refuse)
        try:
            response = send("PUT", _finish_url(_location(response), blob.digest), _BYTES, Body(blob.read, blob.size))
        except TransientError:
            # A proxy that has seen the length may cut the connection before its 413 is read.
            state.broken += 1
            state.pieces = state.broken >= _WHOLE_ATTEMPTS and blob.size > PIECES[-1]
            raise
        if response.status_code != 413 or blob.size <= PIECES[-1]:
            _judge_end(response, blob, refuse)
            return
        response.close()
        state.pieces = True
    _Pieces(blob, send, refuse).upload()


class _Pieces:
    """A chunked upload (OCI distribution, Pushing a blob in chunks)."""

    def __init__(self, blob: Blob, send: Send, refuse: Refuse) -> None:
        self._blob, self._send, self._refuse = blob, send, refuse
        self._stream: Iterator[bytes] = iter(())
        self._buffer, self._position = bytearray(), -1

    def upload(self) -> None:
        response = _begin(self._send, self._refuse)
        location = _location(response)
        least = response.headers.get("OCI-Chunk-Min-Length", "")
        smallest = int(least[:12]) if least.isdecimal() else 0
        sizes = [size for size in PIECES if size < self._blob.size and size >= smallest] or [max(smallest, PIECES[-1])]
        offset = 0
        while offset < self._blob.size:
            piece = self._take(offset, sizes[0])
            span = {**_BYTES, "Content-Range": f"{offset}-{offset + len(piece) - 1}"}
            response = self._send("PATCH", location, span, piece)
            if response.status_code == 413 and len(sizes) > 1:
                response.close()
                sizes.pop(0)
                continue
            if response.status_code == 416:
                response.close()
                response = self._send("GET", location, {}, b"")
            reached = self._reached(response, offset, len(piece))
            location = _location(response) if response.headers.get("Location") else location
            offset = reached
        for _ in self._stream:  # the blob's own check stands at its end
            pass
        _judge_end(self._send("PUT", _finish_url(location, self._blob.digest), _BYTES, b""), self._blob, self._refuse)

    def _reached(self, response: requests.Response, offset: int, sent: int) -> int:
        """Where to go on: the registry says how far it came, which may be less than what was sent."""
        if response.status_code == 404:
            response.close()
            raise TransientError("the registry forgot the upload")
        if not 200 <= response.status_code < 300:
            raise self._refuse(response, f"does not take the blob {self._blob.digest} in pieces of {sent} bytes")
        response.close()
        _, dash, end = response.headers.get("Range", "").rpartition("-")
        reached = int(end) + 1 if dash and end.isdecimal() and len(end) < 16 else offset + sent
        if not offset < reached <= offset + sent:
            raise TransientError("the registry lost a piece of the upload")
        return reached

    def _take(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on, at most `size`; going back begins the content anew."""
        if offset < self._position or self._position < 0:
            self._stream, self._buffer, self._position = iter(self._blob.read()), bytearray(), 0
        while self._position + len(self._buffer) < offset + size and (chunk := next(self._stream, b"")):
            self._buffer += chunk
            self._forget(offset)
        self._forget(offset)
        return bytes(self._buffer[:size])

    def _forget(self, offset: int) -> None:
        surplus = min(offset - self._position, len(self._buffer))
        del self._buffer[:surplus]
        self._position += surplus


def _begin(send: Send, refuse: Refuse) -> requests.Response:
    response = send("POST", "blobs/uploads/", {}, b"")
    if not 200 <= response.status_code < 300 or not response.headers.get("Location"):
        raise refuse(response, "does not begin an upload")
    response.close()
    return response


def _location(response: requests.Response) -> str:
    """`Location`, a reference that the request's own URL resolves (RFC 9110, 10.2.2)."""
    return joined(response.url, response.headers["Location"])


def _finish_url(location: str, digest: str) -> str:
    parts = urlsplit(location)
    query = f"{parts.query}{'&' if parts.query else ''}digest={quote(digest)}"
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def _judge_end(response: requests.Response, blob: Blob, refuse: Refuse) -> None:
    if response.status_code == 404:
        response.close()
        raise TransientError("the registry forgot the upload")
    if not 200 <= response.status_code < 300:
        raise refuse(response, f"does not take the blob {blob.digest} of {blob.size} bytes")
    response.close()
