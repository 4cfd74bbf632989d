"""Hides the variables of the mesh in a tree, so that a model that knows only values not known yet judges the rest."""

import re
from collections.abc import Callable, Mapping

from scone_policy.syntax.holes import Holes
from scone_provider.manifest.variables import MESH_NAME

_VARIABLE = re.compile(MESH_NAME)


class VariableMask:
    """Variables as holes, and back again."""

    def __init__(self) -> None:
        self._holes = Holes()
        self._hidden: dict[str, str] = {}

    def hide(self, tree: object) -> object:
        """The tree with a hole for each variable, in keys too."""
        return _texts(tree, lambda text: _VARIABLE.sub(self._punch, text))

    def show(self, tree: object) -> object:
        """What was hidden, back in its place."""
        return _texts(tree, self.shown)

    def shown(self, text: str) -> str:
        """The same for one text."""
        for token, original in self._hidden.items():
            text = text.replace(token, original)
        return text

    def _punch(self, match: re.Match[str]) -> str:
        token = self._holes.punch(match[0])
        self._hidden[token] = match[0]
        return token


def _texts(tree: object, change: Callable[[str], str]) -> object:
    if isinstance(tree, str):
        return change(tree)
    if isinstance(tree, Mapping):
        return {change(key) if isinstance(key, str) else key: _texts(value, change) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_texts(value, change) for value in tree]
    return tree
