"""Notices that a whole state was put back to an older one: a counter in a place of its own (ADR 021).

Each change of the store makes a *generation*: a number and a random mark, kept with it in the same transaction. After
the commit, and before the change is answered, the newest one is written to the counter. A state is as new as the
counter when it remembers the generation that the counter names; one that was restored, or went another way, does not.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from scone_cas.storage.database import Store
from scone_policy.errors import SconeError

_HISTORY = "generations"
_PLACE = "rollback counter"
_REMEMBERED = 64
"""Generations: no more can be under way, because no change begins while the counter is behind."""
_LARGEST = 4096


class RollbackCounterError(SconeError):
    """The counter cannot be read or raised."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A state of one CAS: how many changes it has seen, and which they were."""

    cas: str
    number: int
    mark: str


class FileCounter:
    """A counter in a file, on another disk than the state. Safe for processes; never goes back."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Generation | None:
        """What it says; None when there is none yet. Raises RollbackCounterError."""
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(_LARGEST))
            return Generation(cas=str(found["cas"]), number=int(found["number"]), mark=str(found["mark"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise self._failed("read", problem) from None

    def raise_to(self, wanted: Generation, *, anyhow: bool = False) -> None:
        """On disk when this returns. Does nothing where it is as far, unless `anyhow`. Raises RollbackCounterError."""
        try:
            with self._turn():
                found = self.read()
                if not anyhow and found is not None and found.number >= wanted.number:
                    return
                new = self._path.with_name(f"{self._path.name}.new")
                descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(json.dumps(asdict(wanted)).encode())
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(self._path)
                folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError as problem:
            raise self._failed("raised", problem) from None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        gate = os.open(self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield
        finally:
            os.close(gate)

    def _failed(self, what: str, problem: BaseException) -> RollbackCounterError:
        reason = problem.strerror if isinstance(problem, OSError) else "it is damaged"
        return RollbackCounterError(
            f"the rollback counter cannot be {what}: {reason}",
            where=str(self._path),
            fix="look at its disk; if it is lost for good, check the policies and start once with --accept-rollback",
        )


class RollbackGuard:
    """Keeps a store and its counter together."""

    def __init__(self, store: Store, counter: FileCounter, cas: str) -> None:
        self._store, self._counter, self._cas = store, counter, cas

    def advance(self) -> None:
        """Make a new generation; inside the transaction of the change."""
        history = self._history()
        number = history[-1][0] + 1 if history else 1
        self._keep([*history, (number, secrets.token_hex(16))])

    def publish(self) -> None:
        """Bring the counter up to the store. Raises RollbackCounterError."""
        history = self._history()
        if history:
            self._counter.raise_to(self._generation(*history[-1]))

    def begin(self, *, is_known: bool, accept: bool) -> bool:
        """Compare at a start, then go on one. True when an older state was accepted. Raises SconeError."""
        found = None
        try:
            found = self._counter.read()
        except RollbackCounterError:
            if not accept:
                raise
        if found is not None and found.cas != self._cas:
            raise SconeError(
                f"the rollback counter is that of another CAS, {found.cas}",
                fix="give this CAS a --rollback-counter of its own",
            )
        problem = self._problem(found, is_known=is_known)
        if problem is not None and not accept:
            raise SconeError(
                problem,
                fix="restore the newest state; if there is none, check every policy for what was revoked since, and "
                "start once with --accept-rollback",
            )
        with self._store.writing():
            history = self._history()
            newest = max(history[-1][0] if history else 0, found.number if found else 0)
            self._keep([*history, (newest + 1, secrets.token_hex(16))])
        self._counter.raise_to(self._generation(*self._history()[-1]), anyhow=accept)
        return problem is not None

    def _problem(self, found: Generation | None, *, is_known: bool) -> str | None:
        if found is None:
            return "the rollback counter of this state is gone" if is_known else None
        history = self._history()
        if (found.number, found.mark) in history:
            return None
        number = history[-1][0] if history else 0
        return (
            f"the state is not the one that the rollback counter knows: it is at change {number}, the counter at "
            f"{found.number}; an older state was restored"
        )

    def _history(self) -> list[tuple[int, str]]:
        if not self._store.keeps(_HISTORY):
            return []
        return [(int(number), str(mark)) for number, mark in json.loads(self._store.kept(_HISTORY))]

    def _keep(self, history: list[tuple[int, str]]) -> None:
        self._store.keep(_HISTORY, json.dumps(history[-_REMEMBERED:]).encode())

    def _generation(self, number: int, mark: str) -> Generation:
        return Generation(cas=self._cas, number=number, mark=mark)


def begin(store: Store, place: Path | None, cas: str, *, accept: bool) -> bool:
    """What a start does about rollback. True when an older state was accepted. Raises SconeError."""
    is_known = store.keeps(_PLACE)
    if place is None:
        if is_known and not accept:
            raise SconeError(
                "this state is guarded by a rollback counter, and none was given",
                where=store.kept(_PLACE).decode(),
                fix="start with --rollback-counter; or give it up with --accept-rollback",
            )
        with store.writing():
            store.forget(_PLACE)
        return False
    accepted = RollbackGuard(store, FileCounter(place), cas).begin(is_known=is_known, accept=accept)
    with store.writing():
        store.keep(_PLACE, str(place.absolute()).encode())
    return accepted


def guard_of(store: Store, cas: str) -> RollbackGuard | None:
    """The guard of a state that has begun, where it has one."""
    if not store.keeps(_PLACE):
        return None
    return RollbackGuard(store, FileCounter(Path(store.kept(_PLACE).decode())), cas)
