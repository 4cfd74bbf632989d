"""A TLS server with the key of a CAS that answers as a test says: wrongly, slowly, too much, or not at all."""

import base64
import json
import re
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Self

from scone_cas.identity.cas_identity import CasIdentity

Behaviour = Callable[[str, bytes], Iterable[bytes]]
"""From `METHOD path` and body to the bytes of the answer, sent piece by piece; then the connection is closed."""


def answer(status: int, content: object) -> list[bytes]:
    """A whole HTTP answer with JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return [b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body]


def granting(content: bytes, /, **changes: object):
    """A CAS that gives a secret to whoever asks."""
    shared = {"hash": "ab" * 32, "kind": "ascii", "content": base64.b64encode(content).decode(), "more": {}} | changes
    return lambda _line, _body: answer(200, shared)


class FalseCas:
    """Serves on a free port of the loopback. `behave` may be replaced at any time; `asked` lists what was asked."""

    def __init__(self, behave: Behaviour, identity: CasIdentity | None = None) -> None:
        self.behave = behave
        self.identity = identity or CasIdentity.create(now=datetime.now(UTC))
        self.asked: list[str] = []
        self.connections = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.identity.to_pem())
            file.flush()
            self._context.load_cert_chain(file.name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                raw, _ = self._listener.accept()
                self.connections += 1
                self._open.add(raw)
                self._threads.append(threading.Thread(target=self._serve, args=(raw,)))
                self._threads[-1].start()

    def _serve(self, raw: socket.socket) -> None:
        with raw, suppress(OSError), self._context.wrap_socket(raw, server_side=True) as connection:
            self._open.add(connection)
            head, _, body = self._read(connection).partition(b"\r\n\r\n")
            if head:
                line = head.split(b" HTTP", 1)[0].decode()
                self.asked.append(line)
                for piece in self.behave(line, body):
                    connection.sendall(piece)
            self._open.discard(connection)

    @staticmethod
    def _read(connection: ssl.SSLSocket) -> bytes:
        got = b""
        while b"\r\n\r\n" not in got:
            piece = connection.recv(65536)
            if not piece:
                return b""
            got += piece
        length = re.search(rb"(?i)content-length: (\d+)", got)
        while length and len(got.partition(b"\r\n\r\n")[2]) < int(length[1]):
            got += connection.recv(65536)
        return got

    def stop(self) -> None:
        """Cut all connections and end all threads."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.stop()
