"""The files of one audit log: `audit.log`, which is written to, and those before it (docs/adr/022-audit-log-files.md).

At every moment of a rotation, `audit.log` is a whole log that can be gone on with.
"""

import errno
import fcntl
import mmap
import os
from contextlib import suppress
from pathlib import Path

from scone_cas.audit.entry import CHANGES, CONTINUED, FAILED, LONGEST_LINE, Entry, read_line

FILE = "audit.log"
NEXT = "audit.log.next"
"""The file that is about to become `audit.log`. One that a crash left is worth nothing."""
DEFAULT_SIZE = 16 * 1024 * 1024
SMALLEST_SIZE = 64 * 1024
"""Bytes that the file may grow to before the next one is begun."""
_ROTATED = "audit-*.log"
_MOST_NAMES = 1000
_CANNOT = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF})


def files_in(directory: Path) -> list[Path]:
    """The files of the log in a folder, the one that is written to last. One that has two names counts once."""
    found: dict[tuple[int, int], Path] = {}
    for path in (*sorted(directory.glob(_ROTATED)), directory / FILE):
        with suppress(FileNotFoundError):
            there = path.stat()
            found[there.st_dev, there.st_ino] = path
    return list(found.values())


def rotated_name(number: int, turn: int = 1) -> str:
    """The name of the file that begins with that entry: the names sort as the files follow each other."""
    return f"audit-{number:012d}.log" if turn == 1 else f"audit-{number:012d}-{turn}.log"


def rotate(directory: Path, first: int, line: bytes) -> int:
    """Give `audit.log`, whose first entry is number `first`, its other name, and put a file with `line` in its place.

    The new file, open and locked; the caller syncs the folder before it writes more. The caller holds the lock of the
    old one, all of which is on disk. Raises OSError; then the old file is still the one that is written to.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    path, following = directory / FILE, directory / NEXT
    following.unlink(missing_ok=True)
    descriptor = os.open(following, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _write(descriptor, line)
        os.fsync(descriptor)
        _name_too(path, first)
        # The other name is on disk before `audit.log` means another file: no order of writes loses the old one.
        sync_folder(directory)
        following.rename(path)
    except BaseException:
        os.close(descriptor)
        with suppress(OSError):
            following.unlink(missing_ok=True)
        raise
    return descriptor


def tidy(directory: Path) -> None:
    """Remove what a rotation that was cut off left: the file that was to come, and a second name of `audit.log`.

    Raises OSError. For the only process there is.
    """
    (directory / NEXT).unlink(missing_ok=True)
    path = directory / FILE
    if path.exists() and path.stat().st_nlink > 1:
        for other in directory.glob(_ROTATED):
            if other.samefile(path):
                other.unlink()


def sync_folder(directory: Path) -> None:
    """Bring names to disk. Raises OSError; some file systems cannot, and theirs are durable without."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    except OSError as problem:
        if problem.errno not in _CANNOT:
            raise
    finally:
        os.close(folder)


def first_entry(descriptor: int) -> Entry:
    """The first entry of a file. Raises BadEntryError."""
    block = os.pread(descriptor, LONGEST_LINE, 0)
    return read_line(block[: block.find(b"\n") + 1])


def pending_change(content: mmap.mmap) -> int | None:
    """The number of the newest change that a file announces, unless it says that it failed. Raises BadEntryError.

    At most one announced change has not happened, and it is the newest: no other one begins before it is stored or said
    to have failed.
    """
    change = max(filter(None, (_newest(content, event) for event in CHANGES)), key=_number, default=None)
    number = change.number if change is not None else carried_change(content)
    failure = _newest(content, FAILED)
    return None if failure is not None and failure.fields.get("of") == number else number


def carried_change(content: mmap.mmap) -> int | None:
    """What the file before ended with, as `pending_change` of it. Raises BadEntryError."""
    entry = read_line(content[: content.find(b"\n") + 1])
    pending = entry.fields.get("pending") if entry.event == CONTINUED else None
    return pending if isinstance(pending, int) else None


def _newest(content: mmap.mmap, event: str) -> Entry | None:
    """The newest entry with that event. A text that only looks like it, within another entry, is passed over."""
    words = b'"event":"%b"' % event.encode()
    place = content.rfind(words)
    while place >= 0:
        line = content.rfind(b"\n", 0, place) + 1
        entry = read_line(content[line : content.find(b"\n", place) + 1])
        if entry.event == event:
            return entry
        place = content.rfind(words, 0, line)
    return None


def _number(entry: Entry) -> int:
    return entry.number


def _write(descriptor: int, line: bytes) -> None:
    if os.write(descriptor, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _name_too(path: Path, first: int) -> None:
    """Another name for the file, which nothing has yet. Raises OSError."""
    for turn in range(1, _MOST_NAMES):
        other = path.with_name(rotated_name(first, turn))
        try:
            os.link(path, other, follow_symlinks=False)
        except FileExistsError:
            # From a rotation that was cut off; or else a file of a log that was given up.
            if not other.samefile(path):
                continue
        return
    raise OSError(errno.EEXIST, "too many files of other logs")
