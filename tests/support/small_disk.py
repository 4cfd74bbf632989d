"""A disk that is small, full, or broken: a memory file system of its own, and system calls that fail."""

import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BALLAST = "ballast"
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
SYSTEM_CALLS = {"pwrite64": 18, "fsync": 74, "fdatasync": 75, "ftruncate": 77}
"""Those of x86-64 by which a store or a log is written, beside `write`."""


@contextmanager
def small_disk(folder: Path, *, size: int = 8 * 1024 * 1024, inodes: int = 1000) -> Iterator[Path]:
    """A file system of so many bytes and files. Needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path, *, leave: int = 0) -> None:
    """Fill the disk but for so many bytes."""
    empty(folder)
    with (folder / _BALLAST).open("wb") as file:
        found = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_frsize - leave))


def empty(folder: Path) -> None:
    """Make room again."""
    (folder / _BALLAST).unlink(missing_ok=True)


def fail(call: str, number: int) -> None:
    """From now on a system call of this process fails with that error number. There is no way back."""
    libc = ctypes.CDLL(None, use_errno=True)
    steps = [
        (_LOAD, 0, 0, 0),
        (_EQUALS, 0, 1, SYSTEM_CALLS[call]),
        (_RETURN, 0, 0, _ERRNO | number),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.c_void_p(ctypes.addressof(program)), 0, 0) == 0
