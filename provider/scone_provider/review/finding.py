"""One thing that a reviewer should know, and in which order such things are told."""

from dataclasses import dataclass
from enum import StrEnum

from scone_policy.diff.change import UNKNOWN, Trust
from scone_policy.forms.canonical import canonical_json
from scone_policy.syntax.holes import has_hole


class Direction(StrEnum):
    """What a change does to trust, values and pods; the most important first."""

    WIDENS = "widens"
    REGENERATES = "regenerates"
    RESTARTS = "restarts"
    NARROWS = "narrows"
    CHANGES = "changes"
    NEUTRAL = "neutral"

    @classmethod
    def of(cls, trust: Trust) -> "Direction":
        """The direction of a difference between two policies."""
        return cls(str(trust))


ORDER = {direction: number for number, direction in enumerate(Direction)}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One change at `path` of `resource`, in words that hold no secret.

    `before` and `after` are None where nothing stood or stands; `service` is the service it concerns, `place` the
    file:line that describes it: both empty where they are not known. `digest`: of the policy that has a value which is
    hidden, so that an acceptance is for this one value.
    """

    direction: Direction
    resource: str
    path: str
    meaning: str
    before: object = None
    after: object = None
    service: str = ""
    place: str = ""
    digest: str = ""

    @property
    def rank(self) -> tuple[int, str, str, str, str]:
        """Where it stands among others: by importance, then by service and place in the resource."""
        return (ORDER[self.direction], self.service, self.resource, self.path, self.meaning)


def shown(value: object) -> str:
    """A value on one line, cut where it is long; what is not known yet says so."""
    if has_hole(value):
        return UNKNOWN
    text = value if isinstance(value, str) else canonical_json(value) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


_LONGEST = 160
