"""One deadline for a whole exchange over sockets: a time-out of each read could be stretched byte by byte."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class Deadline:
    """Seconds for an exchange. With `rate`, in bytes a second, what is moved earns time, never more than `seconds`."""

    def __init__(
        self, seconds: float, *, rate: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds, self._rate, self._clock = seconds, rate, clock
        self._begin = clock()
        self._until = self._begin + seconds
        self._left_at: float | None = None

    @property
    def is_over(self) -> bool:
        """True when no time is left."""
        return self._clock() >= self._until

    @property
    def waited(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._begin

    def left(self) -> float:
        """Seconds that are left. Raises TimeoutError when there are none."""
        left = self._until - self._clock()
        if left <= 0:
            raise TimeoutError("the exchange takes too long")
        return left

    def moved(self, count: int) -> None:
        """So many bytes were sent or received."""
        if self._rate is not None:
            self._until = min(self._until + count / self._rate, self._clock() + self._seconds)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """What this thread sends and receives within it, by the sockets below, keeps to this deadline.

        It may be applied again for what follows; the time in between is not the other side's, and does not count.
        """
        if self._left_at is not None:
            self._until += self._clock() - self._left_at
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)
            self._left_at = self._clock()


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def _timed(connected: socket.socket, call: Callable[[], Any], count: Callable[[Any], int]) -> Any:  # noqa: ANN401
    deadline = _current.get()
    if deadline is None:
        return call()
    own = connected.gettimeout()
    left = deadline.left()
    connected.settimeout(left if own is None else min(own, left))
    try:
        result = call()
    finally:
        connected.settimeout(own)
    deadline.moved(count(result))
    return result


class TimedSocket(socket.socket):
    """A plain socket that keeps to the deadline applied in its thread."""

    @classmethod
    def of(cls, raw: socket.socket) -> "TimedSocket":
        """The same connection; `raw` is empty afterwards."""
        timeout = raw.gettimeout()
        found = cls(raw.family, raw.type, raw.proto, fileno=raw.detach())
        found.settimeout(timeout)
        return found

    def recv(self, *arguments: Any, **options: Any) -> bytes:  # noqa: ANN401 - as the base class
        """As of a socket."""
        found: bytes = _timed(self, lambda: super(TimedSocket, self).recv(*arguments, **options), len)
        return found

    def recv_into(self, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 - as the base class
        """As of a socket."""
        count: int = _timed(self, lambda: super(TimedSocket, self).recv_into(*arguments, **options), int)
        return count

    def send(self, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 - as the base class
        """As of a socket."""
        count: int = _timed(self, lambda: super(TimedSocket, self).send(*arguments, **options), int)
        return count

    def sendall(self, data: Any, *arguments: Any) -> None:  # noqa: ANN401 - as the base class
        """Part by part, so that each one counts."""
        left = memoryview(data).cast("B")
        while left:
            left = left[self.send(left, *arguments) :]


class TimedTlsSocket(ssl.SSLSocket):
    """A TLS socket that keeps to the deadline applied in its thread: `SSLContext.sslsocket_class`."""

    def recv(self, *arguments: Any, **options: Any) -> bytes:  # noqa: ANN401 - as the base class
        """As of a socket."""
        found: bytes = _timed(self, lambda: super(TimedTlsSocket, self).recv(*arguments, **options), len)
        return found

    def recv_into(self, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 - as the base class
        """As of a socket."""
        count: int = _timed(self, lambda: super(TimedTlsSocket, self).recv_into(*arguments, **options), int)
        return count

    def send(self, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 - as the base class
        """As of a socket; `sendall` sends its parts by this."""
        count: int = _timed(self, lambda: super(TimedTlsSocket, self).send(*arguments, **options), int)
        return count

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as the base class
        """As of a socket."""
        _timed(self, lambda: super(TimedTlsSocket, self).do_handshake(block), lambda _: 0)
