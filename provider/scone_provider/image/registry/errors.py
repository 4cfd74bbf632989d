"""Why a registry does not do what it was asked."""

from scone_provider.errors import ImageError


class RegistryUnavailableError(ImageError):
    """A registry cannot be reached, or goes on answering that it is out of order."""


class DeniedError(ImageError):
    """A registry wants credentials that are not known here, or that its token service does not take."""


class UnsupportedError(ImageError):
    """A registry does not do what was asked, or not for us, whatever the login."""


class TransientError(Exception):
    """Something that may go away: the operation is tried again. Never leaves this package's network modules."""

    def __init__(self, why: str, *, retry_after: float = 0.0) -> None:
        self.why, self.retry_after = why, retry_after
        super().__init__(why)
