"""The client against a peer with the CAS's own key that misbehaves: cut connections, busy answers, floods, nonsense."""

import re
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from scone_cas.identity.cas_identity import CasIdentity
from scone_provider.cas.client import CasClient, connect
from scone_provider.cas.errors import CasConflict, CasUnreachable
from scone_provider.cas.transport import close_clients
from scone_provider.errors import CasError

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"version":"7"}'
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"
FLOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 99000000\r\n\r\n" + b"x" * 6_000_000
CUT = b""

Peer = Callable[..., CasClient]


def _request(connection: ssl.SSLSocket) -> bytes:
    """A whole request: who closes with a part unread cuts the answer off as well."""
    found = b""
    while part := connection.recv(65536):
        found += part
        head, ended, body = found.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if ended and len(body) >= int(length[1] if length else 0):
            break
    return found


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A TLS server that gives one scripted answer a connection; called with them it returns a client pinned to it."""
    listener = socket.create_server(("127.0.0.1", 0))
    identity = CasIdentity.create(now=datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(identity.to_pem())
        file.flush()
        context.load_cert_chain(file.name)
    seen: list[bytes] = []

    def serve(answers: list[bytes]) -> None:
        for content in [CUT, *answers]:  # the first connection is the look at the key
            raw, _ = listener.accept()
            with suppress(OSError), context.wrap_socket(raw, server_side=True) as connection:
                seen.append(_request(connection))
                connection.sendall(content)

    threads: list[threading.Thread] = []

    def client(*answers: bytes) -> CasClient:
        threads.append(threading.Thread(target=serve, args=(list(answers),)))
        threads[0].start()
        url = f"127.0.0.1:{listener.getsockname()[1]}"
        found: Any = connect(url, tolerance="", cas_key=identity.key_hash, connect_to={}, identity=None)
        found.pauses, found.seen = [], seen
        found._pause = found.pauses.append
        return found

    yield client
    close_clients()
    threads[0].join(10)
    listener.close()
    assert not threads[0].is_alive()


def test_the_look_at_the_key_sends_nothing(peer) -> None:
    """With a pin not one byte is sent before the key was compared."""
    client = peer(OK)
    client.version()
    assert client.seen[0] == b""


def test_reads_are_repeated(peer) -> None:
    """A cut connection and a busy CAS are tried again, after the pause that was asked for."""
    client = peer(CUT, BUSY, OK)
    assert client.version() == "7"
    assert client.pauses[1] == 3.0


def test_reads_are_not_repeated_for_ever(peer) -> None:
    """Three tries, then the error."""
    client = peer(CUT, CUT, CUT)
    with pytest.raises(CasUnreachable):
        client.version()


def test_uploads_are_never_repeated(peer) -> None:
    """An upload whose answer got lost may have happened: one request, and an error that says so much."""
    client = peer(CUT)
    with pytest.raises(CasUnreachable):
        client.upload("name: x")
    assert len(client.seen) == 2


def test_floods_are_cut(peer) -> None:
    """More than a session can hold is not read."""
    with pytest.raises(CasError, match="more than"):
        peer(FLOOD).version()


def test_conflict_of_a_vendor_text(peer) -> None:
    """The text that CASes in the field answer is shown whole, in one line."""
    text = b"Error: Could not create successor session.\nInvalid previous session digest: 12"
    head = b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n" % len(text)
    with pytest.raises(CasConflict, match=r"session\. Invalid previous session digest: 12"):
        peer(head + text).upload("name: x")


@pytest.mark.parametrize(
    "body", [b"[]", b"nonsense", b'{"session": 1, "hash": 2}', b'{"session": "a: 1", "hash": "zz"}']
)
def test_nonsense_is_refused(peer, body: bytes) -> None:
    """What is no session is an error in words."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with pytest.raises(CasError, match="no session"):
        peer(head + body).read("x")


def test_another_version_than_asked_for_is_refused(peer) -> None:
    """A CAS cannot pass one version off as another."""
    body = b'{"session": "name: x", "hash": "%s"}' % (b"a" * 64)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with pytest.raises(CasError, match="another version"):
        peer(head + body).read_version("x", "b" * 64)
