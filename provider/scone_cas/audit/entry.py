"""Entries of the audit log as bytes: what is signed, how a line is spelt, and read again (docs/audit-log.md)."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scone_policy.syntax import strict_json

LONGEST_LINE = 8192
"""Bytes, with the line feed."""
ENTRY_CONTEXT = b"pulumi-scone audit v1\0"
KEY_CONTEXT = b"pulumi-scone audit key v1\0"

STARTED = "cas_started"
CONTINUED = "log_continued"
LINKED = (STARTED, CONTINUED)
"""Events that link the audit key to the CAS's identity."""
FAILED = "session_failed"
CHANGES = ("session_created", "session_updated", "service_tag_updated", "volume_tag_updated")
"""Events that announce a transaction of the store."""
EVENTS = frozenset(
    {
        *LINKED,
        "cas_exited",
        "log_enabled",
        "log_disabled",
        *CHANGES,
        FAILED,
        "session_read",
        "secret_shared",
        "certificate_renewed",
        "service_attested",
        "service_refused",
        "refusals_counted",
        "clock_jumped",
        "rollback_accepted",
        "service_exited",
    }
)

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_LINE = re.compile(rb'\{"entry":(\{.*\}),"signature":"([A-Za-z0-9+/]{86}==)"\}\n', re.DOTALL)
_SIGNATURE = re.compile("[A-Za-z0-9+/]{86}==")
_KEYS = {"number": int, "time": str, "event": str, "fields": dict, "previous": str}


class BadEntryError(Exception):
    """The bytes are no entry of the log. The text says why, and quotes nothing."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry. `content` is what was signed, after the context; signatures are base64, `previous` may be empty."""

    number: int
    event: str
    fields: Mapping[str, object]
    previous: str
    signature: str
    content: bytes

    @property
    def note(self) -> str:
        """`NUMBER:SIGNATURE`: names this entry and, by the chain, all before it."""
        return f"{self.number}:{self.signature}"


def write_line(
    key: Ed25519PrivateKey,
    *,
    number: int,
    time: datetime,
    event: str,
    fields: Mapping[str, object],
    previous: str,
) -> tuple[Entry, bytes]:
    """A signed entry and its line. Raises ValueError when the line would be too long."""
    content = _ENCODER.encode(
        {
            "number": number,
            "time": time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "event": event,
            "fields": fields,
            "previous": previous,
        }
    ).encode()
    signature = base64.b64encode(key.sign(ENTRY_CONTEXT + content))
    line = b'{"entry":%b,"signature":"%b"}\n' % (content, signature)
    if len(line) > LONGEST_LINE:
        raise ValueError(f"an entry of more than {LONGEST_LINE} bytes")
    entry = Entry(
        number=number, event=event, fields=fields, previous=previous, signature=signature.decode(), content=content
    )
    return entry, line


def read_line(line: bytes) -> Entry:
    """The entry in a line with its line feed. Its signature is not looked at. Raises BadEntryError."""
    found = _LINE.fullmatch(line)
    if found is None or len(line) > LONGEST_LINE:
        raise BadEntryError("not spelt like an entry")
    content, signature = found[1], found[2].decode()
    try:
        entry = strict_json.decode(content)
    except ValueError:
        raise BadEntryError("not a JSON object in UTF-8") from None
    assert isinstance(entry, dict)
    if list(entry) != list(_KEYS) or any(type(entry[name]) is not kind for name, kind in _KEYS.items()):
        raise BadEntryError("not exactly the keys of an entry")
    if entry["number"] < 1 or not (entry["previous"] == "" or is_signature(entry["previous"])):
        raise BadEntryError("a number or previous signature that cannot be")
    if not is_signature(signature):
        raise BadEntryError("a signature with trailing bits")
    return Entry(
        number=entry["number"],
        event=entry["event"],
        fields=entry["fields"],
        previous=entry["previous"],
        signature=signature,
        content=content,
    )


def is_signature(text: str) -> bool:
    """True for the one base64 spelling of 64 bytes."""
    return bool(_SIGNATURE.fullmatch(text)) and base64.b64encode(base64.b64decode(text)).decode() == text


def decode(text: object, *, size: int | None = None) -> bytes:
    """Base64 in its one spelling. Raises BadEntryError."""
    try:
        value = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise BadEntryError("not base64") from None
    if base64.b64encode(value).decode() != text or size not in (None, len(value)):
        raise BadEntryError("not base64 of the right size")
    return value
