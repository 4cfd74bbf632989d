"""The tables of the store, by schema: what each adds to the one before."""

import sqlite3

NEWEST = 3
"""The schema that this CAS writes."""

_TABLES = """
CREATE TABLE schema (version INTEGER NOT NULL) STRICT;
CREATE TABLE kept (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
CREATE TABLE session (
    hash TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    predecessor TEXT NOT NULL,
    description BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_successor ON session (name, predecessor);
CREATE UNIQUE INDEX newest ON session (name, number);
CREATE TABLE value (
    session TEXT NOT NULL REFERENCES session (hash),
    secret TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (session, secret)
) STRICT, WITHOUT ROWID;
"""

_SINCE_2 = """
CREATE TABLE tag (
    session TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (session, kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE password (
    secret BLOB PRIMARY KEY,
    step INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX password_since ON password (since);
CREATE TABLE lease (
    id TEXT PRIMARY KEY,
    session TEXT NOT NULL,
    service TEXT NOT NULL,
    expires INTEGER NOT NULL,
    number INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX lease_service ON lease (session, service);
CREATE INDEX lease_expires ON lease (expires);
"""
_SINCE_3 = """
CREATE TABLE used_password (
    secret BLOB NOT NULL,
    step INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (secret, step)
) STRICT, WITHOUT ROWID;
INSERT INTO used_password SELECT secret, step, since FROM password WHERE step > 0
"""
_ADDED = {1: _TABLES, 2: _SINCE_2, 3: _SINCE_3}
"""Schema → what it adds to the one before."""


def is_empty(db: sqlite3.Connection) -> bool:
    """True when there are no tables yet."""
    return db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema'").fetchone() is None


def version_of(db: sqlite3.Connection) -> int:
    """The schema of a store that has tables."""
    (version,) = db.execute("SELECT max(version) FROM schema").fetchone()
    return int(version)


def is_known(version: int) -> bool:
    """True for a schema that this CAS can read, or extend to the newest."""
    return version in _ADDED


def extend(db: sqlite3.Connection, version: int) -> None:
    """Bring a store to this schema from the one before; inside a transaction."""
    for statement in filter(str.strip, _ADDED[version].split(";")):
        db.execute(statement)
    db.execute("INSERT INTO schema VALUES (?)", (version,))
