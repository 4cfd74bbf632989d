"""Values of secrets: generated inside the CAS, given, kept over updates, and spelt as placeholders ask (section 3)."""

import base64
import json
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field

from scone_policy.secrets import Secret
from scone_policy.session import Session

_CHARACTERS = string.ascii_letters + string.digits + string.punctuation
"""Printable ASCII without white space: about 6.5 bits a character."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A secret's value as bytes, with the kind that decides how it is spelt.

    `content` is the value's main form (DER for keys and certificates), `more` what belongs to it by name
    (a certificate's `private_key` and `chain`).
    """

    kind: str
    content: bytes = field(repr=False)
    more: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def generate(secret: Secret) -> bytes:
    """A fresh value of exactly the secret's size."""
    size = secret.size
    assert isinstance(size, int)
    if secret.kind == "binary":
        return secrets.token_bytes(size)
    return "".join(secrets.choice(_CHARACTERS) for _ in range(size)).encode()


def explicit(secret: Secret) -> bytes:
    """The value that the description gives: hex for binary, the text itself for ascii."""
    assert secret.value is not None
    return bytes.fromhex(secret.value) if secret.kind == "binary" else secret.value.encode()


def carried(session: Session, before: Session | None, kept: Mapping[str, bytes]) -> dict[str, bytes]:
    """The generated values of a session: kept where name, kind and size are as before, new otherwise."""
    found = {}
    for name, secret in session.secrets.items():
        if not secret.is_generated:
            continue
        old = before.secrets.get(name) if before is not None else None
        same = old is not None and old.is_generated and (old.kind, old.size) == (secret.kind, secret.size)
        found[name] = kept[name] if same else generate(secret)
    return found


def spell(value: Value, suffix: str, *, escape_json: bool) -> bytes:
    """The value in the form that a placeholder's suffix asks for. Raises ValueError when it cannot be spelt so."""
    written = _form(value, suffix)
    if not escape_json:
        return written
    try:
        return json.dumps(written.decode(), ensure_ascii=False)[1:-1].encode()
    except UnicodeDecodeError:
        raise ValueError("escape(json) needs text, and the value is not") from None


def public_form(value: Value) -> str:
    """What `/v1/values` shows: hex for binary, text for ascii."""
    return value.content.hex() if value.kind == "binary" else value.content.decode()


def _form(value: Value, suffix: str) -> bytes:
    content = value.content
    if value.kind != "binary" or suffix in ("", ":bin"):
        if suffix and value.kind != "binary":
            raise ValueError(f"the suffix {suffix} does not fit an {value.kind} secret")
        return content
    match suffix:
        case ":hex":
            return content.hex().encode()
        case ":base64":
            return base64.b64encode(content)
        case ":base64url":
            return base64.urlsafe_b64encode(content)
        case ":base32":
            return base64.b32encode(content)
        case ":base32nopad":
            return base64.b32encode(content).rstrip(b"=")
    raise ValueError(f"the suffix {suffix} does not fit a binary secret")
