"""Outputs among plain values: carried through manifests and derivation as holes, put back into single fields.

So only the field that depends on what is not known yet is unknown in a preview, never the policy around it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pulumi

from scone_policy.errors import SconeError
from scone_policy.holes import Holes


class Values:
    """The Outputs of one component, each under its hole."""

    def __init__(self) -> None:
        self._holes = Holes()

    def hide(self, tree: Any) -> Any:  # noqa: ANN401  any JSON-like tree with Outputs in it
        """`tree` with every Output replaced by a hole."""
        if isinstance(tree, pulumi.Output):
            return self._holes.punch(tree)
        if isinstance(tree, Mapping):
            return {key: self.hide(value) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            return [self.hide(value) for value in tree]
        return tree

    def later(self, text: str, function: Callable[[str], str]) -> str:
        """A hole for `function` of a text with holes in it."""
        return self._holes.punch(pulumi.Output.from_input(self.show(text)).apply(function))

    def outputs(self, text: str) -> "list[pulumi.Output[Any]]":
        """The Outputs that stand in a text."""
        parts = self._holes.fill(text, lambda parts: parts)
        return [part for part in (parts if isinstance(parts, list) else [parts]) if isinstance(part, pulumi.Output)]

    def promise(self) -> str:
        """A hole whose Output does not exist yet; `keep` puts it there."""
        return self._holes.punch(None)

    def keep(self, hole: str, value: pulumi.Output[Any]) -> None:
        """Let a promised hole stand for `value`."""
        self._holes.put(hole, value)

    def show(self, tree: Any) -> Any:  # noqa: ANN401  see hide
        """`tree` with every Output back; text around one becomes an Output itself."""
        return self._holes.fill(tree, lambda parts: pulumi.Output.concat(*parts))  # type: ignore[arg-type]


def together(values: Mapping[str, pulumi.Output[Any]]) -> pulumi.Output[Any]:
    """A map of Outputs as the Output of a map, also when it is empty."""
    return pulumi.Output.all(**values) if values else pulumi.Output.from_input({})


@contextmanager
def user_errors() -> Iterator[None]:
    """Show an error of the user's input as its text: Pulumi prints a traceback for any other exception."""
    try:
        yield
    except SconeError as error:
        raise pulumi.RunError(str(error)) from None
