"""Writes the audit log: an entry is signed, chained to the one before, and on disk before `record` returns.

Several processes and threads append to the one file (docs/audit-log.md, "Write-ahead").
"""

import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scone_cas import VERSION, log
from scone_cas.audit import rotation
from scone_cas.audit.entry import (
    CONTINUED,
    ENTRY_CONTEXT,
    LONGEST_LINE,
    STARTED,
    BadEntryError,
    Entry,
    decode,
    read_line,
    write_line,
)
from scone_cas.audit.journal import Waiting
from scone_cas.storage.failures import StorageError, storage_error
from scone_policy.errors import SconeError

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_RETRY_SIZE = 64 * 1024
"""Bytes that are written before a rotation that failed is tried again."""


class AuditLog:
    """The log of one state directory. Safe for threads; each process needs one of its own, made anew after a fork."""

    def __init__(
        self,
        directory: Path,
        key: Ed25519PrivateKey,
        *,
        clock: Callable[[], datetime],
        link: Mapping[str, object],
        size: int = rotation.DEFAULT_SIZE,
        create: bool = False,
    ) -> None:
        """`link`: the fields that link the key to the CAS's identity; `size`, in bytes, when the next file is begun.

        `create`: make the file where there is none.
        """
        self.path = directory / rotation.FILE
        self._key = key
        self._clock = clock
        self._link, self._limit, self._create = link, size, create
        self._rotate_from = size
        self._before = 0
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
                end = self._end
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
            self._sync(self._end)
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

    def record_start(self) -> Entry:
        """Append the event that links the audit key to the CAS's identity. Raises SconeError."""
        return self.record(STARTED, version=VERSION, **self._link)

    def last(self) -> Entry | None:
        """The newest entry, after an unfinished one was removed; None when there is none. Raises SconeError."""
        with self._appending, self._locked() as descriptor:
            return self._tail(descriptor, os.fstat(descriptor).st_size)

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

    @property
    def _end(self) -> int:
        return self._before + self._size

    def _append(self, event: str, fields: Mapping[str, object]) -> Entry:
        if self._broken:
            raise OSError(5, "an earlier entry did not reach the disk")
        with self._locked() as descriptor:
            size = self._checked_size(descriptor)
            if size != self._size:
                size = self._catch_up(descriptor, size)
            entry, line = self._line(event, fields)
            if size and size + len(line) > self._rotate_from and self._rotated(descriptor, size):
                size = self._size
                entry, line = self._line(event, fields)
            if os.write(self._descriptor(), line) != len(line):
                os.ftruncate(self._descriptor(), size)
                raise OSError(28, "no space left")
            self._size, self._head = size + len(line), (entry.number, entry.signature)
            return entry

    def _line(self, event: str, fields: Mapping[str, object]) -> tuple[Entry, bytes]:
        number, previous = self._head
        return write_line(
            self._key, number=number + 1, time=self._clock(), event=event, fields=fields, previous=previous
        )

    def _rotated(self, descriptor: int, size: int) -> bool:
        """Begin the next file; False when that cannot be done: then the file that is there is gone on with."""
        with self._syncing:
            self._to_disk(descriptor)
            try:
                first = rotation.first_entry(descriptor).number
                with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as content:
                    pending = rotation.pending_change(content)
                entry, line = self._line(CONTINUED, {**self._link, "pending": pending})
                following = rotation.rotate(self.path.parent, first, line)
            except (OSError, ValueError, BadEntryError) as problem:
                # No reason to refuse anybody: the entry itself may still find room.
                self._rotate_from = size + _RETRY_SIZE
                log.event("audit-log-not-rotated", reason=str(problem))
                return False
            # Whoever waits for the lock of the old file finds that it is not `audit.log` any more.
            self._switch(following)
            self._size, self._head = len(line), (entry.number, entry.signature)
            self._synced = self._end
            try:
                rotation.sync_folder(self.path.parent)
            except OSError:
                self._broken = True
                raise
        return True

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file that is written to, locked: by everybody in turn, and never one that was rotated away."""
        self._open()
        while True:
            descriptor = self._descriptor()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                following = self._following(descriptor)
                if following is None:
                    yield descriptor
                    return
            finally:
                # A rotation meanwhile closed the old one, which unlocked it.
                fcntl.flock(self._descriptor(), fcntl.LOCK_UN)
            with self._syncing:
                self._switch(following)

    def _following(self, descriptor: int) -> int | None:
        """The file that another process put in the place of this one, open; None when it is still in its place."""
        there, ours = self.path.stat(), os.fstat(descriptor)
        if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
            return None
        following = os.open(self.path, _FLAGS)
        if not self._goes_on(following, self._tail(descriptor, ours.st_size)):
            os.close(following)
            raise OSError(116, "it was replaced while the CAS runs")
        return following

    def _goes_on(self, following: int, old: Entry | None) -> bool:
        """Whether a file is ours and continues that entry. Several rotations later it need not be the next one."""
        try:
            first = rotation.first_entry(following)
            if old is None or first.number <= old.number or not self.signed(first):
                return False
        except BadEntryError:
            return False
        return first.number > old.number + 1 or first.previous == old.signature

    def _switch(self, following: int) -> None:
        """Write to another file from now on. What is in the old one is on disk: that comes before a rotation."""
        os.close(self._descriptor())
        self._before = self._synced = self._end
        self._file, self._size, self._head = following, 0, (0, "")
        self._rotate_from = self._limit

    def _open(self) -> None:
        if self._file is None:
            self._file = os.open(self.path, _FLAGS | (os.O_CREAT if self._create else 0), 0o600)
            rotation.sync_folder(self.path.parent)
            self._before, self._size, self._synced, self._head = 0, 0, 0, (0, "")

    def _descriptor(self) -> int:
        assert self._file is not None
        return self._file

    def _checked_size(self, descriptor: int) -> int:
        """The file's size, if it is not shorter than what this process wrote."""
        size = os.fstat(descriptor).st_size
        if size < self._size:
            raise OSError(116, "it was shortened while the CAS runs")
        return size

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
            reached = self._end
            self._to_disk(self._descriptor())
            self._synced = max(self._synced, reached)

    def _to_disk(self, descriptor: int) -> None:
        try:
            os.fdatasync(descriptor)
        except OSError:
            # The kernel tells of a lost write once: what it says later about the same bytes is worth nothing.
            self._broken = True
            raise
