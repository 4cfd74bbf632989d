"""Shared secrets of one-time passwords: RFC 6238, six digits, 30 seconds (session language 0.3.8, section 7)."""

import base64
import binascii
from typing import Annotated

from pydantic import Field, PlainValidator

from scone_policy.errors import RuleError
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.placeholders import is_reference
from scone_policy.syntax.scalars import optional, text

_LEAST = 16


def shared_secret(value: object) -> str:
    """The secret in base32 of at least 128 bits, in capitals without padding, or a reference. Raises ValueError."""
    found = text(value).strip()
    if has_hole(found) or is_reference(found):
        return found
    found = found.upper().rstrip("=")
    try:
        size = len(base64.b32decode(found + "=" * (-len(found) % 8)))
    except binascii.Error:
        raise RuleError(
            "must be base32 (A to Z, 2 to 7), or a placeholder",
            fix="Have CAS make it: a binary secret of 20 bytes, and $$SCONE::name:base32nopad$$ here.",
        ) from None
    if size < _LEAST:
        raise RuleError(
            "must have at least 128 bits: 26 characters of base32", fix="Take a longer one: 32 characters are usual."
        )
    return found


OneTimePassword = Annotated[
    str | None, PlainValidator(optional(shared_secret), json_schema_input_type=str | None), Field(repr=False)
]
