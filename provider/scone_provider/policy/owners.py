"""Who has a policy: marks in its text for the resources, of any stack, that it belongs to.

A CAS sees the text of a session and its chain of versions, nothing of stacks. So each version that we write carries a
mark for each owner: an image of that name without files, volumes and secrets, which no service has. It gives nobody
anything, and any CAS takes it. State, previews and digests never show it.
"""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from scone_policy.model.images import Image
from scone_policy.model.session import Session

UNKNOWN = "0" * 16
"""The stack of an owner whose program did not say it."""
_MARK = re.compile("pulumi-owner-([0-9a-f]{16})-([0-9a-f]{16})")


@dataclass(frozen=True, kw_only=True, order=True)
class Owner:
    """One life of a resource, from its creation to its deletion. `stack`: its name hashed, 16 hex digits."""

    stack: str = UNKNOWN
    life: str = field(default_factory=lambda: secrets.token_hex(8))

    def __str__(self) -> str:
        return f"pulumi-owner-{self.stack}-{self.life}"

    @classmethod
    def of(cls, text: object) -> Self | None:
        """The owner that a mark names; None for any other text."""
        found = _MARK.fullmatch(text) if isinstance(text, str) else None
        return cls(stack=found[1], life=found[2]) if found else None

    def is_of_stack(self, other: "Owner") -> bool:
        """True when both are known to be of one stack."""
        return self.stack == other.stack != UNKNOWN


Owners = frozenset[Owner]


def owners(session: Session) -> Owners:
    """Whom a version belongs to; empty for what was written by hand, or before there were marks."""
    return frozenset(owner for name in session.images if (owner := Owner.of(name)))


def without_owners(session: Session) -> Session:
    """What a version says, without its marks."""
    images = {name: image for name, image in session.images.items() if not Owner.of(name)}
    return session.model_copy(update={"images": images}) if len(images) < len(session.images) else session


def marked(session: Session, whom: Iterable[Owner]) -> Session:
    """The session with marks for exactly these owners."""
    plain = without_owners(session)
    return plain.model_copy(update={"images": {**plain.images, **{str(owner): Image() for owner in sorted(whom)}}})


def with_taker(there: Owners, taker: Owner, *, adopt: bool = False) -> Owners:
    """The owners once `taker` has taken a policy over: all of them, until each is deleted.

    With `adopt` it takes the place of those of its own stack, which may be gone without a trace.
    """
    return frozenset(owner for owner in there if not (adopt and owner.is_of_stack(taker))) | {taker}
