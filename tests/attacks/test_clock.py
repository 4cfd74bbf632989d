"""Somebody who moves CAS's clock, or an accident that does: nothing is blocked for long, no throttle begins anew."""

import json
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scone_cas.attestation.leases import START, Holder, Leases
from scone_cas.attestation.one_time_passwords import MOST_FAILURES, PERIOD, STEP, Passwords, password
from scone_cas.errors import EnclaveRefusal
from scone_cas.storage.database import Store
from scone_cas.storage.sealing import Sealer
from scone_cas.storage.timeline import ClockWatch, Machine, begin, steady_clock
from support.real_cas import RealCas

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Times:
    """A machine: seconds since its boot, and a clock that a test sets."""

    def __init__(self) -> None:
        self.passed, self.moved, self.boot = 0.0, timedelta(0), "first"

    def wall(self) -> datetime:
        """The time of day as its clock says it."""
        return NOON + self.moved + timedelta(seconds=self.passed)

    def machine(self) -> Machine:
        """What it says of time."""
        return Machine(boot=self.boot, since_boot=self.passed, wall=self.wall().timestamp())


class Place:
    """A store that a CAS has started on, and starts on again."""

    def __init__(self, folder: Path) -> None:
        self.times = Times()
        self.store = Store(folder, Sealer(bytes(32)))
        self.store.initialise({})
        self.start()

    def start(self) -> float | None:
        """A start; how far the clock was moved."""
        jump = begin(self.store, self.times.machine(), longest_lease=300)
        steady = steady_clock(self.store, count=lambda: self.times.passed)
        self.passwords = Passwords(self.store, clock=self.times.wall, steady=steady)
        self.leases = Leases(self.store, clock=steady)
        return jump

    def use(self, *, steps: int = 0, wrong: bool = False) -> str:
        """Give the password of now, or of so many steps later: what came of it."""
        digits = password(SECRET, int(self.times.wall().timestamp()) // STEP + steps)
        try:
            self.passwords.use(SECRET, "x" if wrong else digits)
        except EnclaveRefusal as refusal:
            return refusal.code
        return "ok"

    def singleton(self) -> str:
        """Start a singleton."""
        holder = Holder(session="s", service="main", measurement="00" * 32, quoting_key=bytes(32))
        try:
            self.leases.take(holder, singleton=True, renewable=False)
        except EnclaveRefusal as refusal:
            return refusal.code
        return "ok"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store of its own."""
    return Place(tmp_path)


@pytest.mark.parametrize("ahead", [DAY, 400 * DAY])
def test_a_clock_ahead_blocks_nobody_afterwards(place: Place, ahead: timedelta) -> None:
    """A password used and a singleton started while the clock is ahead: when it is right again others are let in."""
    place.times.moved = ahead
    assert place.use() == "ok"
    assert place.singleton() == "ok"
    place.times.moved, place.times.passed = timedelta(0), START + 1.0
    assert place.use() == "ok"
    assert place.use() == "otp_used"
    assert place.use(steps=-1) == "otp_used"
    assert place.singleton() == "ok"


@pytest.mark.parametrize("back", [timedelta(seconds=1), timedelta(minutes=10), DAY])
def test_a_clock_set_back_gives_no_more_guesses(place: Place, back: timedelta) -> None:
    """After five wrong passwords no clock that is moved, back or forth, lets another guess in before the time is over.

    Neither does a start again, on this boot or another one.
    """
    assert [place.use(wrong=True) for _ in range(MOST_FAILURES)] == ["otp_wrong"] * MOST_FAILURES
    for moved in (-back, back, timedelta(0)):
        place.times.moved = moved
        assert place.use() == "otp_throttled"
    place.times.passed = PERIOD / 2
    place.start()
    assert place.use() == "otp_throttled"
    place.times.boot, place.times.passed = "second", 0.0
    place.start()
    assert place.use() == "otp_throttled"
    place.times.passed = PERIOD + 1.0
    assert place.use() == "ok"


def test_a_used_password_stays_used(place: Place) -> None:
    """Whoever sets the clock back to a time whose password was seen cannot use it again, not after others either."""
    assert place.use() == "ok"
    for seconds in range(STEP, 20 * STEP, STEP):
        place.times.passed = float(seconds)
        assert place.use() == "ok"
    place.times.moved = -timedelta(seconds=19 * STEP)
    assert place.use() == "otp_used"
    assert place.use(steps=1) == "otp_used"


def test_a_lease_lasts_its_time(place: Place) -> None:
    """A singleton is held for as long as it should be, however the clock moves; and over a start."""
    assert place.singleton() == "ok"
    for moved in (DAY, -DAY, timedelta(0)):
        place.times.moved = moved
        assert place.singleton() == "already_running"
    place.times.passed = START - 1.0
    place.start()
    assert place.singleton() == "already_running"
    place.times.passed = START + 1.0
    assert place.singleton() == "ok"


def test_moves_between_two_starts_are_noticed(place: Place) -> None:
    """The next start tells how far the clock was moved; after a reboot only that it went back."""
    place.times.passed = 100.0
    assert place.start() is None
    place.times.moved = DAY
    assert place.start() == pytest.approx(DAY.total_seconds())
    place.times.boot, place.times.passed = "second", 5.0
    assert place.start() == pytest.approx(-95)
    place.times.passed = 500.0
    assert place.start() is None


def test_a_drift_is_no_jump() -> None:
    """What NTP corrects little by little is not told; a step is, once."""
    wall, count = [1000.0], [0.0]
    watch = ClockWatch(wall=lambda: wall[0], count=lambda: count[0])
    for _ in range(100):
        count[0] += 5
        wall[0] += 5.01
        assert watch.moved() is None
    wall[0] -= 60
    assert watch.moved() == pytest.approx(-60, abs=0.1)
    assert watch.moved() is None


_MOVED = """
import sys, time
from pathlib import Path
from scone_cas.storage import timeline
real, moved = time.time, Path(sys.argv.pop(1))
timeline.ClockWatch.__init__.__kwdefaults__["wall"] = lambda: real() + float(moved.read_text())
from scone_cas.server import supervisor
supervisor._CLOCK_PERIOD = 0.2
from scone_cas.__main__ import main
sys.exit(main())
"""


def test_a_running_cas_says_it(tmp_path: Path) -> None:
    """The processes of a CAS whose clock is set back by an hour: its log and the audit log tell, and it goes on."""
    moved = tmp_path / "moved"
    moved.write_text("0")

    class Moved(RealCas):
        def _command(self) -> list[str]:
            return [sys.executable, "-P", "-c", _MOVED, str(moved), "serve"]

    own = Moved(tmp_path / "state").start()
    try:
        moved.write_text("-3600")
        deadline = time.monotonic() + 20
        while not re.search(rb"clock-jumped seconds=-3600", own.log.read_bytes()):
            assert time.monotonic() < deadline, own.log.read_text()
            time.sleep(0.05)
        assert own.enclave.challenge()
    finally:
        own.stop()
    entries = [json.loads(line)["entry"] for line in (own.state / "audit.log").read_bytes().splitlines()]
    assert [entry["fields"] for entry in entries if entry["event"] == "clock_jumped"] == [{"seconds": -3600}]
    assert own.audit().code == 0
