"""The nearest of known words, for a next step. Time is bounded, whoever wrote the words."""

import difflib
import heapq
from collections.abc import Iterable
from itertools import takewhile

_COMPARED = 20
"""Words that are compared letter by letter; of more, those that begin most alike."""
_LONGEST = 128
"""Letters of a word that are compared."""


def nearest_word(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that is most like this one, upper or lower case, if one is by `cutoff` (0 to 1)."""
    asked = word[:_LONGEST].lower()
    several = [(other.lower(), other) for other in dict.fromkeys(known) if len(other) <= _LONGEST]
    if len(several) > _COMPARED:
        several = heapq.nlargest(_COMPARED, several, key=lambda pair: _alike(pair[0], asked))
    spelt: dict[str, str] = {}
    for lower, other in several:
        # Of words that differ in case alone, the one that was written.
        if lower not in spelt or other == word:
            spelt[lower] = other
    near = difflib.get_close_matches(asked, spelt, n=1, cutoff=cutoff)
    return spelt[near[0]] if near else None


def _alike(one: str, other: str) -> int:
    """How many first letters they share."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one[:_LONGEST], other, strict=False)))
