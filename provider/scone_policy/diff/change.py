"""One difference between two policies, as a value and as a line of text that shows no secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from scone_policy.forms.canonical import canonical_json
from scone_policy.syntax.holes import has_hole

SECRET = "[secret]"  # noqa: S105 - what stands for a secret value
UNKNOWN = "[unknown]"
_LONGEST = 160


class Trust(StrEnum):
    """The direction of a change: more is trusted, less is trusted, something else is trusted, or trust is untouched."""

    WIDENS = "widens"
    NARROWS = "narrows"
    CHANGES = "changes"
    NEUTRAL = "neutral"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference at `path`. `before` or `after` is None where nothing stood or stands; both are free of secrets."""

    path: str
    before: object
    after: object
    trust: Trust
    meaning: str

    def __str__(self) -> str:
        sign = "+" if self.before is None else "-" if self.after is None else "~"
        values = " → ".join(_text(value) for value in (self.before, self.after) if value is not None)
        return f"{sign} {self.path}: {values} ({self.trust}: {self.meaning})"


def _text(value: object) -> str:
    if has_hole(value):
        return UNKNOWN
    if value in (SECRET, UNKNOWN):
        return str(value)
    text = canonical_json(value) if isinstance(value, Mapping | str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
