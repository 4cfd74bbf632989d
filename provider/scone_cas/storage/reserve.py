"""Room on the disk that a CAS needs to start, to read and to refuse: kept free while others fill it.

Three levels. Above three units of free space everything is served. Below that nothing is uploaded; below two units
nothing that makes an entry of an attestation or a tag either: only what is read still makes one. And a file of one unit
is kept beside the store: a CAS that starts on a full disk gives it back, for what the start and reads write.
"""

import os
from contextlib import suppress
from pathlib import Path

from scone_cas.storage.failures import StorageError

FILE = "reserve"
LARGEST_UNIT = 4 * 1024 * 1024
SMALLEST_UNIT = 256 * 1024
"""Bytes: more than two starts write."""
_SHARE = 16
"""A unit is at most that part of a small disk."""
UPLOADS = 3
OTHERS = 2
"""Units that must be free."""


class Reserve:
    """The free space of a state directory's disk. Safe for threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def require(self, units: int) -> None:
        """Raises StorageError when less than that is free."""
        free, unit = self._free()
        if free < units * unit:
            raise StorageError(
                f"the CAS's disk is nearly full: {free // 1024} KiB are left, which it needs to go on reading",
                is_full=True,
                where=str(self._directory),
            )

    def release(self) -> None:
        """Give the file back when little is free: a start has to write. Raises nothing."""
        free, unit = self._free()
        if free < unit:
            with suppress(OSError):
                (self._directory / FILE).unlink(missing_ok=True)

    def fill(self) -> None:
        """Make the file, where there is room for it and all the rest. Raises nothing: a full disk is no reason."""
        free, unit = self._free()
        path = self._directory / FILE
        with suppress(OSError):
            there = path.stat().st_size if path.exists() else 0
            if there < unit and free >= (UPLOADS + 1) * unit:
                _allocate(path, unit)

    def _free(self) -> tuple[int, int]:
        """Free bytes, and those of a unit. A disk that cannot be looked at counts as free: writing tells."""
        try:
            found = os.statvfs(self._directory)
        except OSError:
            return LARGEST_UNIT * (UPLOADS + 1), LARGEST_UNIT
        unit = max(SMALLEST_UNIT, min(LARGEST_UNIT, found.f_blocks * found.f_frsize // _SHARE))
        # No inodes: no file could be made, which is as good as full. Some file systems count none.
        free = found.f_bavail * found.f_frsize if found.f_favail or not found.f_files else 0
        return free, unit


def _allocate(path: Path, size: int) -> None:
    """A file whose blocks are its own. Raises OSError, and leaves none then."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
