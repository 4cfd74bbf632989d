"""The nearest of known words, for a next step. Time is bounded, whoever wrote the words."""

import difflib
import heapq
from collections.abc import Iterable
from itertools import takewhile

_COMPARED = 20
"""Words that are compared letter by letter; of more, those that begin most alike."""
_LONGEST = 128
"""Letters of a word that are compared."""


def nearest_word(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one, if one is."""
    several = list(known)
    if len(several) > _COMPARED:
        several = heapq.nlargest(_COMPARED, several, key=lambda other: _alike(other, word))
    near = difflib.get_close_matches(word[:_LONGEST], [other for other in several if len(other) <= _LONGEST], n=1)
    return near[0] if near else None


def _alike(one: str, other: str) -> int:
    """How many first letters they share."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one[:_LONGEST], other, strict=False)))
