"""Answers of a CAS that callers tell apart, below `CasError`."""

from scone_provider.errors import CasError


class CasConflict(CasError):  # noqa: N818 - reads as what happened
    """Somebody else was faster, or the name is taken: the predecessor is not the newest version."""


class CasForbidden(CasError):  # noqa: N818 - reads as what happened
    """The caller's key has no permission for this."""


class CasUnreachable(CasError):  # noqa: N818 - reads as what happened
    """No answer came. Whether an upload happened is then unknown."""
