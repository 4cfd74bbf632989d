"""Closes connections of a server that keeps none of our limits: those that wait too long, and too many of them.

Granian knows no limit per address and no deadline but that of headers; its connections are sockets of this process. So
what is open is read from the process's own descriptors, and a socket is shut down from outside: the server sees its
peer hang up. A descriptor is copied before it is looked at, so that one that is closed and used anew in between is
never taken for another.
"""

import ctypes
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from scone_cas.limits import Connections, most_connections

_TOTAL = 4096
"""Open connections of a process; of one address a quarter."""
LONGEST_WAIT = 20.0
"""Seconds from the connection, or from the answer before, until a request must be complete, and an answer read."""
_UNREAD_TIME = 10_000
"""Milliseconds that a peer may leave unread what was sent to it."""
_PERIOD = 0.25
_CALM_PERIOD = 1.0
_CALM = 64
"""So few connections are looked at less often."""
_LIBC = ctypes.CDLL(None, use_errno=True)
_NOWHERE = struct.pack("=H14x", socket.AF_UNSPEC)
"""An address to connect to that ends a TCP connection by a reset (connect(2)); Python's own `connect` knows it not."""

Peer = tuple[str, int]
"""Address and port."""
_File = tuple[int, int]
"""Device and inode."""


class ConnectionWarden:
    """Watches the connections that this process has accepted on a port. Safe for threads."""

    def __init__(self, port: int, *, total: int = _TOTAL, longest_wait: float = LONGEST_WAIT) -> None:
        total = most_connections(total)
        self._port = port
        self._longest_wait = longest_wait
        self._connections: Connections[Peer] = Connections(total=total, each=max(1, total // 4))
        self._peers: dict[_File, Peer | None] = {}
        """Open file → who is at its other end; None for one that is no connection of the port's."""

    @staticmethod
    def most_accepted() -> int:
        """How many connections the server may have open, with those that are yet to be seen."""
        return most_connections(2 * _TOTAL)

    @contextmanager
    def answering(self, peer: Peer) -> Iterator[bool]:
        """While a complete request of that peer is answered, its connection does not wait. True: it gets no other."""
        self._connections.began(peer, peer[0], time.monotonic())
        try:
            yield self._connections.is_last(peer)
        finally:
            self._connections.ended(peer, time.monotonic())

    def watch(self) -> None:
        """Look at the connections from now on, in a thread."""
        threading.Thread(target=self._watch, name="warden", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_PERIOD if len(self._connections) > _CALM else _CALM_PERIOD)
            self.look()

    def look(self) -> None:
        """Close what has to be closed, once."""
        began = time.monotonic()
        found: dict[_File, int] = {}
        given_up: set[Peer] = set()
        for descriptor in _descriptors():
            with suppress(OSError):
                there = os.fstat(descriptor)
                file = there.st_dev, there.st_ino
                found[file] = descriptor
                if file not in self._peers:
                    self._peers[file] = peer = self._peer(descriptor)
                    if peer is not None:
                        given_up.update(self._connections.enter(peer, peer[0], began, again=False))
        self._peers = {file: peer for file, peer in self._peers.items() if file in found}
        open_ = set(self._peers.values())
        for peer in self._connections.keys(entered_before=began):
            if peer not in open_:
                self._connections.leave(peer)
        given_up.update(self._connections.overdue(began - self._longest_wait))
        for file, peer in self._peers.items():
            if peer in given_up:
                self._close(found[file], file)

    def _peer(self, descriptor: int) -> Peer | None:
        """Who is connected through a descriptor; None when it is no connection that the port accepted."""
        with _copied(descriptor) as copy:
            if copy is None or copy.getsockname()[1] != self._port:
                return None
            # When the server closes it, the kernel keeps what was not read; for as long as this, and not for ever.
            copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_TIME)
            address, port, *_ = copy.getpeername()
            return str(address), int(port)

    def _close(self, descriptor: int, file: "_File") -> None:
        with suppress(OSError), _copied(descriptor) as copy:
            if copy is None:
                return
            there = os.fstat(copy.fileno())
            if (there.st_dev, there.st_ino) == file:
                # Not `shutdown`: that would wait, with what was not read, for a peer that may never read it.
                _LIBC.connect(copy.fileno(), _NOWHERE, len(_NOWHERE))


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - thousands of them, names alone


@contextmanager
def _copied(descriptor: int) -> Iterator[socket.socket | None]:
    """A socket of its own for what a descriptor stands for; None when that is no socket of the internet."""
    try:
        copy = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        yield None
        return
    with copy:
        yield copy if copy.family in (socket.AF_INET, socket.AF_INET6) else None
