"""A TCP proxy that cuts connections at chosen bytes, for uploads whose question or answer gets lost."""

import selectors
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass


@dataclass
class Cut:
    """Where connections break; each broken one uses up one of `times`. Bytes are counted from when the cut was set.

    `after_sent`: once this many bytes of one connection went to the server, nothing more goes there, and it is cut.
    `unanswered_after`: once a connection sent more than that, what the server answers is thrown away, and it is cut.
    """

    times: int
    after_sent: int | None = None
    unanswered_after: int | None = None
    then_down: bool = False
    """After the last use, every connection is cut at once."""


class CuttingProxy:
    """Forwards one port of the loopback to another; `cut` says where it breaks, None lets everything through."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut: Cut | None = None
        self._limit = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening, and cut what is open."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        cut = self.cut
        if cut is not None and cut.then_down and not cut.times:
            client.close()
            return
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            self._open |= {client, server}
            try:
                self._forward(client, server)
            finally:
                self._open -= {client, server}

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        sent, counted_for = 0, self.cut
        with selectors.DefaultSelector() as ready:
            for each in (client, server):
                ready.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    if counted_for is not self.cut:
                        sent, counted_for = 0, self.cut
                    if key.fileobj is server:
                        if self._breaks("unanswered_after", sent):
                            return
                        client.sendall(data)
                        continue
                    if self._breaks("after_sent", sent + len(data)):
                        server.sendall(data[: max(0, self._limit - sent)])
                        return
                    server.sendall(data)
                    sent += len(data)

    def _breaks(self, where: str, sent: int) -> bool:
        """True when the connection is to be cut now; that use is then counted."""
        with self._lock:
            limit = getattr(self.cut, where) if self.cut is not None else None
            if self.cut is None or limit is None or sent <= limit or not self.cut.times:
                return False
            self.cut.times -= 1
            self._limit = limit
            return True
