"""The keys of one image, derived from the stack's image key (docs/image-format.md, "Keys")."""

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scone_provider.errors import ImageError

_CONTEXT = b"pulumi-scone image v1\x00"


@dataclass(frozen=True, kw_only=True)
class ImageKeys:
    """Four independent keys of 32 bytes. None of them is in the repr."""

    encryption: bytes = field(repr=False)
    nonces: bytes = field(repr=False)
    names: bytes = field(repr=False)
    fingerprints: bytes = field(repr=False)

    @property
    def fspf_key(self) -> str:
        """What a service's policy delivers: the encryption key, 64 hex digits. A secret."""
        return self.encryption.hex()

    def blob_name(self, path: str) -> str:
        """The file name, 32 hex digits, under which the encrypted file `path` (absolute) lies in the image."""
        return hmac.digest(self.names, path.encode(), "sha256").hex()[:32]

    def fingerprint(self, content: bytes) -> str:
        """What stands for a file's content in state and previews, 64 hex digits: tells equal from changed, no more."""
        return hmac.digest(self.fingerprints, content, "sha256").hex()


def derive_keys(image_key: bytes, *, identity: str) -> ImageKeys:
    """The keys of the image whose repository path is `identity` (`Reference.repository`), from 32 bytes `image_key`."""
    if len(image_key) != 32:
        raise ImageError("the image key is not 32 bytes", where="scone:imageKey")

    def derive(purpose: str) -> bytes:
        info = _CONTEXT + identity.encode() + b"\x00" + purpose.encode()
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(image_key)

    return ImageKeys(
        encryption=derive("encryption"),
        nonces=derive("nonces"),
        names=derive("names"),
        fingerprints=derive("fingerprints"),
    )


def injected_name(path: str) -> str:
    """Where below `/.scone/memory` the injection file of the absolute `path` is written."""
    return "files/" + hashlib.sha256(path.encode()).hexdigest()[:32]
