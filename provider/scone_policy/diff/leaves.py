"""Maps, sets and leaves of two canonical forms compared, with a verdict on what differs; knows no section."""

from collections.abc import Callable, Mapping
from typing import Any

from scone_policy.diff.change import SECRET, Change, Trust
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.yaml_source import show

Map = Mapping[str, Any]
Path = tuple[str, ...]
Verdict = tuple[Trust, str]
Judge = Callable[[Path, Any, Any], list[Change]]
EMPTY: Map = {}


class Hidden(str):
    """A secret on its way through the comparison: it equals itself, and is shown as a secret."""

    __slots__ = ()


def _shown(value: object) -> object:
    if isinstance(value, Hidden):
        return str(value) if has_hole(value) else SECRET
    if isinstance(value, Mapping):
        return {key: _shown(item) for key, item in value.items()}
    return value


def change_at(path: Path, before: object, after: object, verdict: Verdict) -> list[Change]:
    """The one change at a path, with secrets hidden; none where both sides are the same."""
    if before == after:
        return []
    trust, meaning = verdict
    return [Change(path=show(path), before=_shown(before), after=_shown(after), trust=trust, meaning=meaning)]


def leaves(path: Path, before: Any, after: Any) -> list[Change]:  # noqa: ANN401
    """Every differing leaf below a path, with no more to say than that it differs."""
    if not isinstance(before, Mapping) and not isinstance(after, Mapping):
        return change_at(path, before, after, (Trust.CHANGES, event(before, after)))
    if not all(isinstance(side, Mapping) or side is None for side in (before, after)) or not (before or after):
        return change_at(path, before, after, (Trust.CHANGES, event(before, after)))
    left, right = before or EMPTY, after or EMPTY
    found = [
        change for key in sorted({*left, *right}) for change in leaves((*path, key), left.get(key), right.get(key))
    ]
    return found or change_at(path, before, after, (Trust.CHANGES, event(before, after)))


def event(before: object, after: object) -> str:
    """In one word what happened to what was, or is, there."""
    return "added" if before is None else "removed" if after is None else "replaced"


def entries_of(judge: Judge, words: tuple[str, str]) -> Judge:
    """Entries by name: one that came or went is one change, one that stayed is looked into."""
    added, removed = words

    def entries(path: Path, before: Map, after: Map) -> list[Change]:
        found: list[Change] = []
        for name in sorted({*before, *after}):
            here = (*path, name)
            old, new = before.get(name), after.get(name)
            if old is None:
                trust = Trust.WIDENS if path[0] == "services" else Trust.CHANGES
                found += change_at(here, None, new, (trust, added))
            elif new is None:
                trust = Trust.NARROWS if path[0] == "services" else Trust.CHANGES
                found += change_at(here, old, None, (trust, removed))
            else:
                found += judge(here, old, new)
        return found

    return entries


def limit(path: Path, before: Map | None, after: Map | None, words: str, what: str) -> list[Change]:
    """A set that is no limit while it is empty: its first member narrows, its last one that goes widens."""
    if before and after:
        return members_of(path, before, after, words)
    if before:
        return change_at(path, before, after, (Trust.WIDENS, f"any {what} is trusted"))
    return change_at(path, before, after, (Trust.NARROWS, f"only these {what}s are trusted from now on"))


def by_key(path: Path, before: Map, after: Map, verdict: Callable[[str, Any, Any], Verdict]) -> list[Change]:
    """Each key judged on its own."""
    found: list[Change] = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        found += change_at((*path, key), old, new, verdict(key, old, new))
    return found


def demanded(before: object, after: object, what: str) -> Verdict:
    """Something that is demanded when it is there."""
    if before is None:
        return Trust.NARROWS, f"{what} is demanded from now on"
    if after is None:
        return Trust.WIDENS, f"{what} is no longer demanded"
    return Trust.CHANGES, f"{what} in another way"


def members_of(path: Path, before: Map, after: Map, words: str) -> list[Change]:
    """Members of a set, one change each: more of them widens, fewer narrows."""
    found: list[Change] = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        verdict = (Trust.CHANGES, f"{key} {words} in another way")
        if old is None:
            verdict = (Trust.WIDENS, f"{key} {words}")
        elif new is None:
            verdict = (Trust.NARROWS, f"{key} no longer {words}")
        found += change_at((*path, key), old, new, verdict)
    return found
