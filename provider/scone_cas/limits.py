"""Limits against too much at once: requests per second and address, requests in progress, open connections."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from cachetools import FIFOCache

_ADDRESSES = 10_000


class RateLimit:
    """A bucket of `burst` tokens per address that fills by `rate` tokens a second. Remembers 10,000 addresses."""

    def __init__(self, *, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: FIFOCache[str, tuple[float, float]] = FIFOCache(_ADDRESSES)
        self._lock = threading.Lock()

    def admits(self, address: str) -> bool:
        """Take a token; False when there is none."""
        with self._lock:
            now = self._clock()
            tokens, since = self._buckets.get(address, (self._burst, now))
            tokens = min(self._burst, tokens + (now - since) * self._rate)
            admitted = tokens >= 1
            self._buckets[address] = (tokens - 1 if admitted else tokens, now)
            return admitted


class Gate:
    """Lets a bounded number of requests in at a time."""

    def __init__(self, capacity: int) -> None:
        self._free = capacity
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """True when there was room; then `leave` must follow."""
        with self._lock:
            if self._free <= 0:
                return False
            self._free -= 1
            return True

    def leave(self) -> None:
        """Make room again."""
        with self._lock:
            self._free += 1


class Connections:
    """Counts open connections: `total` of all, `each` of one address, so that nobody can take them all."""

    def __init__(self, *, total: int, each: int) -> None:
        self._total, self._each = total, each
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """True when there was room; then `leave` must follow. For one thread only."""
        if self._open[address] >= self._each or self._open.total() >= self._total:
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        """A connection that was let in has ended."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
