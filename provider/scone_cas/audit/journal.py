"""What the CAS tells of what it does, whether that is recorded or not."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from scone_cas.audit.entry import Entry


class Waiting:
    """What must be on disk before an answer may be sent: everything in the log before `end`.

    Such places are bytes that this process counts on over all files of the log.
    """

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
