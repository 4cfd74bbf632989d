"""Requests on the enclave port: their exact syntax, and the signature of evidence. Judges nothing."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from scone_cas.errors import RequestError

FORMAT = "scone-simulated-1"
_CONTEXT = b"pulumi-scone evidence v1\0"
_MEASUREMENT = re.compile("[0-9a-f]{64}")
_LONGEST_CONFIG_ID = 1024
_KEYS = {
    "format": str,
    "debug": bool,
    "challenge": str,
    "config_id": str,
    "measurement": str,
    "public_key": str,
    "quoting_key": str,
    "host_arguments": list,
    "host_environment": dict,
}
_MAY = {"accepts": list}
_LEASE = re.compile("[0-9a-f]{32}")
_LARGEST_NUMBER = 2**53


class MalformedError(RequestError):
    """The request is not of this protocol. The text says why, and quotes nothing."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a launcher says about itself. Sizes and syntax are right; nothing else is known to be true."""

    body: bytes
    signature: bytes
    countersigned: bool
    format: str
    debug: bool
    challenge: bytes
    config_id: str
    measurement: str
    public_key: bytes
    quoting_key: bytes
    host_arguments: tuple[str, ...]
    host_environment: Mapping[str, str]
    accepts: frozenset[str]

    def is_signed(self) -> bool:
        """True when the signature over the exact body verifies under the evidence's own quoting key."""
        try:
            Ed25519PublicKey.from_public_bytes(self.quoting_key).verify(self.signature, _CONTEXT + self.body)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Message:
    """What an enclave says under its lease. `lease` is 32 hex digits; nothing in it is known to be true yet."""

    lease: str
    body: bytes = field(repr=False)
    mac: bytes


def read_challenge_request(body: bytes) -> None:
    """Raises MalformedError unless the body is `{"protocol": 1}`."""
    request = read_object(body, {"protocol": int})
    if request["protocol"] != 1 or request["protocol"] is True:
        raise MalformedError("this CAS speaks protocol 1")


def read_evidence(body: bytes) -> Evidence:
    """The evidence in the body of an attest request. Raises MalformedError."""
    outer = read_object(body, {"evidence": dict})["evidence"]
    envelope = _keys(outer, {"body": str, "signature": str, "countersignatures": list})
    signed = _bytes(envelope, "body")
    claims = read_object(signed, _KEYS, _MAY)
    if not _MEASUREMENT.fullmatch(claims["measurement"]):
        raise MalformedError("measurement is not 64 hex digits")
    if len(claims["config_id"]) > _LONGEST_CONFIG_ID:
        raise MalformedError(f"config_id has more than {_LONGEST_CONFIG_ID} characters")
    host = [*claims["host_arguments"], *claims["host_environment"].values(), *claims["host_environment"]]
    if not all(isinstance(item, str) and "\0" not in item for item in host):
        raise MalformedError("host values are not texts without NUL")
    accepts = claims.get("accepts", [])
    if not all(isinstance(word, str) for word in accepts):
        raise MalformedError("accepts is not a list of words")
    return Evidence(
        body=signed,
        signature=_bytes(envelope, "signature", size=64),
        countersigned=bool(envelope["countersignatures"]),
        format=claims["format"],
        debug=claims["debug"],
        challenge=_bytes(claims, "challenge", size=32),
        config_id=claims["config_id"],
        measurement=claims["measurement"],
        public_key=_bytes(claims, "public_key", size=32),
        quoting_key=_bytes(claims, "quoting_key", size=32),
        host_arguments=tuple(claims["host_arguments"]),
        host_environment=claims["host_environment"],
        accepts=frozenset(accepts),
    )


def read_message(body: bytes) -> Message:
    """A message under a lease. Raises MalformedError."""
    outer = read_object(body, {"lease": str, "body": str, "mac": str})
    if not _LEASE.fullmatch(outer["lease"]):
        raise MalformedError("lease is not 32 hex digits")
    return Message(lease=outer["lease"], body=_bytes(outer, "body"), mac=_bytes(outer, "mac", size=32))


def read_said(message: Message, keys: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """What stands in a message: its `number` and these keys. Raises MalformedError."""
    found = read_object(message.body, {"number": int, **keys})
    if isinstance(found["number"], bool) or not 0 < found["number"] <= _LARGEST_NUMBER:
        raise MalformedError("number is not a whole number from 1 on")
    return found


def read_object(
    body: bytes, keys: Mapping[str, type | UnionType], may: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """A JSON object with exactly these keys, and those that it may have, each of its type. Raises MalformedError."""
    try:
        found = _DECODER.decode(body.decode("utf-8"))
        if b"\\u" in body:
            # Only an escape can bring half a character into text that was UTF-8.
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise MalformedError("not one JSON object in UTF-8") from None
    present = {key: kind for key, kind in (may or {}).items() if isinstance(found, dict) and key in found}
    return _keys(found, {**keys, **present} if present else keys)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _no_constant(_name: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)


def _keys(found: object, keys: Mapping[str, type | UnionType]) -> dict[str, Any]:
    if not isinstance(found, dict) or set(found) != set(keys):
        raise MalformedError(f"not an object with exactly the keys {', '.join(keys)}")
    for key, kind in keys.items():
        if not isinstance(found[key], kind):
            raise MalformedError(f"{key} is of the wrong type")
    return found


def _bytes(found: Mapping[str, object], key: str, *, size: int | None = None) -> bytes:
    try:
        value = base64.b64decode(str(found[key]), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError(f"{key} is not base64") from None
    if size is not None and len(value) != size:
        raise MalformedError(f"{key} does not have {size} bytes")
    return value
