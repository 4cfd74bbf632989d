"""Challenges of the enclave protocol: made without keeping anything, good for one attestation within 60 seconds.

32 bytes: expiry (u64, milliseconds of the machine's monotonic clock), 8 random bytes, HMAC-SHA256 cut to 16 bytes. All
workers share the HMAC key, which is new at every start of the CAS: so the table of used challenges need not outlive it.
"""

import fcntl
import hmac
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scone_cas.errors import RequestError
from scone_cas.storage.state_directory import CHALLENGES, make_private

LIFETIME = 60
"""Seconds."""

_PRUNE_EVERY = 256


class BadChallengeError(RequestError):
    """The challenge is not one of ours, or too old, or was used. The text says which."""


class Challenges:
    """Makes and consumes challenges. `clock` gives seconds and is shared by all processes of this machine."""

    def __init__(self, directory: Path, key: bytes, *, clock: Callable[[], float]) -> None:
        self._path = directory / CHALLENGES
        self._key = key
        self._clock = clock
        self._local = threading.local()
        self._used = 0

    @staticmethod
    def reset(directory: Path) -> None:
        """Forget what was used: for the start of a CAS, whose key makes all earlier challenges void."""
        for suffix in ("", "-wal", "-shm"):
            (directory / f"{CHALLENGES}{suffix}").unlink(missing_ok=True)
        make_private(directory / CHALLENGES)
        with sqlite3.connect(directory / CHALLENGES) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE used (id BLOB PRIMARY KEY, expires INTEGER NOT NULL) STRICT, WITHOUT ROWID")
            db.execute("CREATE INDEX oldest ON used (expires)")
        db.close()

    def make(self) -> bytes:
        """A fresh challenge of 32 bytes."""
        expires = int((self._clock() + LIFETIME) * 1000)
        head = expires.to_bytes(8, "big") + os.urandom(8)
        return head + self._mac(head)

    def consume(self, challenge: bytes) -> None:
        """Use a challenge up. Raises BadChallengeError."""
        head, mac = challenge[:16], challenge[16:]
        if not hmac.compare_digest(mac, self._mac(head)):
            raise BadChallengeError("the challenge is unknown")
        now = int(self._clock() * 1000)
        expires = int.from_bytes(head[:8], "big")
        if expires < now:
            raise BadChallengeError("the challenge has expired")
        try:
            with self._turn():
                self._db.execute("INSERT INTO used VALUES (?, ?)", (head, expires))
        except sqlite3.IntegrityError:
            raise BadChallengeError("the challenge was used before") from None
        self._used += 1
        if self._used % _PRUNE_EVERY == 0:
            self._db.execute("DELETE FROM used WHERE expires < ?", (now - 1000,))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One writer at a time: whoever finds SQLite's own lock taken sleeps for milliseconds, and is not woken."""
        gate: int | None = getattr(self._local, "gate", None)
        if gate is None:
            # A file of its own: to close the database's would drop the locks that SQLite holds on it.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            gate = self._local.gate = os.open(self._path.with_suffix(".lock"), flags, 0o600)
        fcntl.flock(gate, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(gate, fcntl.LOCK_UN)

    @property
    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = sqlite3.connect(self._path, timeout=10.0, isolation_level=None)
            # A lost disk write would not matter: the table is void once the machine or the CAS starts again.
            db.execute("PRAGMA synchronous = OFF")
            self._local.db = db
        return db

    def close(self) -> None:
        """Close this thread's connection."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is not None:
            db.close()
            del self._local.db
        gate: int | None = getattr(self._local, "gate", None)
        if gate is not None:
            os.close(gate)
            del self._local.gate

    def _mac(self, head: bytes) -> bytes:
        return hmac.digest(self._key, b"scone-cas challenge v1\0" + head, "sha256")[:16]
