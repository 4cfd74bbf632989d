"""Reads YAML text into plain data and remembers on which line everything stands. Safe against hostile documents.

The dialect is YAML 1.2's core schema without merge keys: `yes` and `2001-01-01` are strings,
numbers keep the text that was written (`0.10` stays `0.10`), a key may stand only once. Tags are refused but for the
two that the session language knows, `!cas` and `!akv`, at the one place where it knows them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from scone_policy.errors import PolicyError, SconeError
from scone_policy.syntax.holes import shown

NO_YAML = "this is not valid YAML"
MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000

Path = tuple[str | int, ...]

NUMBER = re.compile(
    r"[-+]?([0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN)"
)
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

_TAGGED: Mapping[Path, Mapping[str, str]] = {("secret_config", "store_in"): {"!cas": "cas", "!akv": "akv"}}

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_QUOTED = frozenset("'\"|>")


class Number(str):
    """A number as it was written: fields that hold text take it as it is, others convert it."""

    __slots__ = ()


class Tagged(dict[str, object]):
    """What stood under a tag: `{cas: None}` for `!cas`, `{akv: {…}}` for `!akv {…}`."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """Plain data (str, Number, bool, None, list, dict) with the line of every path in it (1-based)."""

    data: object
    file: str | None = None
    lines: Mapping[Path, int] = field(default_factory=dict, repr=False)

    def line(self, path: Path) -> int | None:
        """The line of the deepest known part of `path`, in which list items may be given by their `name` or `path`."""
        found = self.lines.get(())
        node = self.data
        real: Path = ()
        for step in self._as_written(path):
            key = _position(node, step)
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
            node = _child(node, _position(node, step))
        return node

    def _as_written(self, path: Path) -> Path:
        """The path without indices into what is no list here: one value may stand for a list of one."""
        node, found = self.data, []
        for step in path:
            if isinstance(step, int) and not isinstance(node, list | tuple):
                continue
            found.append(step)
            node = _child(node, _position(node, step))
        return tuple(found)


def show(path: Path) -> str:
    """A path as people write it: `services.api.environment.A`, `build.copy[0]`; `…` for what is not known yet."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return shown(text)


def load(text: str, *, file: str | None = None, error: type[SconeError] = PolicyError) -> Document:
    """Read one YAML document.

    Raises `error`, with file and line, on syntax errors, duplicate keys, tags, merge keys, NUL, more than 1 MiB, more
    than 64 levels or 100,000 values (aliases counted as often as they are used).
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise error(
            "the document is larger than 1 MiB", where=file or "", fix="Split it, or leave out what is not needed."
        )
    reader = _Reader(text, file, error)
    data = reader.document()
    return Document(data=data, file=file, lines=reader.lines)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _Reader:
    """Builds plain data from YAML events: one pass, its depth and size bounded before anything is built."""

    def __init__(self, text: str, file: str | None, error: type[SconeError]) -> None:
        self._events: Iterator[yaml.Event] = self._guarded(text)
        self._file, self._error = file, error
        self._anchors: dict[str, tuple[object, int]] = {}
        self._nodes = 0
        self.lines: dict[Path, int] = {}

    def document(self) -> object:
        """The data of the only document."""
        next(self._events)
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        event = next(self._events)
        self.lines[()] = _line(event)
        data, _ = self._value(event, ())
        next(self._events)
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._refuse("a second document begins here", after, "Keep one document per file.")
        return data

    def _guarded(self, text: str) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as problem:
            mark = problem.problem_mark or problem.context_mark
            line = mark.line + 1 if mark else 1
            raise self._error(
                f"{NO_YAML}: {problem.problem or problem.context}",
                where=f"{self._file or 'line '}{':' if self._file else ''}{line}",
                fix="Look at indentation, brackets and quotes on this line and the one before.",
            ) from None
        except (yaml.YAMLError, UnicodeError):
            raise self._error(
                f"{NO_YAML}: it holds a character that YAML does not allow",
                where=self._file or "",
                fix="Remove control characters; bytes go into a binary secret, in hex.",
            ) from None

    def _refuse(self, rule: str, event: yaml.Event, fix: str) -> SconeError:
        line = _line(event)
        return self._error(rule, where=f"{self._file}:{line}" if self._file else f"line {line}", fix=fix)

    def _value(self, event: yaml.Event, path: Path) -> tuple[object, int]:
        """The value that begins with `event`, and how many values it holds."""
        if len(path) > MAX_DEPTH:
            raise self._refuse(f"nested deeper than {MAX_DEPTH} levels", event, "Write it with fewer levels.")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        word = _TAGGED.get(path, {}).get(str(event.tag))
        if event.tag not in (None, "!", "tag:yaml.org,2002:str") and word is None:
            # Not which one: a secret that nobody quoted may begin with !, or with the * of an alias.
            raise self._refuse("tags (!…) are not supported", event, "A text that begins with ! needs quotes.")
        before = self._nodes
        self._count(1, event)
        value: object
        if isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(path)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path)
        else:
            assert isinstance(event, yaml.ScalarEvent)
            value = self._scalar(event)
        if word is not None:
            plain = isinstance(event, yaml.ScalarEvent) and event.style not in _QUOTED
            value = Tagged({word: None if plain and value in NULLS else value or None})
        size = self._nodes - before
        if event.anchor:
            self._anchors[event.anchor] = (value, size)
        return value, size

    def _count(self, size: int, event: yaml.Event) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise self._refuse(
                f"the document holds more than {MAX_NODES} values", event, "Split it, or leave out what is not needed."
            )

    def _alias(self, event: yaml.AliasEvent) -> tuple[object, int]:
        if event.anchor not in self._anchors:
            raise self._refuse(
                "this alias (*…) stands for nothing before it", event, "A text that begins with * needs quotes."
            )
        value, size = self._anchors[event.anchor]
        self._count(size, event)
        return value, size

    def _mapping(self, path: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refuse("a key must be a plain name", event, "Write `name: value`.")
            key = str(self._scalar_text(event))
            if key == "<<" and event.style not in _QUOTED:
                raise self._refuse("merge keys (<<) are not supported", event, "Write the keys out.")
            if key in found:
                raise self._refuse(
                    f"{show((*path, key))}: the key stands here a second time", event, "Keep one of them."
                )
            self.lines[(*path, key)] = _line(event)
            found[key], _ = self._value(next(self._events), (*path, key))
        return found

    def _sequence(self, path: Path) -> list[object]:
        found: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self.lines[(*path, len(found))] = _line(event)
            found.append(self._value(event, (*path, len(found)))[0])
        return found

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        text = self._scalar_text(event)
        if event.style in _QUOTED or event.tag is not None:
            return text
        if text in NULLS:
            return None
        if text in BOOLEANS:
            return BOOLEANS[text]
        return Number(text) if NUMBER.fullmatch(text) else text

    def _scalar_text(self, event: yaml.ScalarEvent) -> str:
        text: str = event.value
        if "\x00" in text:
            raise self._refuse(
                "a value must not hold the NUL character", event, "Remove it; bytes go into a binary secret, in hex."
            )
        return text


def _position(node: object, step: str | int) -> str | int:
    """Where `step` really is: the index of the list item that carries this name or path."""
    if isinstance(node, list | tuple) and isinstance(step, str):
        for index, item in enumerate(node):
            names = (item.get("name"), item.get("path"), item.get("service")) if isinstance(item, Mapping) else (item,)
            if step in names:
                return index
    return step


def _child(node: object, key: str | int) -> object:
    if isinstance(node, Mapping) and isinstance(key, str):
        return node.get(key)
    if isinstance(node, list | tuple) and isinstance(key, int) and key < len(node):
        return node[key]
    return None
