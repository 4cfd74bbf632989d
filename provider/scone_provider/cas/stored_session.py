"""One version of a session, as a CAS keeps it."""

from dataclasses import dataclass, field

import scone_policy
from scone_policy.errors import PolicyError, SconeError
from scone_policy.model.session import Session
from scone_policy.syntax.yaml_source import load
from scone_provider.errors import CasError


@dataclass(frozen=True, kw_only=True)
class StoredSession:
    """One version of a session as the CAS keeps it. `hash` and `predecessor`: 64 hex digits."""

    name: str
    hash: str
    description_yaml: str = field(repr=False)
    predecessor: str | None = None

    def parsed(self) -> Session:
        """What it says. Raises CasError when this version of the program does not understand it."""
        try:
            return scone_policy.parse(self.description_yaml, file=f"CAS: {self.name}")
        except SconeError as error:
            raise CasError(
                f"CAS has a version of this policy that cannot be understood: {error}",
                where=self.name,
                fix="was it written by hand, with a newer session language? Upgrade pulumi-scone, or replace it there",
            ) from None


def predecessor_of(description: str, name: str) -> str | None:
    """What the description says itself: a field of the answer could differ from what was hashed. Raises CasError."""
    try:
        data = load(description).data
    except PolicyError:
        data = None
    if not isinstance(data, dict):
        raise CasError("the CAS answers a session description that cannot be read", where=name)
    found = data.get("predecessor")
    return str(found).lower() if found is not None else None
