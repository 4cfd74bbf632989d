"""What uploads and listings of sessions lead to."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """What an upload led to. `number` counts the versions of the name from 1."""

    name: str
    hash: str
    number: int
    salted: bool

    @property
    def public_hash(self) -> str | None:
        """The hash where anyone may know it, for logs."""
        return self.hash if self.salted else None


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Names of sessions right below a namespace, in order; `following`: the last of them, if there are more."""

    names: tuple[str, ...]
    following: str | None
