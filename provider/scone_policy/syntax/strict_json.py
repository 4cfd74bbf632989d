"""Strict JSON: every key once, no NaN, only whole characters. What two readers could take for two things is refused."""

import json


class RepeatedKeyError(ValueError):
    """An object has the same key twice: which of them counts would be up to the reader."""


def decode(text: bytes | str) -> object:
    """The value in JSON text, UTF-8 where it is bytes. Raises ValueError, also for what goes too deep."""
    try:
        found: object = _DECODER.decode(text if isinstance(text, str) else text.decode("utf-8"))
        if "\\u" in text if isinstance(text, str) else b"\\u" in text:
            # Only an escape can bring half a character into text that was UTF-8.
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("too deep") from None
    return found


def no_constant(_name: str) -> object:
    """For `json.loads(parse_constant=…)`: NaN and Infinity are not JSON. Raises ValueError."""
    raise ValueError("NaN and Infinity are not JSON")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RepeatedKeyError("a key stands there twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=no_constant)
