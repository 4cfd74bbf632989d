"""The `SCONE_*` variables that act before attestation and whose values are known: a wrong one would be ignored."""

import re

from scone_policy.syntax.placeholders import OPENING
from scone_provider.manifest.fields import is_open

_SIZE = (re.compile("[0-9]{1,18}[KMG]?", re.IGNORECASE), "a size such as 64M or 1G")
_RULES = {
    "SCONE_HEAP": _SIZE,
    "SCONE_STACK": _SIZE,
    "SCONE_MIN_HEAP": _SIZE,
    "SCONE_ALLOW_DLOPEN": (re.compile("[012]|yes|no|true|false", re.IGNORECASE), "0, 1 or 2"),
    "SCONE_MODE": (re.compile("hw|sim|auto", re.IGNORECASE), "hw, sim or auto"),
    "SCONE_LOG": (
        re.compile("[0-7]|trace|debug|info|notice|warn|warning|error|critical|fatal|off", re.IGNORECASE),
        "trace, debug, info, warning or error",
    ),
}


def value_rule(name: str, value: str) -> str:
    """What a value of this variable breaks, in words; empty for one that is in order, open, or of another variable."""
    if name not in _RULES or value == "" or is_open(value) or OPENING in value:
        return ""
    pattern, words = _RULES[name]
    return "" if pattern.fullmatch(value) else f"{name} must be {words}"
