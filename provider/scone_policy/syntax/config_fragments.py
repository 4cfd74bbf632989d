"""Values of config fragments: any YAML tree, as JSON text in the canonical form (session language 0.3.10)."""

import json
import math
import re
from collections.abc import Mapping

from scone_policy.errors import RuleError
from scone_policy.syntax.strict_json import no_constant
from scone_policy.syntax.yaml_source import Number

_TOKEN = re.compile(r"\\u0000(hole:[0-9]+)\\u0000")
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def dump(value: object) -> str:
    """The one JSON text of a tree: keys sorted, numbers as they were written. Raises ValueError for what is no tree."""
    return _TOKEN.sub("\x00\\1\x00", _json(value))


def load(text: str) -> object:
    """The tree in a JSON text, numbers as `Number`. Raises ValueError when it is no JSON."""
    try:
        return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=no_constant, strict=False)
    except (ValueError, RecursionError):
        raise RuleError("value_json must be JSON", fix="Write the fragment itself as value.") from None


def _json(value: object) -> str:
    if isinstance(value, Mapping):
        items = [f"{json.dumps(str(key), ensure_ascii=False)}:{_json(value[key])}" for key in sorted(value, key=str)]
        return "{" + ",".join(items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, Number):
        return _written(value)
    if isinstance(value, float):
        return _finite(value)
    if value is None or isinstance(value, int | str):
        return json.dumps(value, ensure_ascii=False)
    raise RuleError(
        "must be made of maps, lists, texts, numbers, true, false and null", fix="Turn other values into text."
    )


def _finite(value: float) -> str:
    if not math.isfinite(value):
        raise RuleError("must not hold numbers that are not finite", fix="Write such a number as text, in quotes.")
    return str(int(value)) if value.is_integer() else repr(value)


def _written(number: Number) -> str:
    if _JSON_NUMBER.fullmatch(number):
        return str(number)
    if re.fullmatch("0[ox][0-9a-fA-F]+", number):
        return str(int(number, 0))
    if re.fullmatch("[-+]?[0-9]+", number):
        return str(int(number))
    return _finite(float(number.lower().replace(".inf", "inf").replace(".nan", "nan")))
