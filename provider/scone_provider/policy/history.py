"""What happened to a policy at CAS since this stack last wrote it: each version, who wrote it, what it changed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from scone_policy.model.access import entry_map
from scone_policy.model.session import Session
from scone_provider.cas.client import CasClient
from scone_provider.cas.stored_session import StoredSession
from scone_provider.errors import TrustError
from scone_provider.policy.state import creator_key

LONGEST_WALK = 500
"""Versions that are fetched at most."""
_TOLD = 20
"""Versions, and changes of one version, that are told at most."""

Parse = Callable[[StoredSession], Session | None]
Differ = Callable[[Session, Session], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Versions from the newest back to the one that was known. `cut`: the walk ended before it got there."""

    versions: tuple[StoredSession, ...]
    cut: bool = False

    @property
    def newest(self) -> StoredSession:
        """What CAS has now."""
        return self.versions[0]

    @property
    def second(self) -> StoredSession | None:
        """The version right after the known one; None when there is none, or when the walk did not get there."""
        return None if self.cut or len(self.versions) < 2 else self.versions[-2]

    def after(self, known: str) -> "Walk":
        """The same walk from a later version on, which is then the known one."""
        hashes = [version.hash for version in self.versions]
        return Walk(versions=self.versions[: hashes.index(known) + 1]) if known in hashes else self


def walk(cas: CasClient, name: str, known: str, *, longest: int = LONGEST_WALK) -> Walk | None:
    """From what CAS has now back to the version with the hash `known`; None when CAS has nothing of that name.

    After `longest` versions CAS is asked for `known` itself, and the walk is cut. Raises TrustError when `known` is
    not in the history.
    """
    versions: list[StoredSession] = []
    for version in cas.history(name, until_hash=known):
        versions.append(version)
        if version.hash == known:
            return Walk(versions=tuple(versions))
        if len(versions) == longest and cas.read_version(name, known) is not None:
            return Walk(versions=tuple(versions), cut=True)
        if len(versions) == longest:
            break
    if not versions:
        return None
    raise TrustError(
        f"the version that this stack last wrote ({known}) is not in the history that {cas.url} shows: "
        "its store was rolled back or replaced",
        where=name,
        fix="do not trust this CAS with secrets until you know why",
    )


@dataclass(frozen=True, kw_only=True)
class Step:
    """One version that came after the known one. `changes`: a line each, without secret values."""

    hash: str
    author: str
    is_own: bool
    changes: tuple[str, ...]

    def __str__(self) -> str:
        return f"written by {self.author}: {'; '.join(self.changes)}"


@dataclass(frozen=True, kw_only=True)
class Since:
    """All that happened, oldest first; `left_out` counts older versions that are not told."""

    steps: tuple[Step, ...] = ()
    left_out: int = 0
    cut: bool = False
    is_back: bool = False

    @property
    def is_own(self) -> bool:
        """True when this stack's own key wrote every version: an `up` was cut off after an upload, say."""
        return not self.cut and not self.left_out and all(step.is_own for step in self.steps)

    @property
    def title(self) -> str:
        """What all of it is, in a line."""
        if self.is_own:
            return "this stack's own key wrote versions that its state does not have: was an earlier run cut off?"
        return "someone else changed this policy since this stack last wrote it"

    def note(self) -> dict[str, str]:
        """Version → who and what, for state; empty when nothing happened but by this stack's own key."""
        return {} if self.is_own else {step.hash: str(step) for step in self.steps}

    def __str__(self) -> str:
        lines = []
        if self.cut:
            lines.append("there are more versions than are looked at; the newest are:")
        elif self.left_out:
            lines.append(f"{self.left_out} older versions are not told; the newest are:")
        for step in self.steps:
            lines += [f"{step.hash}, written by {step.author}:", *(f"  {change}" for change in step.changes)]
        if self.is_back:
            lines.append("What it says now is what this stack wrote: it was changed back.")
        return "\n".join(f"    {line}" for line in lines)


def since(found: Walk, *, own_key: str, parse: Parse, differ: Differ, losses: Differ = lambda _, __: ()) -> Since:
    """Who changed what, version by version.

    `parse` gives None for a version that cannot be understood, `differ` what changed, without any secret, `losses`
    what CAS made anew or forgot with it.
    """

    def told_of(before: Session, after: Session) -> Sequence[str]:
        return [*(differ(before, after) or ["nothing changed"]), *losses(before, after)]

    chain = [*reversed(found.versions)]
    first_new = 0 if found.cut else 1
    told = range(max(first_new, len(chain) - _TOLD), len(chain))
    sessions = {number: parse(chain[number]) for number in {0, *range(max(0, told.start - 1), len(chain))}}
    return Since(
        steps=tuple(
            _step(sessions.get(number - 1), sessions[number], chain[number].hash, own_key, told_of) for number in told
        ),
        left_out=told.start - first_new,
        cut=found.cut,
        is_back=not found.cut and len(chain) > 1 and _is_same(sessions[0], sessions[len(chain) - 1], differ),
    )


def _is_same(first: Session | None, last: Session | None, differ: Differ) -> bool:
    return first is not None and last is not None and not differ(first, last)


def _step(before: Session | None, after: Session | None, session_hash: str, own_key: str, differ: Differ) -> Step:
    author = creator_key(after) if after is not None else None
    if after is None:
        changes = ["this version cannot be understood here"]
    elif before is None:
        changes = ["what it changed is not known: the version before it was not looked at or understood"]
    else:
        found = [*differ(before, after)]
        changes = found[:_TOLD]
        if len(found) > _TOLD:
            changes.append(f"… and {len(found) - _TOLD} more changes")
    return Step(
        hash=session_hash,
        author=_printable(f"{author} (this stack's own key)" if author == own_key else author or _who_may(before)),
        is_own=author == own_key,
        changes=tuple(_printable(change) for change in changes),
    )


def _who_may(before: Session | None) -> str:
    """CAS records the creator only where the access policy refers to CREATOR: then the rights say who it may be."""
    if before is None or before.access_policy.reference is not None:
        return "someone who is not recorded"
    return f"someone who is not recorded; allowed were: {', '.join(_names(before))}"


def _names(before: Session) -> Iterator[str]:
    for key, value in sorted(entry_map(before.access_policy.update).items()):
        yield key if value is True else f"{next(iter(value))} {key}" if isinstance(value, Mapping) else key


def _printable(text: str) -> str:
    """Text that someone else wrote, fit for a terminal."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
