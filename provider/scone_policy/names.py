"""Names of sessions and namespaces: their alphabet, and which namespace a name lives in (session language, name)."""

import re
from typing import Annotated

from pydantic import PlainValidator

from scone_policy.holes import has_hole
from scone_policy.scalars import SEGMENT, text

ROOT = "/"
MAX_LENGTH = 1024

_SEGMENT = re.compile(SEGMENT)


def session_name(value: object) -> str:
    """A full session name: segments joined by `/`, or `/` for the root namespace. Raises ValueError with the rule."""
    name = text(value)
    if has_hole(name) or name == ROOT:
        return name
    if len(name) > MAX_LENGTH:
        raise ValueError(f"must be at most {MAX_LENGTH} characters")
    for segment in name.split("/"):
        if not segment:
            raise ValueError("must not begin or end with / and must not hold //")
        if segment in (".", ".."):
            raise ValueError("relative names are not supported yet: write the full name")
        if not _SEGMENT.fullmatch(segment):
            raise ValueError("each part between / must be 1 to 128 letters, digits, or _ - . ~")
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


SessionName = Annotated[str, PlainValidator(session_name, json_schema_input_type=str)]
