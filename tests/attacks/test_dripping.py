"""A CAS or a registry that answers byte by byte, or never reads: nobody waits for it longer than the deadline says."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from scone_provider.cas import client as cas_client
from scone_provider.cas import transport as cas_transport
from scone_provider.cas.client import connect
from scone_provider.cas.errors import CasUnreachable
from scone_provider.image.registry.connection import Body, RegistryOptions
from scone_provider.image.registry.errors import RegistryUnavailableError
from scone_provider.image.registry.transport import Transport
from support.false_cas import FalseCas

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
_SECONDS = 1.0


def drip(before: bytes, byte: bytes) -> Iterator[bytes]:
    """Some bytes at once, and then one at a time for a long while."""
    yield before
    for _ in range(100):
        time.sleep(0.1)
        yield byte


BEHAVIOURS = {
    "status": lambda: drip(b"HTTP/1.1 2", b"0"),
    "headers": lambda: drip(_HEAD + b"X-Filler: ", b"x"),
    "body": lambda: drip(_HEAD + b"\r\n", b" "),
}


@pytest.mark.parametrize("part", BEHAVIOURS)
@pytest.mark.parametrize("what", ["attest", "read", "upload"])
def test_a_cas_that_drips(part: str, what: str, monkeypatch) -> None:
    """Attesting, reading and uploading end in time, whichever part of an answer drips; it says how long it took."""
    monkeypatch.setattr(cas_client, "_TOTAL_TIME", _SECONDS)
    monkeypatch.setattr(cas_transport, "READ_TIME", _SECONDS)
    with FalseCas(lambda _line, _body: BEHAVIOURS[part]()) as false:
        begin = time.monotonic()
        with pytest.raises(CasUnreachable, match=r"within \d+ seconds"):
            ask(false, what)
        assert time.monotonic() - begin < 3 * _SECONDS


def ask(false: FalseCas, what: str) -> None:
    """Attest it, or take it by its key and read or upload."""
    key = None if what == "attest" else false.identity.key_hash
    found = connect("cas.test", tolerance="", cas_key=key, connect_to={"cas.test": false.url}, identity=None)
    if what == "upload":
        found.upload("name: n\n")
    else:
        found.read("n")


@contextmanager
def registry(answer: Callable[[], Iterator[bytes]] | None) -> Iterator[str]:
    """A plain registry on the loopback that answers so; None: it reads a little, and then never again."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(raw: socket.socket) -> None:
        with raw, suppress(OSError):
            raw.recv(1000)
            if answer is None:
                time.sleep(8)
                return
            for piece in answer():
                raw.sendall(piece)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def transport(host: str) -> Transport:
    """One attempt, a second of patience."""
    return Transport(host, RegistryOptions(read_timeout=_SECONDS, connect_timeout=_SECONDS, attempts=1))


@pytest.mark.parametrize("part", BEHAVIOURS)
def test_a_registry_that_drips(part: str) -> None:
    """Headers and bodies, of manifests as of layers, must come at the slowest rate at least; the error names it."""
    with registry(BEHAVIOURS[part]) as host:
        found = transport(host)
        begin = time.monotonic()
        with pytest.raises(RegistryUnavailableError, match="waited for 1 seconds, and moved less than 16 KiB"):
            found.retry(lambda: list(found.read(found.request("GET", "/v2/n/manifests/1", repository="n"))))
        assert time.monotonic() - begin < 4 * _SECONDS


def test_a_registry_that_never_reads() -> None:
    """An upload to somebody who takes nothing ends in time."""
    with registry(None) as host:
        found = transport(host)
        body = Body(lambda: (bytes(1 << 20) for _ in range(64)), 64 << 20)
        begin = time.monotonic()
        with pytest.raises(RegistryUnavailableError):
            found.retry(lambda: found.request("PUT", "/v2/n/blobs/uploads/1", repository="n", body=body))
        assert time.monotonic() - begin < 4 * _SECONDS
