"""Whether another list of access entries lets in more or fewer people than the one before, and how to say it."""

from collections.abc import Mapping
from typing import Any

from scone_policy.diff.change import Trust
from scone_policy.model.access import ALL, ANY, AT_LEAST, NONE, SIGNER

Map = Mapping[str, Any]
Verdict = tuple[Trust, str]

_MOST_NAMED = 12
"""Governance rules over more entries are not tried out: every set of them would be."""


def judge(before: Map, after: Map, who: str) -> Verdict:
    """The direction of trust, and a sentence. Entries are in canonical form; `who`: `may read the policy`."""
    new = names(after)
    if ANY in after or NONE in before:
        return Trust.WIDENS, f"everyone {who}" if ANY in after else f"{new} {who}"
    if ANY in before or NONE in after:
        return Trust.NARROWS, f"nobody {who}" if NONE in after else f"only {new} {who}"
    if before.items() <= after.items():
        return Trust.WIDENS, f"{names(_without(after, before))} {who} too"
    if after.items() <= before.items():
        return Trust.NARROWS, f"{names(_without(before, after))} no longer {who}"
    return _reworded(before, after, f"{new} {who}")


def _reworded(before: Map, after: Map, meaning: str) -> Verdict:
    """Rules and entries that are not simply more or fewer: judged by whom they let in."""
    keeps, adds = _implies(before, after), not _implies(after, before)
    if keeps and adds:
        return Trust.WIDENS, f"{meaning}: fewer need to agree"
    if not keeps and not adds:
        return Trust.NARROWS, f"only {meaning}: more need to agree"
    return Trust.CHANGES, meaning if adds else f"{meaning}: the same as before, in other words"


def _implies(weaker: Map, stronger: Map) -> bool:
    """True when whoever the first entries let in is let in by the second, tried with every set of those named."""
    named = sorted({*_named(weaker), *_named(stronger)})
    if len(named) > _MOST_NAMED:
        return False
    present = ({name for bit, name in enumerate(named) if number >> bit & 1} for number in range(1 << len(named)))
    return all(_let_in(stronger, each) for each in present if _let_in(weaker, each))


def _let_in(entries: Map, present: set[str]) -> bool:
    return _agreeing(entries, present) > 0


def _agreeing(entries: Map, present: set[str]) -> int:
    """How many of the entries agree when these are there."""
    found = 0
    for key, value in entries.items():
        rule = _rule(value)
        if rule is None:
            found += key in present
        else:
            least, inner = rule
            found += _agreeing(inner, present) >= (len(inner) if least is None else least)
    return found


def _named(entries: Map) -> set[str]:
    """The keys of all entries that are no rules, deep."""
    found = set()
    for key, value in entries.items():
        rule = _rule(value)
        found |= {key} if rule is None else _named(rule[1])
    return found


def _rule(entry: object) -> tuple[int | None, Map] | None:
    """How many must agree (None for all) and of which entries, where an entry is a rule."""
    if not isinstance(entry, Mapping):
        return None
    ((word, inner),) = entry.items()
    if word == SIGNER:
        return None
    return (None if word == ALL else int(word.removeprefix(AT_LEAST))), inner


def _without(entries: Map, others: Map) -> Map:
    return {key: value for key, value in entries.items() if key not in others}


def names(entries: Map) -> str:
    """Entries as people read them; certificates and signers by the short digest that state shows, too."""
    return ", ".join(_name(key, value) for key, value in sorted(entries.items()))


def _name(key: str, value: object) -> str:
    if isinstance(value, Mapping):
        ((word, inner),) = value.items()
        if isinstance(inner, Mapping):
            return f"{word} of ({names(inner)})"
        return f"{word} {inner if inner.startswith('$$') else key}"
    return f"certificate {key}" if isinstance(value, str) and value.startswith("-----") else key
