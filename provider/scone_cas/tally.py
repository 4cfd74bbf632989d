"""What anybody can make happen is told once, then counted: no stranger decides how much is written."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

INTERVAL = 60.0
"""Seconds for which what is told in full stays told."""
_LONGEST = 3600.0
"""The interval doubles up to this while much is counted."""
_MUCH = 100
KINDS = 16
"""Kinds told in full in an interval; the others are counted together, by their group."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """So many more of a kind happened in so many seconds; `kind` is None for all that are not told one by one."""

    group: str
    kind: Hashable | None
    count: int
    seconds: int


class Tally:
    """Tells which happening is to be told. Groups must be few; kinds may be as many as strangers like. For threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock()
        self._seconds = INTERVAL
        self._told: set[tuple[str, Hashable]] = set()
        self._more: Counter[tuple[str, Hashable | None]] = Counter()

    def is_news(self, group: str, kind: Hashable) -> bool:
        """True when this is the first of its kind in the interval and is to be told; else it was counted."""
        with self._lock:
            key = (group, kind)
            if key not in self._told:
                if len(self._told) < KINDS:
                    self._told.add(key)
                    return True
                key = (group, None)
            self._more[key] += 1
            return False

    def due(self, *, at_once: bool = False) -> list[Counted]:
        """What was counted, when the interval is over or `at_once`; then a new one begins."""
        with self._lock:
            passed = self._clock() - self._since
            if passed < self._seconds and not at_once:
                return []
            found = [
                Counted(group=group, kind=kind, count=count, seconds=round(passed))
                for (group, kind), count in self._more.items()
            ]
            self._seconds = min(2 * self._seconds, _LONGEST) if self._more.total() > _MUCH else INTERVAL
            self._since += passed
            self._told.clear()
            self._more.clear()
            return found
