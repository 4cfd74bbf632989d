"""JSON as a protocol takes it: strict, and objects with exactly the keys that are expected."""

import base64
import binascii
from collections.abc import Mapping
from types import UnionType
from typing import Any

from scone_cas.errors import RequestError
from scone_policy.syntax.strict_json import decode


class MalformedError(RequestError):
    """The bytes are not of the protocol. The text says why, and quotes nothing."""


def read_object(
    body: bytes, keys: Mapping[str, type | UnionType], may: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """A JSON object with exactly these keys, and those that it may have, each of its type. Raises MalformedError."""
    try:
        found = decode(body)
    except ValueError:
        raise MalformedError("not one JSON object in UTF-8") from None
    present = {key: kind for key, kind in (may or {}).items() if isinstance(found, dict) and key in found}
    return keys_of(found, {**keys, **present} if present else keys)


def keys_of(found: object, keys: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """The object itself, with exactly these keys, each of its type. Raises MalformedError."""
    if not isinstance(found, dict) or set(found) != set(keys):
        raise MalformedError(f"not an object with exactly the keys {', '.join(keys)}")
    for key, kind in keys.items():
        if not isinstance(found[key], kind):
            raise MalformedError(f"{key} is of the wrong type")
    return found


def bytes_of(found: Mapping[str, object], key: str, *, size: int | None = None) -> bytes:
    """What a base64 text stands for, of this many bytes. Raises MalformedError."""
    try:
        value = base64.b64decode(str(found[key]), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError(f"{key} is not base64") from None
    if size is not None and len(value) != size:
        raise MalformedError(f"{key} does not have {size} bytes")
    return value
