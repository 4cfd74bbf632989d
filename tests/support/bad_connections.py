"""Connections that cost a server room and give it nothing: each kind as a way to begin, and a way to go on."""

import contextlib
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from OpenSSL import SSL

_CONNECT_TIME = 5.0
_ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")


@dataclass
class Bad:
    """One connection: its socket, the TLS on it where there is some, and how far it has got."""

    raw: socket.socket
    tls: SSL.Connection | None = None
    steps: int = 0


@dataclass(frozen=True)
class Kind:
    """How a connection begins after TCP is established, and what it does every now and then."""

    tls: bool
    begin: bytes = b""
    drip: bytes = b""
    times: int = 1
    """How often `begin` is sent."""


_POST = b"POST /v1/enclave/attest HTTP/1.1\r\nHost: cas\r\n"
_GET = b"GET /v1/openapi.json HTTP/1.1\r\nHost: cas\r\n\r\n"

KINDS: dict[str, Kind] = {
    "tcp-only": Kind(tls=False),
    "slow-handshake": Kind(tls=False, begin=b"\x16\x03\x01\x02\x00\x01", drip=b"\x00"),
    "idle": Kind(tls=True),
    "idle-kept-alive": Kind(tls=True, begin=_GET),
    "slow-header": Kind(tls=True, begin=b"POST /v1/enclave/attest HTTP/1.1\r\nHost: c", drip=b"x"),
    "huge-header": Kind(tls=True, begin=b"GET / HTTP/1.1\r\nX: " + b"x" * 15_000, drip=b"x" * 100),
    "slow-body": Kind(tls=True, begin=_POST + b"Content-Length: 5000\r\n\r\n{", drip=b" "),
    "tiny-chunks": Kind(tls=True, begin=_POST + b"Transfer-Encoding: chunked\r\n\r\n", drip=b"1\r\n \r\n"),
    "never-reads": Kind(tls=True, begin=_GET, times=8),
    "pipelining": Kind(tls=True, begin=_GET + _GET, times=3),
}


@dataclass
class Crowd:
    """Many bad connections of some kinds to one port, from several addresses of the loopback."""

    port: int
    kinds: tuple[str, ...] = tuple(KINDS)
    addresses: tuple[str, ...] = _ADDRESSES
    open: list[tuple[Kind, Bad]] = field(default_factory=list)

    def grow(self, count: int) -> None:
        """Open so many more. One that the server does not take counts as tried."""
        for number in range(count):
            kind = KINDS[self.kinds[number % len(self.kinds)]]
            with contextlib.suppress(OSError, SSL.Error):
                self.open.append((kind, begin(kind, self.port, self.addresses[number % len(self.addresses)])))

    def drip(self) -> None:
        """A little more from each; those that the server has closed are left out from now on."""
        self.open = [(kind, bad) for kind, bad in self.open if drip(kind, bad)]

    def alive(self) -> int:
        """How many the server still keeps. Nothing of them is read."""
        return sum(not _closed(bad.raw) for _, bad in self.open)

    def close(self) -> None:
        """All of them."""
        for _, bad in self.open:
            bad.raw.close()
        self.open = []


@contextlib.contextmanager
def crowd(port: int, count: int, *kinds: str, addresses: tuple[str, ...] = _ADDRESSES) -> Iterator[Crowd]:
    """A crowd of that many; closed at the end."""
    found = Crowd(port, kinds or tuple(KINDS), addresses)
    try:
        found.grow(count)
        yield found
    finally:
        found.close()


def begin(kind: Kind, port: int, address: str) -> Bad:
    """One connection that has begun. Raises OSError or SSL.Error when the server does not take it."""
    raw = socket.create_connection(("127.0.0.1", port), _CONNECT_TIME, source_address=(address, 0))
    bad = Bad(raw)
    try:
        if kind.tls:
            raw.settimeout(None)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\x05" + bytes(15))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, b"\x05" + bytes(15))
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            bad.tls = SSL.Connection(context, raw)
            bad.tls.set_connect_state()
            bad.tls.do_handshake()
        raw.setblocking(False)
        for _ in range(kind.times if kind.begin else 0):
            _send(bad, kind.begin)
    except BaseException:
        raw.close()
        raise
    return bad


def drip(kind: Kind, bad: Bad) -> bool:
    """A little more; False when the server has closed the connection."""
    if _closed(bad.raw):
        bad.raw.close()
        return False
    bad.steps += 1
    try:
        if kind.drip:
            _send(bad, kind.drip)
    except (OSError, SSL.Error):
        bad.raw.close()
        return False
    return True


def _send(bad: Bad, content: bytes) -> None:
    try:
        if bad.tls is None:
            bad.raw.send(content)
        else:
            bad.tls.send(content)
    except (BlockingIOError, SSL.WantReadError, SSL.WantWriteError):
        return


def _closed(raw: socket.socket) -> bool:
    """True when the other end has hung up, whatever is unread before that."""
    poll = select.poll()
    poll.register(raw, select.POLLRDHUP)
    return bool(poll.poll(0))
