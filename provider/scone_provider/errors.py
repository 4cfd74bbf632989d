"""Errors of the provider. The whole tree is drawn in `scone_policy.errors`."""

from scone_policy.errors import PolicyError, SconeError

__all__ = [
    "CasError",
    "DeployError",
    "ImageError",
    "ManifestError",
    "PolicyError",
    "PreviewError",
    "SconeError",
    "TrustError",
]


class ManifestError(SconeError):
    """A service manifest or a Meshfile breaks a rule, or asks for what is not supported."""


class PreviewError(SconeError):
    """A text is no preview, or one that cannot be reviewed."""


class TrustError(SconeError):
    """A CAS is not the one that was trusted, or its evidence is not tolerated."""


class CasError(SconeError):
    """A CAS refused a request or could not be reached."""


class ImageError(SconeError):
    """An image could not be resolved, built, pushed or removed."""


class DeployError(SconeError):
    """The deployment did not come up."""
