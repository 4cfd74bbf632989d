"""Writes the audit log: an entry is signed, chained to the one before, and on disk before `record` returns.

Several processes and threads append to the one file (docs/audit-log.md, "Write-ahead").
"""

import base64
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scone_cas import VERSION
from scone_cas.audit.entry import (
    ENTRY_CONTEXT,
    KEY_CONTEXT,
    LONGEST_LINE,
    STARTED,
    BadEntryError,
    Entry,
    decode,
    read_line,
    write_line,
)
from scone_cas.identity.cas_identity import CasIdentity
from scone_cas.storage.failures import StorageError, storage_error
from scone_policy.errors import SconeError

FILE = "audit.log"


class Waiting:
    """What must be on disk before an answer may be sent: everything in the log before `end`, in bytes."""

    end = 0


class Journal(Protocol):
    """What the CAS tells of what it does."""

    def record(self, event: str, **fields: object) -> Entry | None:
        """Make an entry that is on disk when this returns; None where nothing is recorded. Raises SconeError."""

    def deferred(self) -> AbstractContextManager[Waiting]:
        """Within it, entries of this thread are not waited for: whoever answers waits, by `sync`."""

    def sync(self) -> int:
        """Bring the log to disk; everything before the returned place is there. Raises SconeError."""

    def close(self) -> None:
        """Close the file, if there is one."""


class NullJournal:
    """A journal that records nothing."""

    def record(self, event: str, **fields: object) -> None:
        """Nothing."""

    @contextmanager
    def deferred(self) -> Iterator[Waiting]:
        """Nothing to wait for."""
        yield Waiting()

    def sync(self) -> int:
        """Nothing."""
        return 0

    def close(self) -> None:
        """Nothing."""


class AuditLog:
    """The log of one state directory. Safe for threads; each process needs one of its own, made anew after a fork."""

    def __init__(self, directory: Path, key: Ed25519PrivateKey, *, clock: Callable[[], datetime]) -> None:
        self.path = directory / FILE
        self._key = key
        self._clock = clock
        self._file: int | None = None
        self._appending = threading.Lock()
        self._syncing = threading.Lock()
        self._head: tuple[int, str] = (0, "")
        self._size = 0
        self._synced = 0
        self._broken = False
        self._local = threading.local()

    def record(self, event: str, **fields: object) -> Entry:
        """Append an entry and wait until it is on disk. Raises SconeError when it cannot be; then it does not count."""
        waiting: Waiting | None = getattr(self._local, "waiting", None)
        with self._said():
            with self._appending:
                entry = self._append(event, fields)
                end = self._size
            if waiting is not None:
                waiting.end = end
            else:
                self._sync(end)
        return entry

    @contextmanager
    def deferred(self) -> Iterator[Waiting]:
        """Within it, entries of this thread are not waited for: whoever answers waits, by `sync`."""
        self._local.waiting = Waiting()
        try:
            yield self._local.waiting
        finally:
            self._local.waiting = None

    def sync(self) -> int:
        """Bring the log to disk; everything before the returned place is there. Raises SconeError."""
        with self._said():
            self._sync(self._size)
        return self._synced

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as problem:
            disk = storage_error(problem, where=str(self.path))
            reason = problem.strerror if isinstance(problem, OSError) else problem
            what = disk.what if disk is not None and disk.is_full else f"the audit log cannot be written: {reason}"
            raise StorageError(what, is_full=disk is not None and disk.is_full, where=str(self.path)) from None

    def record_start(self, identity: CasIdentity) -> Entry:
        """Append the event that links the audit key to the CAS's identity. Raises SconeError."""
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        spki = identity.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        signature = identity.key.sign(KEY_CONTEXT + public, ec.ECDSA(hashes.SHA256()))
        return self.record(
            STARTED,
            version=VERSION,
            audit_key=_base64(public),
            identity=_base64(spki),
            identity_signature=_base64(signature),
        )

    def last(self) -> Entry | None:
        """The newest entry, after an unfinished one was removed; None when there is none. Raises SconeError."""
        with self._appending:
            descriptor = self._open()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                return self._tail(descriptor, os.fstat(descriptor).st_size)
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def signed(self, entry: Entry) -> bool:
        """True when the entry is one that this CAS signed."""
        try:
            self._key.public_key().verify(decode(entry.signature), ENTRY_CONTEXT + entry.content)
        except InvalidSignature:
            return False
        return True

    def close(self) -> None:
        """Close the file; the next entry opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, event: str, fields: dict[str, object]) -> Entry:
        if self._broken:
            raise OSError(5, "an earlier entry did not reach the disk")
        descriptor = self._open()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            size = self._checked_size(descriptor)
            if size != self._size:
                size = self._catch_up(descriptor, size)
            number, previous = self._head
            entry, line = write_line(
                self._key, number=number + 1, time=self._clock(), event=event, fields=fields, previous=previous
            )
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, size)
                raise OSError(28, "no space left")
            self._size, self._head = size + len(line), (entry.number, entry.signature)
            return entry
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _open(self) -> int:
        if self._file is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(self.path, flags, 0o600)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            with suppress(OSError):  # some file systems cannot; theirs are durable without
                os.fsync(folder)
            os.close(folder)
            self._size, self._synced, self._head = 0, 0, (0, "")
        return self._file

    def _checked_size(self, descriptor: int) -> int:
        """The file's size, if it still is the file that this process wrote to."""
        there, ours = self.path.stat(), os.fstat(descriptor)
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino) or there.st_size < self._size:
            raise OSError(116, "it was moved away or shortened while the CAS runs")
        return there.st_size

    def _catch_up(self, descriptor: int, size: int) -> int:
        """Take number and signature from the last line that others wrote; the size without an unfinished one."""
        entry = self._tail(descriptor, size)
        self._head = (entry.number, entry.signature) if entry else (0, "")
        return os.fstat(descriptor).st_size

    def _tail(self, descriptor: int, size: int) -> Entry | None:
        block = os.pread(descriptor, 2 * LONGEST_LINE, max(0, size - 2 * LONGEST_LINE))
        whole = block.rfind(b"\n") + 1
        if len(block) - whole >= LONGEST_LINE:
            raise self._damaged()
        if whole != len(block):
            # A writer was killed before its entry was complete: nothing that it announces has happened.
            os.ftruncate(descriptor, size - (len(block) - whole))
        if not whole:
            return None
        begin = block.rfind(b"\n", 0, whole - 1) + 1
        try:
            return read_line(block[begin:whole])
        except BadEntryError:
            raise self._damaged() from None

    def _damaged(self) -> SconeError:
        return SconeError(
            "the audit log does not end with an entry",
            where=str(self.path),
            fix="restore it from a backup; or keep it for inquiry, and start once with --no-audit-log to give it up",
        )

    def _sync(self, end: int) -> None:
        """Wait until everything before `end` is on disk. Who waits here is carried by the same write as the others."""
        with self._syncing:
            if self._synced >= end:
                return
            # Read before the write to disk begins: what comes later is not known to be in it.
            reached = self._size
            assert self._file is not None
            try:
                os.fdatasync(self._file)
            except OSError:
                # The kernel tells of a lost write once: what it says later about the same bytes is worth nothing.
                self._broken = True
                raise
            self._synced = max(self._synced, reached)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
