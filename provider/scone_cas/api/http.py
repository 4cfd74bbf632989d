"""Requests and responses as values, so that everything behind the two ports is plain functions of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509

from scone_cas import VERSION
from scone_cas.errors import CALM

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request whose body has been read within the port's limits.

    `path` is percent-decoded, without the query. `certificate` is the caller's, its key proven by the TLS handshake;
    `address` is the peer's IP address.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    certificate: x509.Certificate | None = None
    address: str = ""


@dataclass(frozen=True, kw_only=True)
class Response:
    """One HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def text(status: int, body: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """A plain text answer."""
    return Response(status=status, body=body.encode(), content_type="text/plain; charset=utf-8", headers=headers)


def document(status: int, content: Mapping[str, object], *, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """A JSON answer."""
    body = _ENCODER.encode(content).encode()
    return Response(status=status, body=body, headers=headers)


def error_text(status: int, message: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An error of the `/session` routes: plain text that carries the CAS's version."""
    return text(status, f"Error: {message} (embedded CAS {VERSION})\n", headers=headers)


def error_document(status: int, message: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An error of the `/v1` routes: JSON that carries the CAS's version."""
    return document(status, {"error": message, "version": VERSION}, headers=headers)


def busy_document(status: int, seconds: int) -> Response:
    """429 or 503 on the client port: too much to do."""
    return error_document(status, f"too many requests; {CALM}", headers=(("Retry-After", str(seconds)),))
