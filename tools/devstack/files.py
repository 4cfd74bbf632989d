"""Writing files so that a reader sees the old or the new content and never half of one."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


def write(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Replace `path` by `content` in one step."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(mode)
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object, *, mode: int = 0o600) -> None:
    """Replace `path` by `value` as JSON with sorted keys."""
    write(path, json_text(value), mode=mode)


def json_text(value: object) -> str:
    """`value` as JSON with sorted keys, for people and programs."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds; None where there is none
    """The JSON in `path`, or None where it is missing or broken (a write of ours never breaks one)."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def digest(*parts: str | bytes) -> str:
    """SHA-256 over `parts`, each with its length, as 64 hex digits."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def digest_of(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 over names (relative to `root`) and contents of `files`, in whatever order they come."""
    return digest(*(part for file in sorted(files) for part in (str(file.relative_to(root)), file.read_bytes())))


def link(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`, in one step, whatever link it was."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.rename(path)


def publish(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` make a folder and put it in the place of `folder` only when it is whole.

    What an interrupted run left beside it (same name, ending in `.part`) is removed first, so only one process at a
    time may publish a folder: see `locked`.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)
    fill(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


@contextlib.contextmanager
def locked(path: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file `path`; `waiting` is called once where another living process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
