"""The bytes of the launcher that this package ships, checked against the digest that was recorded for them."""

import hashlib
import hmac
from importlib import resources

from scone_provider.errors import ImageError

_BINARY = "launcher-linux-amd64"
_RECORD = "launcher.sha256"


def launcher_bytes() -> bytes:
    """The static launcher for linux/amd64. Raises ImageError when it is missing or not the recorded one."""
    folder = resources.files("scone_provider.image")
    try:
        binary = (folder / _BINARY).read_bytes()
        recorded = (folder / _RECORD).read_text("ascii").split()[0]
    except (OSError, ValueError, IndexError):
        raise ImageError(
            "the launcher is not in this installation",
            where=f"scone_provider/image/{_BINARY}",
            fix="install a released wheel, or build it: python provider/launcher/hatch_build.py (needs Go)",
        ) from None
    if not hmac.compare_digest(hashlib.sha256(binary).hexdigest(), recorded):
        raise ImageError(
            "the launcher is not the one that was recorded for this version",
            where=f"scone_provider/image/{_BINARY}",
            fix="install the package again, or build it anew: python provider/launcher/hatch_build.py",
        )
    return binary
