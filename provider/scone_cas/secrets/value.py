"""A secret's value: its main form and its parts as bytes, and how the store writes them down."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from scone_cas.keys.signing_keys import SigningKey

CERTIFICATES = frozenset({"x509", "x509-ca"})
_BARE = frozenset({"ascii", "binary"})
"""Kinds whose values have no parts: stored as they are, as they always were."""
_CONTENT = ""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A secret's value as bytes, with the kind that decides how it is spelt.

    `content` is the value's main form, `more` what belongs to it by name:

    - ascii, binary: the bytes; jwt, aad-token: the token; config-fragment: its JSON text
    - private-key: PKCS#8 DER; public-key: SubjectPublicKeyInfo DER
    - x509, x509-ca: the certificate's DER; `private_key` (PKCS#8 DER, where it may be known) and `chain` (PEM, from
      the issuer to the root, empty when self-signed)
    - pgp-key: the transferable secret key (RFC 9580, section 10.2); `public_key`, the transferable public key

    `signer` is the key of a private-key, or of a certificate, that lives in a key store and only signs.
    """

    kind: str
    content: bytes = field(repr=False)
    more: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    signer: SigningKey | None = field(default=None, repr=False)

    @property
    def is_confined(self) -> bool:
        """True for a private key that nobody can have: then there is no content."""
        return self.kind == "private-key" and self.signer is not None


def to_stored(value: Value) -> bytes:
    """The bytes that the store seals. Raises ValueError for a key that is confined to a key store."""
    if value.is_confined:
        raise ValueError("a key in a key store is not stored")
    if value.kind in _BARE:
        return value.content
    parts = {_CONTENT: value.content, **value.more}
    return json.dumps({name: base64.b64encode(part).decode() for name, part in sorted(parts.items())}).encode()


def from_stored(kind: str, stored: bytes) -> Value:
    """The value that was stored for a secret of this kind."""
    if kind in _BARE:
        return Value(kind=kind, content=stored)
    parts = {name: base64.b64decode(part) for name, part in json.loads(stored).items()}
    return Value(kind=kind, content=parts.pop(_CONTENT), more=parts)
