"""Reads what `pulumi preview --json` prints: the steps with their inputs before and after, and the messages."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scone_policy.syntax.holes import Holes
from scone_provider.errors import PreviewError

Map = Mapping[str, Any]

MOST_CHARACTERS = 256 * 1024 * 1024
"""Of a preview's JSON."""
_MOST_STEPS = 100_000
_FIX = "give the output of `pulumi preview --json`, as a file or on standard input"
_UNKNOWN = frozenset(
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
"""What Pulumi's protocol writes for a text, boolean, number, list, asset, archive or map that is not known yet."""
_LATER = Holes().punch(None)
_KEY = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|\.?([^.\["]+)')
"""One key of a property path, as Pulumi writes them: `name`, `.name`, `["a.b"]`, `[0]`."""
_SEVERITIES = ("error", "warning", "info", "debug")


@dataclass(frozen=True, kw_only=True)
class Step:
    """What becomes of one resource. `old` and `new`: its inputs, empty where there are none.

    `op`: create, update, replace, delete, refresh, import, same … `paths`: what differs, as the engine says, key by
    key.
    """

    op: str
    urn: str
    type: str
    old: Map
    new: Map
    paths: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        """The resource's name in the program."""
        return self.urn.rpartition("::")[2]

    @property
    def kind(self) -> str:
        """The last word of the type: `SecurityPolicy`, `Release`."""
        return self.type.rpartition(":")[2]

    @property
    def label(self) -> str:
        """Type and name, as a person tells resources apart."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Message:
    """One line for the reader. `severity`: error, warning, info or debug; `source`: the urn it is about, or empty."""

    severity: str
    text: str
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """All of it, in the engine's order."""

    stack: str
    steps: tuple[Step, ...]
    messages: tuple[Message, ...] = field(default=())


def read_preview(text: str) -> Preview:
    """The preview in a text; what stands around the JSON object is left out. Raises PreviewError."""
    if len(text) > MOST_CHARACTERS:
        raise PreviewError(f"more than {MOST_CHARACTERS} characters", where="preview", fix=_FIX)
    begin = text.find("{")
    try:
        found, _ = json.JSONDecoder().raw_decode(text, max(begin, 0))
    except (ValueError, RecursionError):
        raise PreviewError("no JSON", where="preview", fix=_FIX) from None
    if not isinstance(found, dict) or not isinstance(found.get("steps"), list):
        if isinstance(found, dict) and "resourcePlans" in found:
            raise PreviewError("a saved plan holds no inputs from before", where="preview", fix=_FIX)
        raise PreviewError("no list of steps", where="preview", fix=_FIX)
    if len(found["steps"]) > _MOST_STEPS:
        raise PreviewError(f"more than {_MOST_STEPS} steps", where="preview", fix="review the stack in parts")
    steps = tuple(_step(number, step) for number, step in enumerate(found["steps"]))
    return Preview(stack=_stack(steps), steps=steps, messages=tuple(_messages(found.get("diagnostics"))))


def _step(number: int, step: object) -> Step:
    where = f"steps[{number}]"
    if not isinstance(step, dict) or not isinstance(step.get("urn"), str) or not isinstance(step.get("op"), str):
        raise PreviewError("a step without urn and op", where=where, fix=_FIX)
    old, new = (_inputs(step.get(side)) for side in ("oldState", "newState"))
    detailed = step.get("detailedDiff")
    return Step(
        op=step["op"],
        urn=step["urn"],
        type=step["urn"].split("::")[-2].rpartition("$")[2] if step["urn"].count("::") >= 2 else "",
        old=old,
        new=new,
        paths=tuple(sorted(map(_keys, detailed))) if isinstance(detailed, dict) else (),
    )


def _keys(path: str) -> tuple[str, ...]:
    return tuple(quoted.replace('\\"', '"') or index or plain for quoted, index, plain in _KEY.findall(path))


def _inputs(state: object) -> Map:
    inputs = state.get("inputs") if isinstance(state, dict) else None
    if not isinstance(inputs, dict):
        return {}
    return {key: _known(value) for key, value in inputs.items() if not key.startswith("__")}


def _known(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """The value with what is not known yet as a hole."""
    if isinstance(value, str):
        return _LATER if value in _UNKNOWN else value
    if isinstance(value, list):
        return [_known(item) for item in value]
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    return value


def _stack(steps: tuple[Step, ...]) -> str:
    parts = steps[0].urn.split("::") if steps else []
    return parts[0].rpartition(":")[2] if parts else ""


def _messages(found: object) -> Iterator[Message]:
    """Warnings and errors; a program that writes them to its log has the word in front."""
    for one in found if isinstance(found, list) else ():
        if not isinstance(one, dict):
            continue
        text = "".join(str(one.get(key) or "") for key in ("prefix", "message")).strip()
        first, colon, rest = text.partition(": ")
        severity = first if colon and first in _SEVERITIES else str(one.get("severity", "")).partition("#")[0]
        if text:
            said = rest if colon and first in _SEVERITIES else text
            yield Message(severity=severity, text=said, source=str(one.get("urn") or ""))
