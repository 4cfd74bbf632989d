"""Changes of the store that the audit log announces: the entry is on disk first (docs/audit-log.md, "Write-ahead")."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from scone_cas.audit.journal import Journal
from scone_cas.storage.database import AUDIT_NOTE, Store


class Change:
    """One transaction of the store, open on `db`."""

    def __init__(self, db: sqlite3.Connection, store: Store, journal: Journal) -> None:
        self.db = db
        self.number: int | None = None
        self._store, self._journal = store, journal

    def announce(self, event: str, **fields: object) -> None:
        """Record the change, of which there is one, and note the entry in the store. Raises SconeError."""
        entry = self._journal.record(event, **fields)
        if entry is not None:
            self.number = entry.number
            self._journal.sync()
            self._store.keep(AUDIT_NOTE, entry.note.encode())


@contextmanager
def changing(store: Store, journal: Journal) -> Iterator[Change]:
    """A transaction as `Store.writing`. When it fails after it was announced, that is recorded too.

    Where a rollback counter guards the store, it is raised after the commit; and no change begins while it is behind.
    """
    change: Change | None = None
    guard = store.guard
    if guard is not None:
        guard.publish()
    try:
        with store.writing() as db:
            change = Change(db, store, journal)
            yield change
            if guard is not None:
                guard.advance()
    except BaseException:
        if change is not None and change.number is not None:
            journal.record("session_failed", of=change.number)
        raise
    if guard is not None:
        guard.publish()
