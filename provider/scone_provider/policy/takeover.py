"""A resource is created and its policy is at CAS already: may it have it, and how is that written down?"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from scone_policy.model.session import Session
from scone_provider.errors import CasError
from scone_provider.policy.loss import keys_made_anew
from scone_provider.policy.owners import Owner, Owners, owners, without_owners

_KEEP_THE_OLD = (
    "keep the resource that has it: opts=ResourceOptions(aliases=[Alias(name='its old name')]), `pulumi state rename`, "
    "or `pulumi state move` for another stack"
)


class How(Enum):
    """What is to be done about a policy that is there."""

    NOTE = auto()
    """It is taken as it is, because a version that says whose it is would lose values."""
    WRITE = auto()
    """A successor says whose it is now."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A policy that is at CAS, seen by a resource that is created and wants it.

    The one that had it may be about to be deleted (another name, a replacement), may live in another stack, or may
    never have come into state, because the answer to its upload got lost: nothing tells these apart.
    `is_own_key`: the stack's key wrote it. `difference`: what the program would change, a line each, without secrets.
    """

    current: Session
    wanted: Session
    me: Owner
    is_own_key: bool
    adopt: bool
    difference: Sequence[str]

    @property
    def there(self) -> Owners:
        """Whose it is."""
        return owners(self.current)

    @property
    def is_ours(self) -> bool:
        """True when it says that it is this stack's."""
        return any(owner.is_of_stack(self.me) for owner in self.there)

    @property
    def anew(self) -> list[str]:
        """Private keys that a successor would make anew."""
        return keys_made_anew(without_owners(self.current), self.wanted)

    def judge(self, url: str) -> How:
        """How to take it. Raises CasError with the difference and the ways out where it may not be taken."""
        if not self.adopt and not self.is_ours and (self.difference or not self.is_own_key):
            raise self._refused(url)
        if not self.anew:
            return How.WRITE
        if not self.adopt or (self.there and not self.is_ours):
            raise self._would_lose()
        return How.WRITE if self.difference else How.NOTE

    def _refused(self, url: str) -> CasError:
        whose = "it belongs to another stack" if self.there else "it does not say that a resource of this stack made it"
        return CasError(
            f"a policy with this name is already at {url}, and {whose}"
            + (listing("this program would change", self.difference) or "; its content is the same"),
            where=self.wanted.name,
            fix="give adopt=True to take it over, or choose another name; "
            f"if only the resource's name or parent changed, {_KEEP_THE_OLD}",
        )

    def _would_lose(self) -> CasError:
        keys = ", ".join(f"secrets.{name}" for name in self.anew)
        ways = [
            _KEEP_THE_OLD,
            "for --replace or a taint, leave that out (`pulumi state untaint`): an update does all that it could",
            "or give those keys migrate: true first",
        ]
        if not self.there or self.is_ours:
            ways.append("or, where no resource has it, because an `up` was cut off, give adopt=True")
        return CasError(
            "this policy is there already. To take it over means a new version of it, for which CAS makes "
            f"{keys} anew, and the old values are lost",
            where=self.wanted.name,
            fix="; ".join(ways),
        )


def listing(title: str, lines: Sequence[str]) -> str:
    """The lines under a title, as the end of a sentence; empty for none."""
    return f"; {title}:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""
