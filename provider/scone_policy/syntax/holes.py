"""Values that are not known yet, carried through models, templates and derivation as tokens.

A *hole* is a string token that no valid document can contain (it holds NUL). Models accept a hole wherever a scalar may
stand and skip the checks of its format; afterwards `fill` puts the real thing, or Pulumi's `Unknown`, back.
The one table of what the tokens stand for is kept by `Holes`, so that a token means nothing outside of it.
"""

import re
from collections.abc import Callable, Mapping, Sequence

PATTERN = "\x00hole:[0-9]+\x00"
"""Pattern of a token, for those that allow one inside of a longer text."""
_TOKEN = re.compile(PATTERN)


def is_hole(value: object) -> bool:
    """True when the string is one token and nothing else."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def has_hole(value: object) -> bool:
    """True when a token stands anywhere in the value: a string, or deep in maps (keys too) and lists."""
    if isinstance(value, str):
        return _TOKEN.search(value) is not None
    if isinstance(value, Mapping):
        return any(has_hole(k) or has_hole(v) for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return any(has_hole(v) for v in value)
    return False


def shown(text: str) -> str:
    """The text for people: `…` for each token in it."""
    return _TOKEN.sub("…", text)


Later = Callable[[str, Callable[[str], object]], str]
"""Gives a token for what a function makes of a text with tokens, when the text is known."""


def at_once(text: str, function: Callable[[str], object]) -> str:
    """The `Later` of a program in which everything is known: what is not, is shown as it is."""
    return text if has_hole(text) else str(function(text))


class Holes:
    """The table of what the tokens of one document stand for."""

    def __init__(self) -> None:
        self._values: dict[str, object] = {}

    def punch(self, value: object) -> str:
        """A new token that stands for `value`."""
        token = f"\x00hole:{len(self._values)}\x00"
        self._values[token] = value
        return token

    def put(self, token: str, value: object) -> None:
        """Let a token that was punched before its value existed stand for `value`."""
        self._values[token] = value

    def fill(self, tree: object, join: Callable[[list[object]], object]) -> object:
        """`tree` with every token replaced by what it stands for.

        A string that is one token becomes the value itself. A string with text around tokens becomes
        `join([text, value, text, …])`.
        """
        if isinstance(tree, str):
            return self._fill_text(tree, join)
        if isinstance(tree, Mapping):
            return {key: self.fill(value, join) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            return [self.fill(value, join) for value in tree]
        return tree

    def _fill_text(self, text: str, join: Callable[[list[object]], object]) -> object:
        if text in self._values:
            return self._values[text]
        parts: list[object] = []
        end = 0
        for match in _TOKEN.finditer(text):
            if match.group() not in self._values:
                continue
            parts += [text[end : match.start()], self._values[match.group()]]
            end = match.end()
        if not parts:
            return text
        return join([part for part in [*parts, text[end:]] if part != ""])
