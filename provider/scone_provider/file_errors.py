"""What the operating system says about a file, as an error of ours: what cannot be done, to which path, what to do."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scone_provider.errors import SconeError

_FIXES = {
    errno.ELOOP: "remove the link that leads back to where it comes from",
    errno.ENAMETOOLONG: "use a shorter name, or a folder nearer to the root",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file",
    errno.EACCES: "give the user who runs this the right to it",
    errno.EPERM: "give the user who runs this the right to it",
    errno.EROFS: "use a folder that can be written to",
    errno.ENOSPC: "make room on that file system",
    errno.EDQUOT: "make room on that file system, or have the quota raised",
    errno.EFBIG: "make the file smaller",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs, or raise the system's limit of open files",
    errno.ESTALE: "mount the network file system again",
    errno.EIO: "check the disk or network file system that it lies on",
    errno.EBUSY: "stop the program that uses it",
    errno.EEXIST: "move away what stands there",
    errno.ENOTEMPTY: "move away what stands there",
}
_LOOP = "Symlink loop"  # how pathlib begins a RuntimeError, up to Python 3.12


def file_reason(problem: Exception) -> str:
    """Why it failed, in a few words."""
    if isinstance(problem, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(problem, UnicodeEncodeError):
        return "its name is not UTF-8"
    if isinstance(problem, OSError):
        return problem.strerror or type(problem).__name__
    return os.strerror(errno.ELOOP) if _is_loop(problem) else "this is no path"


def file_problem(
    problem: Exception, what: str, *, where: object, fix: str = "", kind: type[SconeError] = SconeError
) -> SconeError:
    """The error of ours for one of the operating system: "`what`: reason", with the path that it is about."""
    number = errno.ELOOP if _is_loop(problem) else getattr(problem, "errno", None)
    named = getattr(problem, "filename", None)
    about = shown(named) if isinstance(named, str | bytes | Path) else ""
    inside = f" ({about})" if about and about not in str(where) else ""
    return kind(f"{what}: {file_reason(problem)}{inside}", where=shown(where), fix=fix or _FIXES.get(number or 0, ""))


@contextmanager
def file_errors(what: str, *, where: object, fix: str = "", kind: type[SconeError] = SconeError) -> Iterator[None]:
    """Raise `kind` for whatever the operating system refuses within; nothing but work with files may stand there."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as problem:
        about_a_path = isinstance(problem, OSError | UnicodeError) or "null byte" in str(problem) or _is_loop(problem)
        if not about_a_path:
            raise
        raise file_problem(problem, what, where=where, fix=fix, kind=kind) from None


def resolved(path: Path, *, where: object = "", kind: type[SconeError] = SconeError) -> Path:
    """The path without links. Raises `kind` where they lead in a circle."""
    with file_errors(f"the path {shown(path)} leads nowhere", where=where or path, kind=kind):
        return path.resolve()


def shown(path: object) -> str:
    """A path for people: bytes that are no UTF-8 as escapes."""
    text = os.fsdecode(path) if isinstance(path, bytes) else str(path)
    return text.encode("utf-8", "backslashreplace").decode()


def _is_loop(problem: Exception) -> bool:
    return isinstance(problem, RuntimeError) and str(problem).startswith(_LOOP)
