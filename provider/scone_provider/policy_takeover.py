"""A resource is created and its policy is at CAS already: may it have it, and how is that written down?"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from scone_policy.session import Session
from scone_provider.errors import CasError
from scone_provider.policy_loss import keys_made_anew
from scone_provider.policy_owners import Owner, Owners, owners, without_owners

_KEEP_THE_OLD = (
    "keep the resource that has it: opts=ResourceOptions(aliases=[Alias(name='its old name')]), `pulumi state rename`, "
    "or `pulumi state move` for another stack"
)


class How(Enum):
    """What is to be done about a policy that is there."""

    RECALL = auto()
    """It is this very resource's, from an upload whose answer got lost: nothing is written."""
    NOTE = auto()
    """It is taken as it is, because a version that says whose it is would lose values."""
    WRITE = auto()
    """A successor says whose it is now."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A policy that is at CAS, seen by a resource that wants it.

    `is_own_key`: the stack's key wrote it. `is_held`: state had a resource with this policy when the run began.
    `difference`: what the program would change, a line each, without secret values.
    """

    current: Session
    wanted: Session
    me: Owner
    is_own_key: bool
    is_held: bool
    adopt: bool
    difference: Sequence[str]

    @property
    def there(self) -> Owners:
        """Whose it is."""
        return owners(self.current)

    @property
    def lost(self) -> Owner | None:
        """The mark of an earlier `create` of this very resource, of which state knows nothing."""
        if self.is_held or not self.is_own_key:
            return None
        return next((owner for owner in sorted(self.there) if owner.is_of_resource(self.me)), None)

    @property
    def anew(self) -> list[str]:
        """Private keys that a successor would make anew."""
        return keys_made_anew(without_owners(self.current), self.wanted)

    def judge(self, url: str) -> How:
        """How to take it. Raises CasError with the difference and the ways out where it may not be taken."""
        if self.lost and not self.difference:
            return How.RECALL
        is_ours = any(owner.is_of_stack(self.me) for owner in self.there)
        if not self.adopt and not is_ours and (self.difference or not self.is_own_key):
            raise self._refused(url)
        if not self.anew or self.lost:
            return How.WRITE
        if self.there or not self.adopt:
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
        fix = (
            "leave the replacement out (--replace; `pulumi state untaint` after a taint): an update does all that a "
            "replacement could"
            if self.is_held
            else _KEEP_THE_OLD
        )
        return CasError(
            "this policy has a resource already. To take it over means a new version of it, for which CAS makes "
            f"{keys} anew, and the old values are lost",
            where=self.wanted.name,
            fix=f"{fix}; or give those keys migrate: true first",
        )


def listing(title: str, lines: Sequence[str]) -> str:
    """The lines under a title, as the end of a sentence; empty for none."""
    return f"; {title}:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""
