"""One-time passwords of services: RFC 6238 with six digits and 30 seconds, each good once (session language, 7).

What was used is in the store, so a password is used up for all processes and over restarts. A row belongs to a shared
secret, wherever a policy takes it from: a password is good once, however many services it is for.
"""

import base64
import hashlib
import hmac
import re
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime

from scone_cas.errors import EnclaveRefusal
from scone_cas.storage.database import Store

STEP = 30
"""Seconds that a password stands for."""
WINDOW = 1
"""Steps before and after the current one whose passwords are good too: clocks differ."""
MOST_FAILURES = 5
PERIOD = 300
"""Seconds within which that many wrong passwords for one shared secret are looked at, and no more."""

_REMEMBERED = 256
"""Passwords of a secret that are remembered as used: a clock that was set back may make them good again."""
_DIGITS = re.compile("[0-9]{6}")
_CONTEXT = b"scone-cas one-time password v1\0"


def password(shared_secret: str, step: int) -> str:
    """The six digits of a step (Unix time / 30) under a shared secret in base32 without padding (RFC 4226, 6238)."""
    key = base64.b32decode(shared_secret + "=" * (-len(shared_secret) % 8))
    digest = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


class Passwords:
    """Judges passwords and uses them up. `clock` tells the time of day, by which passwords are made; `steady` a time
    that never jumps, by which guesses are counted.
    """

    def __init__(
        self, store: Store, *, clock: Callable[[], datetime], steady: Callable[[], datetime] | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._steady = steady or clock

    def use(self, shared_secret: str, given: str | None) -> None:
        """Use a password up. Raises EnclaveRefusal: missing, wrong, used before, or too many wrong ones came."""
        if given is None:
            raise EnclaveRefusal(
                "otp_missing", "the service needs a one-time password: add @ and its six digits to SCONE_CONFIG_ID"
            )
        current, now = int(self._clock().timestamp()) // STEP, int(self._steady().timestamp())
        key = hashlib.sha256(_CONTEXT + shared_secret.encode()).digest()
        problem = None
        with self._store.writing() as db:
            row = db.execute("SELECT failures, since FROM password WHERE secret = ?", (key,)).fetchone()
            failures, since = row or (0, now)
            if now >= since + PERIOD:
                failures, since = 0, now
            step = next(_fitting(shared_secret, given, current), None)
            if failures >= MOST_FAILURES:
                problem = EnclaveRefusal(
                    "otp_throttled",
                    f"too many wrong one-time passwords: try again in {since + PERIOD - now} seconds",
                )
            elif step is None:
                failures += 1
                problem = EnclaveRefusal("otp_wrong", "the one-time password is wrong, or not of this half minute")
            elif _was_used(db, key, step, current):
                problem = EnclaveRefusal("otp_used", "the one-time password was used before: wait for the next one")
            else:
                failures, since = 0, now
                _use_up(db, key, step, now)
            _keep(db, key, failures, since, now)
        if problem is not None:
            raise problem


def _was_used(db: sqlite3.Connection, key: bytes, step: int, current: int) -> bool:
    """True for a step that was used, or is older than one that was.

    Steps that lie in the future were used while the clock was ahead: once it is right again they are used up, and say
    nothing about the steps before them.
    """
    return (
        db.execute(
            "SELECT 1 FROM used_password WHERE secret = ?1 AND (step = ?2 OR step BETWEEN ?2 AND ?3)",
            (key, step, current + WINDOW),
        ).fetchone()
        is not None
    )


def _use_up(db: sqlite3.Connection, key: bytes, step: int, now: int) -> None:
    db.execute("INSERT INTO used_password VALUES (?, ?, ?)", (key, step, now))
    db.execute(
        "DELETE FROM used_password WHERE secret = ?1 AND step NOT IN "
        "(SELECT step FROM used_password WHERE secret = ?1 ORDER BY since DESC, step DESC LIMIT ?2)",
        (key, _REMEMBERED),
    )


def _fitting(shared_secret: str, given: str, current: int) -> Iterator[int]:
    """The steps of the window, newest first, that the password stands for. All are computed, whichever fits."""
    digits = given if _DIGITS.fullmatch(given) else ""
    steps = range(current + WINDOW, current - WINDOW - 1, -1)
    fits = [hmac.compare_digest(password(shared_secret, step), digits) for step in steps]
    yield from (step for step, fit in zip(steps, fits, strict=True) if fit)


def _keep(db: sqlite3.Connection, key: bytes, failures: int, since: int, now: int) -> None:
    """What is older than its period says nothing any more, and goes."""
    db.execute("INSERT OR REPLACE INTO password VALUES (?, 0, ?, ?)", (key, failures, since))
    db.execute("DELETE FROM password WHERE since < ?", (now - PERIOD,))
