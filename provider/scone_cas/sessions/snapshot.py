"""A session as it stands: its newest version, parsed, with the values that are stored for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from scone_policy.model.session import Session, is_retired

FETCHED = frozenset({"aad-token", "jwt"})
"""Kinds that are fetched, or may be made from what is."""


@dataclass(frozen=True, kw_only=True)
class SessionSnapshot:
    """The newest version of a session, parsed, with the values it stores. Never changes: safe to share.

    `creator` is the key hash that CREATOR stands for, None where nothing refers to it. `maker` is that of whoever
    uploaded this version, None where it is not known.
    """

    hash: str
    number: int
    session: Session
    creator: str | None
    generated: Mapping[str, bytes] = field(repr=False)
    salted: bool = False
    maker: str | None = field(default=None, repr=False)

    @property
    def public_hash(self) -> str | None:
        """The hash where anyone may know it: a salt stands in the session, or in one that it replaced."""
        return self.hash if self.salted else None

    @property
    def retired(self) -> bool:
        """True when nothing is left in it."""
        return is_retired(self.session)

    @cached_property
    def reaches_out(self) -> bool:
        """True when services of it may receive what is imported, fetched, or made from what is."""
        secrets, volumes = self.session.secrets.values(), self.session.volumes.values()
        return any(one.import_ is not None or one.kind in FETCHED for one in secrets) or any(
            one.import_ is not None for one in volumes
        )
