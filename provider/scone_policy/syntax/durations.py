"""Lengths of time as the session language writes them: `90 days`, `59d`, `1 year`, `24h`."""

import re

from scone_policy.errors import RuleError

_UNITS = {
    1: "s|sec|secs|second|seconds",
    60: "m|min|mins|minute|minutes",
    3600: "h|hr|hrs|hour|hours",
    86_400: "d|day|days",
    604_800: "w|week|weeks",
    2_630_016: "M|month|months",
    31_557_600: "y|yr|yrs|year|years",
}
_SECONDS = {unit: seconds for seconds, units in _UNITS.items() for unit in units.split("|")}
_TERM = re.compile(r"([0-9]{1,9})\s*([A-Za-z]+)\s*")
_LONGEST = 100 * 31_557_600
_RULE = 'must be a length of time such as "90 days", "59d", "1 year" or "24h"'
_FIX = "Write a whole number and a unit: s, min, h, days, weeks, months, years."


def seconds(written: str) -> int:
    """The length in seconds, at most 100 years. Raises ValueError with the rule."""
    total, end = 0, 0
    for match in _TERM.finditer(written):
        if match.start() != end or match[2] not in _SECONDS:
            raise RuleError(_RULE, fix=_FIX)
        total += int(match[1]) * _SECONDS[match[2]]
        end = match.end()
    if end != len(written) or not total > 0:
        raise RuleError(_RULE, fix=_FIX)
    if total > _LONGEST:
        raise RuleError("must be at most 100 years", fix="Leave it out: then there is no end.")
    return total
