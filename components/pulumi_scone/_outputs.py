"""Outputs among plain values: carried through manifests and derivation as holes, put back into single fields.

So only the field that depends on what is not known yet is unknown in a preview, never the policy around it.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import isawaitable
from typing import Any

import pulumi

from scone_policy.errors import SconeError
from scone_policy.syntax.holes import Holes, shown
from scone_policy.syntax.scalars import text as scalar_text

_MOMENT = 0.5
"""Seconds that the server of a program's hooks has to start."""


class Outputs:
    """The Outputs of one component, each under its hole."""

    def __init__(self) -> None:
        self._holes = Holes()
        self._known: dict[int, tuple[object, str]] = {}

    def hide(self, tree: Any) -> Any:  # noqa: ANN401  any JSON-like tree with Outputs in it
        """`tree` with every Output replaced by a hole: one and the same Output by one and the same hole.

        Raises SconeError for an Output as a key: nobody knows yet what stands under it.
        """
        if isinstance(tree, pulumi.Output) or isawaitable(tree):
            return self._hole_of(tree)
        if isinstance(tree, Mapping):
            for key in tree:
                if is_later(key):
                    raise SconeError(
                        "an Output cannot be a key: what stands under it must have a name while the program runs",
                        fix="give a list where the section may be one, or plain text",
                    )
            return {key: self.hide(value) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            return [self.hide(value) for value in tree]
        return tree

    def _hole_of(self, value: Any) -> str:  # noqa: ANN401  an Output, or something to await
        kept = self._known.get(id(value))
        if kept is None:
            # What is kept cannot be freed, so no other object gets its id.
            kept = self._known[id(value)] = (value, self._holes.punch(pulumi.Output.from_input(value)))
        return kept[1]

    def later(self, text: str, function: Callable[[str], object]) -> str:
        """A hole for `function` of a text with holes in it. What it raises ends the program when the text is known."""

        async def told(known: object) -> Any:  # noqa: ANN401  see hide
            try:
                return function(_text(known))
            except SconeError as error:
                # Said at once, and raised a moment later: gRPC's asyncio server, which serves the hooks, crashes the
                # interpreter when its loop ends while it starts, and nobody would read why the program ended.
                pulumi.log.error(shown(str(error)))
                await asyncio.sleep(_MOMENT)
                raise pulumi.RunError(shown(str(error))) from None

        return self._holes.punch(pulumi.Output.from_input(self.show(text)).apply(told))

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
        return self._holes.fill(tree, _joined)


def _joined(parts: Sequence[Any]) -> pulumi.Output[str]:
    """One text of its parts; numbers and switches are written as manifests write them."""

    def join(found: Sequence[object]) -> str:
        with user_errors():
            return "".join(map(_text, found))

    return pulumi.Output.all(*parts).apply(join)


def _text(known: object) -> str:
    try:
        return scalar_text(known)
    except ValueError as error:
        raise SconeError(f"an Output that is used as text {error}") from None


def is_later(value: object) -> bool:
    """True for what has its value only later: an Output, or something to await."""
    return isinstance(value, pulumi.Output) or isawaitable(value)


def settled(tree: Any) -> Any:  # noqa: ANN401  arguments as a program gives them
    """Arguments in which everything that is to be awaited is an Output: a coroutine can be awaited once only."""
    if isawaitable(tree):
        return pulumi.Output.from_input(tree)
    if isinstance(tree, Mapping):
        return {key: settled(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [settled(value) for value in tree]
    return tree


def secret_keys(values: Mapping[str, object]) -> pulumi.Output[Mapping[str, bool] | None] | None:
    """The keys whose Outputs are secret, as `{key: true}`; None when there are none."""
    later = {key: value for key, value in values.items() if isinstance(value, pulumi.Output)}

    async def found() -> Mapping[str, bool] | None:
        return {key: True for key, value in later.items() if await value.is_secret()} or None

    return pulumi.Output.from_input(found()) if later else None


def together(values: Mapping[str, pulumi.Output[Any]]) -> pulumi.Output[Any]:
    """A map of Outputs as the Output of a map, also when it is empty."""
    return pulumi.Output.all(**values) if values else pulumi.Output.from_input({})


@contextmanager
def user_errors() -> Iterator[None]:
    """Show an error of the user's input as its text: Pulumi prints a traceback for any other exception."""
    try:
        yield
    except SconeError as error:
        raise pulumi.RunError(shown(str(error))) from None


def warn(text: str, resource: pulumi.Resource | None = None) -> None:
    """A warning on the resource, or on the stack; `…` stands for what is not known yet."""
    pulumi.log.warn(shown(text), resource)
