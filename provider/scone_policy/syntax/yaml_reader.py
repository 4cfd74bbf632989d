"""Reads YAML text into plain data and remembers on which line everything stands. Safe against hostile documents.

The dialect is YAML 1.2's core schema without merge keys: `yes` and `2001-01-01` are strings,
numbers keep the text that was written (`0.10` stays `0.10`), a key may stand only once. Tags are refused but for the
two that the session language knows, `!cas` and `!akv`, at the one place where it knows them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import yaml

from scone_policy.errors import SconeError

NO_YAML = "this is not valid YAML"
MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000
"""Values and keys' worth of one document, with aliases counted as often as they are used."""
MAX_TEXT = MAX_BYTES
"""Bytes of all texts and keys together, counted in the same way: what is written out again is not larger by aliases."""

Path = tuple[str | int, ...]

NUMBER = re.compile(
    r"[-+]?([0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN)"
)
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

_TAGGED: Mapping[Path, Mapping[str, str]] = {("secret_config", "store_in"): {"!cas": "cas", "!akv": "akv"}}

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, which takes a tenth of the time."""
_QUOTED = frozenset("'\"|>")


class Number(str):
    """A number as it was written: fields that hold text take it as it is, others convert it."""

    __slots__ = ()


class Tagged(dict[str, object]):
    """What stood under a tag: `{cas: None}` for `!cas`, `{akv: {…}}` for `!akv {…}`."""


@dataclass(frozen=True, kw_only=True)
class _Anchored:
    """What an alias stands for, and what it costs to write it out: values, bytes of text, levels below itself."""

    value: object
    nodes: int
    text: int
    levels: int


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class Reader:
    """Builds plain data from YAML events: one pass, its depth and size bounded before anything is built."""

    def __init__(self, text: str, file: str | None, error: type[SconeError], show: Callable[[Path], str]) -> None:
        self._events: Iterator[yaml.Event] = self._guarded(text)
        self._file, self._error, self._show = file, error, show
        self._anchors: dict[str, _Anchored] = {}
        self._nodes = self._text = self._deepest = 0
        self.lines: dict[Path, int] = {}

    def document(self) -> object:
        """The data of the only document."""
        next(self._events)
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        event = next(self._events)
        self.lines[()] = _line(event)
        data = self._value(event, ())
        next(self._events)
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._refuse("a second document begins here", after, "Keep one document per file.")
        return data

    def _guarded(self, text: str) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(text, Loader=LOADER)
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

    def _value(self, event: yaml.Event, path: Path) -> object:
        """The value that begins with `event`."""
        self._reach(len(path), event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        word = _TAGGED.get(path, {}).get(str(event.tag))
        if event.tag not in (None, "!", "tag:yaml.org,2002:str") and word is None:
            # Not which one: a secret that nobody quoted may begin with !, or with the * of an alias.
            raise self._refuse("tags (!…) are not supported", event, "A text that begins with ! needs quotes.")
        before, deepest = (self._nodes, self._text), self._deepest
        self._deepest = len(path)
        self._count(event, nodes=1)
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
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(
                value=value,
                nodes=self._nodes - before[0],
                text=self._text - before[1],
                levels=self._deepest - len(path),
            )
        self._deepest = max(deepest, self._deepest)
        return value

    def _reach(self, levels: int, event: yaml.Event) -> None:
        self._deepest = max(self._deepest, levels)
        if levels > MAX_DEPTH:
            raise self._refuse(f"nested deeper than {MAX_DEPTH} levels", event, "Write it with fewer levels.")

    def _count(self, event: yaml.Event, *, nodes: int = 0, text: int = 0) -> None:
        self._nodes += nodes
        self._text += text
        if self._nodes > MAX_NODES:
            raise self._refuse(
                f"the document holds more than {MAX_NODES} values", event, "Split it, or leave out what is not needed."
            )
        if self._text > MAX_TEXT:
            raise self._refuse(
                "the document holds more than 1 MiB of text, its aliases written out",
                event,
                "Split it, or leave out what is not needed.",
            )

    def _alias(self, event: yaml.AliasEvent, path: Path) -> object:
        found = self._anchors.get(event.anchor or "")
        if found is None:
            raise self._refuse(
                "this alias (*…) stands for nothing before it", event, "A text that begins with * needs quotes."
            )
        self._count(event, nodes=found.nodes, text=found.text)
        self._reach(len(path) + found.levels, event)
        return found.value

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
                    f"{self._show((*path, key))}: the key stands here a second time", event, "Keep one of them."
                )
            self.lines[(*path, key)] = _line(event)
            found[key] = self._value(next(self._events), (*path, key))
        return found

    def _sequence(self, path: Path) -> list[object]:
        found: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self.lines[(*path, len(found))] = _line(event)
            found.append(self._value(event, (*path, len(found))))
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
        self._count(event, text=len(text.encode("utf-8", "surrogatepass")))
        return text
