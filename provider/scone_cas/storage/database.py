"""The store: every version of every session, the secrets' values, what enclaves keep, the CAS's own keys. SQLite, WAL.

Everything that must be serial happens inside `writing()`. Whatever is confidential is sealed before it gets here.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scone_cas.storage import schema
from scone_cas.storage.failures import storage_error
from scone_cas.storage.reserve import Reserve
from scone_cas.storage.sealing import Sealer
from scone_cas.storage.state_directory import DATABASE, make_private
from scone_policy.errors import SconeError
from scone_policy.syntax.names import ROOT

_LOCK_WAIT = 20.0
"""Seconds that a writer waits for another one."""

_BEYOND = "\x7f"
"""Behind every character that a session's name may hold."""

AUDIT_NOTE = "audit note"
"""Kept: number and signature of the audit log's newest entry that a transaction of the store was announced with."""


class Guard(Protocol):
    """What a change of the store has to do for a rollback counter."""

    def advance(self) -> None:
        """Inside the change's transaction."""

    def publish(self) -> None:
        """After it, and before the next one. Raises SconeError."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a session, as stored. `number` counts from 1; hashes are 64 hex digits."""

    hash: str
    name: str
    number: int
    predecessor: str | None
    description: str


class Store:
    """The database of one state directory. Safe for threads: each has a connection of its own."""

    def __init__(self, directory: Path, sealer: Sealer) -> None:
        self._path = directory / DATABASE
        self._sealer = sealer
        self.reserve = Reserve(directory)
        self.guard: Guard | None = None
        self._local = threading.local()

    def initialise(self, kept: Mapping[str, bytes]) -> None:
        """Make the tables with what the CAS keeps about itself, or check those that are there. Raises SconeError."""
        try:
            with self.writing() as db:
                if schema.is_empty(db):
                    schema.extend(db, 1)
                    for name, value in kept.items():
                        self.keep(name, value)
                self._check(db)
                for version in range(schema.version_of(db) + 1, schema.NEWEST + 1):
                    schema.extend(db, version)
        except sqlite3.Error as problem:
            disk = storage_error(problem, where=str(self._path))
            if disk is not None:
                raise disk from None
            raise SconeError(
                f"the store is damaged or unreadable: {problem}",
                where=str(self._path),
                fix="restore the whole state directory from a backup",
            ) from None

    def _check(self, db: sqlite3.Connection) -> None:
        version = schema.version_of(db)
        if not schema.is_known(version):
            raise SconeError(
                f"the store has schema {version}, and this CAS knows schema {schema.NEWEST}",
                where=str(self._path),
                fix="start the version of the CAS that wrote it, or a newer one",
            )
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    @property
    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            make_private(self._path)
            db = sqlite3.connect(self._path, timeout=_LOCK_WAIT, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA trusted_schema = OFF")
            self._local.db = db
        return db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One serial transaction: what is read in it is still true when it commits; all of it happens or nothing.

        Inside another one of the same thread it is a part of that one.
        """
        db = self._db
        if self.is_writing:
            yield db
            return
        db.execute("BEGIN IMMEDIATE")
        self._local.writing = True
        try:
            yield db
            db.execute("COMMIT")
        finally:
            self._local.writing = False
            if db.in_transaction:
                db.execute("ROLLBACK")

    @property
    def is_writing(self) -> bool:
        """Whether this thread is inside `writing()`."""
        return getattr(self._local, "writing", False)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Several reads that see one and the same state. Inside `writing()` they see that transaction's."""
        db = self._db
        if db.in_transaction:
            yield
            return
        db.execute("BEGIN")
        try:
            yield
        finally:
            db.execute("COMMIT")

    def keep(self, name: str, value: bytes) -> None:
        """Keep a value about the CAS itself, sealed."""
        self.change("INSERT OR REPLACE INTO kept VALUES (?, ?)", name, self._sealer.seal(value, "kept", name))

    def kept(self, name: str) -> bytes:
        """A value that was kept. Raises SconeError when it does not open."""
        row = self._db.execute("SELECT sealed FROM kept WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise SconeError(f"the store has no {name}", where=str(self._path), fix="restore the state from a backup")
        return self._sealer.open(row[0], "kept", name)

    def keeps(self, name: str) -> bool:
        """True when something was kept under this name."""
        return self._db.execute("SELECT 1 FROM kept WHERE name = ?", (name,)).fetchone() is not None

    def forget(self, name: str) -> None:
        """Keep it no longer."""
        self.change("DELETE FROM kept WHERE name = ?", name)

    def row(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        """The first row that a query finds. What changes rows is for `change`."""
        assert statement.startswith(("SELECT ", "PRAGMA ")), "only reads"
        found: tuple[Any, ...] | None = self._db.execute(statement, values).fetchone()
        return found

    def change(self, statement: str, *values: object) -> None:
        """Insert, update or delete rows: with all else of the transaction that is open, or in one of its own."""
        with self.writing() as db:
            db.execute(statement, values)

    def seal(self, plaintext: bytes, *place: str) -> bytes:
        """Sealed for that place of the store alone."""
        return self._sealer.seal(plaintext, *place)

    def open(self, sealed: bytes, *place: str) -> bytes:
        """What was sealed for that place. Raises SconeError when it does not open."""
        return self._sealer.open(sealed, *place)

    def current_hash(self, name: str) -> str | None:
        """The hash of the newest version. Time grows with the logarithm of the number of sessions."""
        row = self._db.execute(
            "SELECT hash FROM session WHERE name = ? ORDER BY number DESC LIMIT 1", (name,)
        ).fetchone()
        return None if row is None else str(row[0])

    def length(self, name: str, session_hash: str) -> int:
        """About how many bytes a version's description has."""
        row = self._db.execute(
            "SELECT length(description) FROM session WHERE name = ? AND hash = ?", (name, session_hash)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def holds_sessions(self) -> bool:
        """True when there is any session."""
        return self._db.execute("SELECT 1 FROM session LIMIT 1").fetchone() is not None

    def below(self, namespace: str, *, after: str | None) -> Iterator[str]:
        """The names right below a namespace in their order, those after `after`: one or two look-ups for each."""
        prefix = "" if namespace == ROOT else f"{namespace}/"
        last = max(after or prefix, prefix)
        while True:
            row = self._db.execute(
                "SELECT name FROM session WHERE name > ? AND name < ? ORDER BY name LIMIT 1",
                (last, f"{prefix}{_BEYOND}"),
            ).fetchone()
            if row is None:
                return
            name = str(row[0])
            child, nested, _ = name.removeprefix(prefix).partition("/")
            if nested:
                # A session further down, or `/` itself: on to what comes behind all below the same child.
                last = f"{prefix}{child}/{_BEYOND}"
            else:
                last = name
                yield name

    def version(self, name: str, session_hash: str) -> Version | None:
        """The version with that hash, if it is one of that session's."""
        row = self._db.execute(
            "SELECT number, predecessor, description FROM session WHERE hash = ? AND name = ?", (session_hash, name)
        ).fetchone()
        if row is None:
            return None
        number, predecessor, sealed = row
        description = self._sealer.open(sealed, "description", name, session_hash).decode()
        return Version(
            hash=session_hash, name=name, number=number, predecessor=predecessor or None, description=description
        )

    def current(self, name: str) -> Version | None:
        """The newest version."""
        session_hash = self.current_hash(name)
        return None if session_hash is None else self.version(name, session_hash)

    def values(self, version: Version) -> dict[str, bytes]:
        """Secret → value, of what this version holds itself (imported values stay with their owner)."""
        rows = self._db.execute("SELECT secret, sealed FROM value WHERE session = ?", (version.hash,))
        return {
            secret: self._sealer.open(sealed, "value", version.name, version.hash, secret) for secret, sealed in rows
        }

    def add(self, version: Version, values: Mapping[str, bytes]) -> None:
        """Add a version with its values and drop the predecessor's values, all or nothing.

        Raises sqlite3.IntegrityError when its predecessor has a successor already.
        """
        description = self._sealer.seal(version.description.encode(), "description", version.name, version.hash)
        rows = [
            (version.hash, secret, self._sealer.seal(value, "value", version.name, version.hash, secret))
            for secret, value in sorted(values.items())
        ]
        with self.writing() as db:
            db.execute(
                "INSERT INTO session (hash, name, number, predecessor, description) VALUES (?, ?, ?, ?, ?)",
                (version.hash, version.name, version.number, version.predecessor or "", description),
            )
            db.executemany("INSERT INTO value VALUES (?, ?, ?)", rows)
            db.execute("DELETE FROM value WHERE session = ?", (version.predecessor or "",))

    def renew(self, *, name: str, session_hash: str, secret: str, value: bytes) -> None:
        """Replace one value of a session's newest version."""
        sealed = self._sealer.seal(value, "value", name, session_hash, secret)
        self.change("UPDATE value SET sealed = ? WHERE session = ? AND secret = ?", sealed, session_hash, secret)

    def close(self) -> None:
        """Close this thread's connection."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is not None:
            db.close()
            del self._local.db
