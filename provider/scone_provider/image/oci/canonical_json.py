"""Canonical JSON: one sequence of bytes per value, so that digests over it mean something (docs/image-format.md)."""

import json
from collections.abc import Mapping

from scone_provider.errors import ImageError


def canonical_json(value: object) -> bytes:
    """`value` (maps with string keys, lists, strings, integers, booleans, None) as canonical JSON in UTF-8.

    Raises ImageError for a float and for text that is not valid Unicode: neither has one agreed spelling.
    """
    try:
        _refuse_floats(value)
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise ImageError("a name or value is not valid Unicode and cannot be written down") from None
    except RecursionError:
        raise ImageError("a document is nested too deeply") from None


def parse_object(data: bytes, *, what: str, limit: int) -> dict[str, object]:
    """The JSON object in `data`, of at most `limit` bytes. Raises ImageError, naming it as `what`."""
    if len(data) > limit:
        raise ImageError(f"{what} has {len(data)} bytes; at most {limit} are accepted")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise ImageError(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise ImageError(f"{what} is not a JSON object")
    return value


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise ImageError("a fraction has no canonical form")
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)
