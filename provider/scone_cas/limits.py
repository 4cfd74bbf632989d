"""Limits against too much at once: requests per second and address, requests in progress, open connections.

Addresses count by `network`: whoever has an IPv6 network of their own has as many addresses as they like.
"""

import ipaddress
import resource
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Generic, TypeVar

from cachetools import FIFOCache

Key = TypeVar("Key", bound=Hashable)

_ADDRESSES = 10_000
_PREFIX = 64
"""Bits of an IPv6 address that one customer of a network has."""
_OWN_FILES = 256
"""Open files that a process needs beside its connections."""
REQUESTS_OF_A_CONNECTION = 1000
"""After so many answers a connection is closed."""


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Whom an address counts as: itself, or its /64 of IPv6. What is no address counts as itself too."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, _PREFIX), strict=False))
    return str(parsed)


def most_connections(wanted: int) -> int:
    """So many connections as are wanted, or as the process may have open files. Raises its soft limit to the hard."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return wanted if hard == resource.RLIM_INFINITY else max(16, min(wanted, hard - _OWN_FILES))


class RateLimit:
    """A bucket of `burst` tokens per address that fills by `rate` tokens a second. Remembers 10,000 addresses."""

    def __init__(self, *, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: FIFOCache[str, tuple[float, float]] = FIFOCache(_ADDRESSES)
        self._lock = threading.Lock()

    def admits(self, address: str) -> bool:
        """Take a token; False when there is none."""
        address = network(address)
        with self._lock:
            now = self._clock()
            tokens, since = self._buckets.get(address, (self._burst, now))
            tokens = min(self._burst, tokens + (now - since) * self._rate)
            admitted = tokens >= 1
            self._buckets[address] = (tokens - 1 if admitted else tokens, now)
            return admitted


class Gate:
    """Lets a bounded number of requests in at a time, of one address no more than its share."""

    def __init__(self, capacity: int, *, each: int | None = None) -> None:
        self._free = capacity
        self._each = capacity if each is None else each
        self._inside: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, address: str = "") -> bool:
        """True when there was room; then `leave` must follow."""
        address = network(address)
        with self._lock:
            if self._free <= 0 or self._inside[address] >= self._each:
                return False
            self._free -= 1
            self._inside[address] += 1
            return True

    def leave(self, address: str = "") -> None:
        """Make room again."""
        address = network(address)
        with self._lock:
            self._free += 1
            self._inside[address] -= 1
            if not self._inside[address]:
                del self._inside[address]


class Connections(Generic[Key]):
    """The open connections of a port: `total` of all, `each` of one address. A new one always gets in, at the cost of
    the one that has waited longest: of its own address when that has its share, else of the address with the most.

    A connection *waits* until its request is complete, and again from its answer on: a handshake, a header or a body
    that drips in, an answer that nobody reads and idleness are all the same. One whose request is being answered is
    never given up. Safe for threads; times are seconds of any clock that does not jump.
    """

    def __init__(self, *, total: int, each: int) -> None:
        self._total, self._each = total, each
        self._address: dict[Key, str] = {}
        self._waiting: dict[str, OrderedDict[Key, float]] = {}
        self._open: Counter[str] = Counter()
        self._answers: Counter[Key] = Counter()
        self._lock = threading.Lock()

    def enter(self, key: Key, address: str, now: float, *, again: bool = True) -> list[Key]:
        """A new connection, which waits. What must be closed for it: itself, where all others are being answered.

        `again`: one of the same key is over; else it is the one that is known already.
        """
        with self._lock:
            return [] if key in self._address and not again else self._enter(key, network(address), now)

    def _enter(self, key: Key, address: str, now: float) -> list[Key]:
        self._leave(key)
        given_up = None
        if self._open[address] >= self._each:
            given_up = self._longest(address)
        elif self._open.total() >= self._total:
            given_up = self._longest(self._greediest() or address)
        if given_up is None and (self._open[address] >= self._each or self._open.total() >= self._total):
            return [key]
        self._address[key] = address
        self._open[address] += 1
        self._waiting.setdefault(address, OrderedDict())[key] = now
        if given_up is None:
            return []
        self._leave(given_up)
        return [given_up]

    def began(self, key: Key, address: str, now: float) -> list[Key]:
        """Its request is complete and is being answered. Who has not entered yet does, as by `enter`."""
        with self._lock:
            given_up = [] if key in self._address else self._enter(key, network(address), now)
            waiting = self._waiting.get(self._address.get(key, ""))
            if waiting is not None:
                waiting.pop(key, None)
            return given_up

    def is_last(self, key: Key) -> bool:
        """True when no other request is answered on the connection after this one."""
        return self._answers[key] + 1 >= REQUESTS_OF_A_CONNECTION

    def ended(self, key: Key, now: float) -> None:
        """The answer was given: the connection waits again."""
        with self._lock:
            address = self._address.get(key)
            if address is not None:
                self._waiting.setdefault(address, OrderedDict())[key] = now
                self._answers[key] += 1

    def leave(self, key: Key) -> None:
        """The connection has ended."""
        with self._lock:
            self._leave(key)

    def overdue(self, before: float) -> list[Key]:
        """Those that have waited since `before` or longer. They stay until they leave."""
        with self._lock:
            found = []
            for waiting in self._waiting.values():
                for key, since in waiting.items():
                    if since > before:
                        break
                    found.append(key)
            return found

    def keys(self, *, entered_before: float) -> list[Key]:
        """All that do not wait, or wait since before that time."""
        with self._lock:
            found = []
            for key, address in self._address.items():
                since = self._waiting.get(address, OrderedDict()).get(key)
                if since is None or since < entered_before:
                    found.append(key)
            return found

    def __len__(self) -> int:
        """How many are open."""
        return len(self._address)

    def _greediest(self) -> str | None:
        """The address with the most connections of those with one that waits; of several, who waits longest."""
        return max(
            (address for address, waiting in self._waiting.items() if waiting),
            key=lambda address: (self._open[address], -next(iter(self._waiting[address].values()))),
            default=None,
        )

    def _longest(self, address: str) -> Key | None:
        return next(iter(self._waiting.get(address, ())), None)

    def _leave(self, key: Key) -> None:
        address = self._address.pop(key, None)
        if address is None:
            return
        del self._answers[key]
        waiting = self._waiting.get(address)
        if waiting is not None:
            waiting.pop(key, None)
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
            self._waiting.pop(address, None)
