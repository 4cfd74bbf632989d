"""A time that never jumps: what throttles and what leases last for is counted by it, whatever the clock says.

It begins as the time of day of a state's first start, and from then on follows the machine's own count of seconds since
it was booted (CLOCK_BOOTTIME, which all processes share and nobody can set). A CAS that starts again on the same boot
goes on where it would be; after a reboot, or on another machine, it goes on from the newest time that the store knows:
time that nobody counted does not pass, so that no restart shortens anything.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scone_cas.storage.database import Store

_KEPT = "timeline"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SMALLEST_JUMP = 1.0
"""Seconds by which a clock has to move against the machine's count for it to be told."""
_NEWEST = (
    "SELECT max(coalesce((SELECT max(since) FROM password), 0), coalesce((SELECT max(expires) FROM lease), ?1) - ?1)"
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a machine says of time: which boot it is, seconds since then, and the time of day (Unix)."""

    boot: str
    since_boot: float
    wall: float

    @classmethod
    def read(cls) -> "Machine":
        """Of this machine, now."""
        boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        return cls(boot=boot, since_boot=since_boot(), wall=time.time())


def since_boot() -> float:
    """Seconds since this machine was booted, time asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def begin(store: Store, machine: Machine, *, longest_lease: int) -> float | None:
    """Go on with a state's time, for a CAS that starts. How far the clock was moved since the last start, if it was."""
    newest = store.row(_NEWEST, longest_lease)
    now, jump = float(newest[0] if newest else 0), None
    if store.keeps(_KEPT):
        last = json.loads(store.kept(_KEPT))
        passed = machine.since_boot - last["since_boot"]
        if last["boot"] == machine.boot and passed >= 0:
            now = max(now, last["now"] + passed)
            jump = machine.wall - last["wall"] - passed
        else:
            now = max(now, last["now"])
            jump = min(0.0, machine.wall - last["wall"])
    else:
        now = max(now, machine.wall)
    kept = {"boot": machine.boot, "since_boot": machine.since_boot, "now": now, "wall": machine.wall}
    with store.writing():
        store.keep(_KEPT, json.dumps(kept).encode())
    return jump if jump is not None and abs(jump) >= SMALLEST_JUMP else None


def steady_clock(store: Store, *, count: Callable[[], float] = since_boot) -> Callable[[], datetime]:
    """The time of a state that has begun, as a clock."""
    kept = json.loads(store.kept(_KEPT))
    return lambda: datetime.fromtimestamp(kept["now"] + count() - kept["since_boot"], UTC)


class ClockWatch:
    """Notices that the time of day was moved, by comparing it with the machine's count of seconds."""

    def __init__(self, *, wall: Callable[[], float] = time.time, count: Callable[[], float] = since_boot) -> None:
        self._wall, self._count = wall, count
        self._offset = wall() - count()

    def moved(self) -> float | None:
        """Seconds by which it was moved since the last look, if it was: forward is positive. A slow drift is none."""
        offset = self._wall() - self._count()
        jump, self._offset = offset - self._offset, offset
        return jump if abs(jump) >= SMALLEST_JUMP else None
