"""Authenticated encryption of files and of the protection's root (docs/image-format.md, "Keys").

The nonce is a keyed digest of label and plaintext: deterministic, and a changed file never meets its old nonce.
"""

import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scone_provider.errors import ImageError
from scone_provider.image.protection.image_keys import ImageKeys

ROOT_LABEL = b"root"
OVERHEAD = 12 + 16  # nonce and authentication tag, bytes


def file_label(path: str, mode: int) -> bytes:
    """The label of an encrypted file: it binds the ciphertext to its absolute path and its mode."""
    return b"file\x00" + path.encode() + b"\x00" + f"{mode:04o}".encode()


def seal(keys: ImageKeys, label: bytes, plaintext: bytes) -> bytes:
    """Nonce, ciphertext and authentication tag; `OVERHEAD` bytes longer than `plaintext`."""
    nonce = hmac.digest(keys.nonces, struct.pack(">Q", len(label)) + label + plaintext, "sha256")[:12]
    return nonce + AESGCM(keys.encryption).encrypt(nonce, plaintext, label)


def unseal(encryption_key: bytes, label: bytes, sealed: bytes) -> bytes:
    """The plaintext. Raises ImageError when key, label or bytes are not those that were sealed."""
    try:
        return AESGCM(encryption_key).decrypt(sealed[:12], sealed[12:], label)
    except (InvalidTag, ValueError):
        raise ImageError("an encrypted file does not open: it was changed, or the key is another one") from None
