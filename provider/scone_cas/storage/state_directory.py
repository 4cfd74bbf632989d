"""The state directory: private, locked by one CAS at a time, with the key that seals the store."""

import fcntl
import os
from pathlib import Path
from typing import Protocol

from scone_cas.storage.sealing import KEY_SIZE, Sealer
from scone_policy.errors import SconeError

DATABASE = "cas.db"
CHALLENGES = "challenges.db"
SEAL_KEY = "seal.key"
WRAPPED_SEAL_KEY = "seal.wrapped"
LOCK = "lock"


class Wrapper(Protocol):
    """What wraps the key that seals a store: a key store."""

    def wrap(self, key: bytes) -> bytes:
        """The key, encrypted. Raises SconeError."""

    def unwrap(self, wrapped: bytes) -> bytes:
        """What `wrap` made. Raises SconeError."""


def prepare_directory(directory: Path) -> None:
    """Make the directory if it is missing, and private in any case. Raises SconeError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "no read and write permission")
    except OSError as problem:
        raise SconeError(
            f"the state directory cannot be used: {problem.strerror}",
            where=str(directory),
            fix="give another --state directory",
        ) from None


def make_private(path: Path) -> None:
    """Make an empty file that only its owner may read, unless it is there already."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def lock(directory: Path) -> int:
    """Lock the state for this process and the children that inherit the descriptor.

    Raises SconeError when it is locked. The lock dies with the last holder, however it dies.
    """
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise SconeError(f"the state cannot be locked: {problem.strerror}", where=str(directory)) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise SconeError(
            "another CAS runs on this state",
            where=str(directory),
            fix="stop it first, or give another --state directory",
        ) from None
    return descriptor


def first_seal_key(directory: Path) -> Sealer:
    """The sealer of this state; its key is made when there is neither a key nor a store. Raises SconeError."""
    path = directory / SEAL_KEY
    if not path.exists():
        if (directory / WRAPPED_SEAL_KEY).exists():
            raise SconeError(
                "this state is sealed by a key store, and none is configured with a sealing_key",
                where=str(directory / WRAPPED_SEAL_KEY),
                fix="start the CAS with the --config of that key store",
            )
        if (directory / DATABASE).exists():
            raise SconeError(
                "seal.key is missing: without it nothing that this CAS has stored can be read again",
                where=str(path),
                fix="restore seal.key from a backup, or remove the directory to start with an empty CAS",
            )
        _write_new(path, os.urandom(KEY_SIZE))
    return seal_key(directory)


def wrapped_seal_key(directory: Path, wrapper: Wrapper, *, new: bytes) -> bytes:
    """The key of a state that a key store seals; it is `new` when there is no store yet. Raises SconeError."""
    path = directory / WRAPPED_SEAL_KEY
    if (directory / SEAL_KEY).exists():
        raise SconeError(
            "this state is sealed under seal.key, which lies beside it in clear: no key store can make up for that",
            where=str(directory / SEAL_KEY),
            fix="start with an empty --state directory, or without sealing_key",
        )
    try:
        if path.exists():
            return wrapper.unwrap(path.read_bytes())
        if (directory / DATABASE).exists():
            raise SconeError(
                "seal.wrapped is missing: without it nothing that this CAS has stored can be read again",
                where=str(path),
                fix="restore it from a backup, or remove the directory to start with an empty CAS",
            )
        wrapped = wrapper.wrap(new)
        if wrapper.unwrap(wrapped) != new:
            raise SconeError("the sealing key does not open what it has sealed", where=str(path))
        _write_new(path, wrapped)
    except OSError as problem:
        raise SconeError(f"seal.wrapped cannot be used: {problem.strerror}", where=str(path)) from None
    return new


def seal_key(directory: Path) -> Sealer:
    """The sealer of a state that has a key. Raises SconeError when it is missing, unreadable or not a key."""
    path = directory / SEAL_KEY
    try:
        key = path.read_bytes()
    except OSError as problem:
        raise SconeError(f"seal.key cannot be read: {problem.strerror}", where=str(path)) from None
    if len(key) != KEY_SIZE:
        raise SconeError(
            "seal.key is damaged: it does not have 32 bytes", where=str(path), fix="restore it from a backup"
        )
    return Sealer(key)


def _write_new(path: Path, content: bytes) -> None:
    """Complete or not at all, and on disk before anything is sealed under it; never over an existing key."""
    new = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
        os.link(new, path)
    finally:
        os.close(descriptor)
        new.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
