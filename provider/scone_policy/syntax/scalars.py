"""The scalar types of the models: text, numbers, hex strings, switches. Each lets a hole pass unchecked."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator

from scone_policy.errors import RuleError
from scone_policy.syntax.holes import has_hole, is_hole
from scone_policy.syntax.nearest import nearest_word
from scone_policy.syntax.placeholders import CLOSING, OPENING, is_reference
from scone_policy.syntax.problems import Problem, refusal
from scone_policy.syntax.yaml_source import Number

_MOST_NAMED = 5
_TOKENS = re.compile("\x00hole:[0-9]+\x00")


class Model(BaseModel):
    """What all models share: values that never change, no unknown keys, no input in errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_by_name=True, validate_by_alias=True
    )


def text(value: object) -> str:
    """Any scalar as text: `true`, `443`, `0.10`. Numbers that went through Pulumi are floats: 443.0 is `443`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    if value is None:
        raise RuleError("must have a value", fix='Give it one ("" for an empty text), or leave the key out.')
    if not isinstance(value, str):
        raise RuleError(
            "must be text, not a list or a map", fix="Write one value; quotes keep brackets and braces in a text."
        )
    if "\x00" in _TOKENS.sub("", value):
        raise RuleError("must not hold the NUL character", fix="Remove it; bytes go into a binary secret, in hex.")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise RuleError("must be valid Unicode", fix="Write it again: half of a surrogate pair stands in it.")
    return str(value)


def whole(value: object) -> int | str:
    """A whole number, also written as text; a hole stays a hole."""
    if is_hole(value):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch("[0-9]{1,12}", value):
        return int(value)
    if isinstance(value, Number) and re.fullmatch("0x[0-9a-fA-F]{1,10}|0o[0-7]{1,12}", value):
        return int(value, 0)
    raise RuleError("must be a whole number", fix="Write digits alone, such as 20.")


def switch(value: object) -> bool | str:
    """True or false, also written as text; a hole stays a hole."""
    if is_hole(value):
        return str(value)
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise RuleError("must be true or false", fix="Write true or false, without quotes.")


def matching(pattern: str, rule: str, *, fix: str, trim: bool = False) -> Callable[[object], str]:
    """A reader of text that must match `pattern` unless it holds a hole; `rule` says it in words, `fix` what to do.

    With `trim`, for alphabets without white space, white space around is ignored: a block scalar ends with a line
    break, and so does what most commands print.
    """
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        found = text(value).strip() if trim else text(value)
        if not has_hole(found) and not compiled.fullmatch(found):
            raise RuleError(rule, fix=fix)
        return found

    return read


def optional(read: Callable[[object], object]) -> Callable[[object], object]:
    """The same reader, for a key that may also be absent or null."""
    return lambda value: None if value is None else read(value)


def or_reference(read: Callable[[object], object]) -> Callable[[object], object]:
    """The same reader, for a value in whose place a reference (`$$SCONE::x$$`) may stand (since 0.3.10)."""
    return lambda value: str(value) if is_reference(value) else read(value)


def one_of(*words: str) -> Callable[[object], str]:
    """A reader of one of a few words."""
    known = ", ".join(words)

    def read(value: object) -> str:
        found = text(value)
        if not has_hole(found) and found not in words:
            raise RuleError(f"must be one of {known}", fix=nearest(found, words))
        return found

    return read


def nearest(found: str, words: Iterable[str]) -> str:
    """What to do about a word that is none of these: the nearest one, or the choice."""
    known = sorted(words)
    near = nearest_word(found, known)
    if near is not None:
        return f"Did you mean {near}?"
    return f"Write {' or '.join(known)}." if len(known) <= _MOST_NAMED else "Correct it, or leave it out."


def by_reference(data: object, where: str) -> object:
    """A section as plain data, or `{"reference": …}` when a placeholder stands for it. Raises ValueError."""
    if data is None:
        return {}
    if isinstance(data, str) and (is_reference(data) or has_hole(data)):
        return {"reference": data}
    if isinstance(data, Mapping) and "reference" in data:
        raise RuleError("unknown key reference", fix=f"Write the placeholder itself as {where}.")
    return data


def renamed(name: str, fix: str) -> str:
    r"""What to do about a name of other characters: `fix`, or to take the `\$` of a shell script out."""
    if "\\$" not in name:
        return fix
    return (
        "Leave the backslash out: it belongs to the shell script that the text was in. A variable has its value by "
        "`--set NAME=VALUE`."
    )


def _segment(value: object) -> str:
    found = text(value)
    if not has_hole(found) and not re.fullmatch(SEGMENT, found):
        fix = renamed(found, "Rename it: other characters, such as blanks and /, are not allowed.")
        raise RuleError("must be 1 to 128 letters, digits, or _ - . ~", fix=fix)
    return found


SEGMENT = r"[A-Za-z0-9_\-.~]{1,128}"
PLACEHOLDER = rf"{re.escape(OPENING)}[^$]+{re.escape(CLOSING)}"


def lower_hex(size: int) -> Callable[[object], str]:
    """A reader of `size` bytes in hex, written in either case, kept in lower case."""
    digits = 2 * size
    rule = f"must be {size} bytes in hex ({digits} digits)"
    fix = f"Copy it again, whole: {digits} characters of 0 to 9 and a to f."
    read = matching(f"[0-9a-fA-F]{{{digits}}}", rule, fix=fix, trim=True)

    def fold(value: object) -> str:
        found = read(value)
        return found if has_hole(found) else found.lower()

    return fold


def by_name(key: str = "name", *, short: str | None = None) -> Callable[[object], object]:
    """Turns a list of maps with a `name` (the wire form) into a map by name (the canonical form); a map stays.

    With `short` an item may also be only the name; without, it must be a map. A duplicate name is refused.
    """

    def convert(value: object) -> object:
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return {name: {} if item is None else item for name, item in value.items()}
        if not isinstance(value, list | tuple):
            raise RuleError(f"must be a list of maps with a {key}, or a map by {key}", fix=f"Write `- {key}: …`.")
        found: dict[str, object] = {}
        problems: list[Problem] = []
        for index, item in enumerate(value):
            entry = (
                dict(item) if isinstance(item, Mapping) else {short: item} if isinstance(item, str) and short else {}
            )
            name = entry.pop(key, None)
            if name is None:
                rule = f"the entry has no {key}"
                problems.append(Problem(path=(index,), rule=rule, fix=f"Give it one: `- {key}: …`."))
                continue
            name = text(name)
            if name in found:
                rule = f"two entries have the {key} {name!r}"
                problems.append(Problem(path=(index,), rule=rule, fix="Rename one of them, or merge them."))
            found[name] = entry
        if problems:
            raise refusal(*problems)
        return found

    return convert


def _printed(value: object) -> None:
    if value not in (None, "None"):
        raise RuleError(
            "is what a CAS prints, and None is all that is known of it",
            fix="Leave it out; volumes say with update_policy how they are kept.",
        )


Printed = Annotated[None, PlainValidator(_printed, json_schema_input_type=str | None)]
"""A key that CASes print and nobody writes: read over, so that what was read can be uploaded again."""
Text = Annotated[str, PlainValidator(text, json_schema_input_type=str)]
OptionalText = Annotated[str | None, PlainValidator(optional(text), json_schema_input_type=str | None)]
OptionalWhole = Annotated[int | str | None, PlainValidator(optional(whole), json_schema_input_type=int | None)]
ReferableSwitch = Annotated[
    bool | str | None, PlainValidator(optional(or_reference(switch)), json_schema_input_type=bool | str | None)
]
Switch = Annotated[
    bool | str,
    PlainValidator(lambda value: False if value is None else switch(value), json_schema_input_type=bool | None),
]
Named = BeforeValidator(by_name())
Segment = Annotated[
    str,
    PlainValidator(_segment, json_schema_input_type=str),
]
PrintableName = Annotated[
    str,
    PlainValidator(
        matching(
            r"[^\x00-\x1f]{1,512}",
            "must be 1 to 512 printable characters",
            fix="Rename it, without line breaks and tabs.",
        ),
        json_schema_input_type=str,
    ),
]
Bytes16 = Annotated[str | None, PlainValidator(optional(lower_hex(16)), json_schema_input_type=str | None)]
Bytes32 = Annotated[str | None, PlainValidator(optional(lower_hex(32)), json_schema_input_type=str | None)]
