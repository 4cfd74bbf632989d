"""What it means when the disk does not take or give what it should: words for whoever asked, and whether room helps."""

import errno
import sqlite3

from scone_policy.errors import SconeError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SQLITE_DISK = {
    sqlite3.SQLITE_IOERR: "it reports an error",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "a file cannot be opened",
}


class StorageError(SconeError):
    """The disk of the state fails. `is_full`: it only lacks room (or the quota is used up), else it is broken."""

    def __init__(self, what: str, *, is_full: bool, where: str = "") -> None:
        fix = "make room on the disk of the state directory" if is_full else "look at the disk of the state directory"
        super().__init__(what, where=where, fix=f"{fix}; what was stored before is not touched")
        self.is_full = is_full


def storage_error(problem: BaseException, *, where: str = "") -> StorageError | None:
    """What an exception says about the disk; None when it says nothing."""
    if isinstance(problem, StorageError):
        return problem
    if isinstance(problem, sqlite3.OperationalError):
        extended = getattr(problem, "sqlite_errorcode", 0)
        code = extended & 0xFF
        # The shared memory of the log is a file too: what it says when that cannot grow is no error of the disk.
        if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
            return StorageError("the CAS cannot write: the disk is full", is_full=True, where=where)
        if code in _SQLITE_DISK:
            return StorageError(f"the CAS cannot use its disk: {_SQLITE_DISK[code]}", is_full=False, where=where)
    if isinstance(problem, OSError) and problem.errno is not None:
        if problem.errno in _NO_ROOM:
            return StorageError("the CAS cannot write: the disk is full", is_full=True, where=where)
        return StorageError(f"the CAS cannot use its disk: {problem.strerror}", is_full=False, where=where)
    return None
