"""YAML documents as plain data that knows on which line everything stands: by path, or by the names in its lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scone_policy.errors import PolicyError, SconeError
from scone_policy.syntax.holes import shown
from scone_policy.syntax.yaml_reader import (
    BOOLEANS,
    LOADER,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    MAX_TEXT,
    NO_YAML,
    NULLS,
    NUMBER,
    Number,
    Path,
    Reader,
    Tagged,
)

__all__ = [
    "BOOLEANS",
    "LOADER",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "MAX_TEXT",
    "NO_YAML",
    "NULLS",
    "NUMBER",
    "Document",
    "Number",
    "Path",
    "Tagged",
    "load",
    "show",
]

_LONGEST_STEP = 512
"""Characters of a name that are shown."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """Plain data (str, Number, bool, None, list, dict) with the line of every path in it (1-based)."""

    data: object
    file: str | None = None
    lines: Mapping[Path, int] = field(default_factory=dict, repr=False)
    _positions: dict[int, dict[str, int]] = field(default_factory=dict, repr=False, compare=False)
    """Of lists that were searched, by identity: where the item of each name is. So many look-ups stay linear."""

    def line(self, path: Path) -> int | None:
        """The line of the deepest known part of `path`, in which list items may be given by their `name` or `path`."""
        found = self.lines.get(())
        node = self.data
        real: Path = ()
        for step in self._as_written(path):
            key = self._position(node, step)
            real = (*real, key)
            if real not in self.lines:
                break
            found = self.lines[real]
            node = _child(node, key)
        return found

    def where(self, path: Path) -> str:
        """`file:line: services.api.command`, as much of it as is known."""
        parts = []
        if self.file:
            line = self.line(path)
            parts.append(f"{self.file}:{line}" if line else self.file)
        if path:
            parts.append(show(self._as_written(path)))
        return ": ".join(parts)

    def value(self, path: Path) -> object:
        """What stands at `path`, written as for `line`; where a text stands for a whole section, that text."""
        node = self.data
        for step in self._as_written(path):
            if isinstance(node, str):
                break
            node = _child(node, self._position(node, step))
        return node

    def _as_written(self, path: Path) -> Path:
        """The path without indices into what is no list here: one value may stand for a list of one."""
        node, found = self.data, []
        for step in path:
            if isinstance(step, int) and not isinstance(node, list | tuple):
                continue
            found.append(step)
            node = _child(node, self._position(node, step))
        return tuple(found)

    def _position(self, node: object, step: str | int) -> str | int:
        """Where `step` really is: the index of the list item that carries this name or path."""
        if not isinstance(node, list | tuple) or not isinstance(step, str):
            return step
        known = self._positions.get(id(node))
        if known is None:
            known = self._positions[id(node)] = _by_name(node)
        return known.get(step, step)


def show(path: Path) -> str:
    """A path as people write it: `services.api.environment.A`, `build.copy[0]`; `…` for what is not known yet."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if len(step) <= _LONGEST_STEP else f"{step[:_LONGEST_STEP]}…"
            text += f".{name}" if text else name
    return shown(text)


def load(text: str, *, file: str | None = None, error: type[SconeError] = PolicyError) -> Document:
    """Read one YAML document.

    Raises `error`, with file and line, on syntax errors, duplicate keys, tags, merge keys, NUL, more than 1 MiB, more
    than 64 levels, 100,000 values or 1 MiB of text. Levels, values and text of an alias count as if they stood there.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise error(
            "the document is larger than 1 MiB", where=file or "", fix="Split it, or leave out what is not needed."
        )
    reader = Reader(text, file, error, show)
    data = reader.document()
    return Document(data=data, file=file, lines=reader.lines)


def _by_name(items: Sequence[object]) -> dict[str, int]:
    """Names of the items of a list, each with the first position that has it."""
    found: dict[str, int] = {}
    for index, item in enumerate(items):
        names = (item.get("name"), item.get("path"), item.get("service")) if isinstance(item, Mapping) else (item,)
        for name in names:
            if isinstance(name, str):
                found.setdefault(name, index)
    return found


def _child(node: object, key: str | int) -> object:
    if isinstance(node, Mapping) and isinstance(key, str):
        return node.get(key)
    if isinstance(node, list | tuple) and isinstance(key, int) and key < len(node):
        return node[key]
    return None
