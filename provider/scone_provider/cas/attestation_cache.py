"""Attestations that are still fresh: the operations of one process share one for a CAS, for a short time.

Every request goes over TLS that is pinned to the attested key, so a CAS whose key changes in between gets nothing.
What may be late by `LIFETIME` is only that the evidence of the same key is no longer tolerated.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from scone_provider.cas.address import CasAddress
from scone_provider.cas.attest import Attested

LIFETIME = 60.0
"""Seconds for which an attestation is taken again."""

Key = tuple[CasAddress, str, str | None]
"""Where, under which switches (canonical text), and with which pin: another of these is another attestation."""


@dataclass
class _Place:
    lock: threading.Lock = field(default_factory=threading.Lock)
    found: Attested | None = None
    until: float = 0.0


class AttestationCache:
    """Attestations by what they were made for. Safe for threads: who comes second waits for the first."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._places: dict[Key, _Place] = {}

    def get(self, key: Key, make: Callable[[], Attested]) -> Attested:
        """The attestation made less than `LIFETIME` ago, or a new one. An error of `make` is kept for nobody."""
        with self._lock:
            place = self._places.setdefault(key, _Place())
        with place.lock:
            if place.found is None or self._clock() >= place.until:
                place.found = None
                place.found = make()
                place.until = self._clock() + LIFETIME
            return place.found

    def forget(self, key: Key) -> None:
        """Attest anew next time."""
        with self._lock:
            self._places.pop(key, None)
