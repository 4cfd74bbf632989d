"""Seals what the store must keep confidential: AES-256-GCM, bound to the place where the sealed bytes belong."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scone_policy.errors import SconeError

KEY_SIZE = 32
_NONCE_SIZE = 12


class Sealer:
    """Seals and opens under one key. Nonces are random: good for 2³² seals, far beyond a CAS's life."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError("a sealing key has 32 bytes")
        self._cipher = AESGCM(key)

    def seal(self, plaintext: bytes, *place: str) -> bytes:
        """Nonce and ciphertext. `place` names the row and column, so that sealed bytes cannot be moved elsewhere."""
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + self._cipher.encrypt(nonce, plaintext, _associated(place))

    def open(self, sealed: bytes, *place: str) -> bytes:
        """What was sealed for this place. Raises SconeError when it was not, or under another key."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], _associated(place))
        except (InvalidTag, ValueError):
            raise SconeError(
                f"a sealed {place[0]} does not open: the state was changed, or seal.key is another one",
                fix="restore the whole state directory from one backup",
            ) from None


def _associated(place: tuple[str, ...]) -> bytes:
    parts = [part.encode() for part in place]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
