"""Names of sessions and namespaces: their alphabet, and which namespace a name lives in (session language, name)."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import PlainValidator, ValidationInfo

from scone_policy.errors import RuleError
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.scalars import SEGMENT, renamed, text

ROOT = "/"
MAX_LENGTH = 1024

_SEGMENT = re.compile(SEGMENT)


def session_name(value: object) -> str:
    """A full session name: segments joined by `/`, or `/` for the root namespace. Raises ValueError with the rule."""
    name = text(value)
    if has_hole(name) or name == ROOT:
        return name
    if len(name) > MAX_LENGTH:
        raise RuleError(f"must be at most {MAX_LENGTH} characters", fix="Shorten it.")
    for segment in name.split("/"):
        if not segment:
            raise RuleError(
                "must not begin or end with / and must not hold //",
                fix="Write full names such as team/app, or / alone.",
            )
        if segment in (".", ".."):
            raise RuleError(
                "a relative name may stand only where another session is referred to", fix="Write the full name."
            )
        if not _SEGMENT.fullmatch(segment):
            raise RuleError(
                "each part between / must be 1 to 128 letters, digits, or _ - . ~",
                fix=renamed(segment, "Rename it: other characters, such as blanks, are not allowed."),
            )
    return name


def is_segment(name: str) -> bool:
    """True when the text may stand as one part of a session name, or name a service."""
    return _SEGMENT.fullmatch(name) is not None and name not in (".", "..")


def parent(name: str) -> str | None:
    """The namespace that `name` lives in: `a/b` for `a/b/c`, the root `/` for `a`, None for the root itself."""
    if name == ROOT:
        return None
    head, _, _ = name.rpartition("/")
    return head or ROOT


def is_relative(name: object) -> bool:
    """True for `.`, `..`, `./x`, `../x`: names that begin at the session that refers to them."""
    return isinstance(name, str) and name.partition("/")[0] in (".", "..")


def absolute(name: str, own: str) -> str:
    """The full name that a relative one means in the session `own`: `./x` lies below it, `../x` beside it.

    Raises ValueError when it leads above the root namespace.
    """
    found: list[str] = [] if own == ROOT else own.split("/")
    for step in name.split("/"):
        if step == "..":
            if not found:
                raise RuleError("the relative name leads above the root namespace", fix="Leave out one of the `..`.")
            found.pop()
        elif step != ".":
            found.append(step)
    return session_name("/".join(found) or ROOT)


def _reference(value: object, info: ValidationInfo) -> str:
    found = text(value)
    own = info.context.get("name") if isinstance(info.context, Mapping) else None
    if not is_relative(found) or has_hole(found):
        return session_name(found)
    if isinstance(own, str):
        return absolute(found, own)
    absolute(found, "/".join(["x"] * len(found)))
    return found


SessionReference = Annotated[str, PlainValidator(_reference, json_schema_input_type=str)]
"""The name of another session; a relative one becomes a full one when the validation context has the own `name`."""

SessionName = Annotated[str, PlainValidator(session_name, json_schema_input_type=str)]
