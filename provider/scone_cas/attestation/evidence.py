"""Requests on the enclave port: their exact syntax, and the signature of evidence. Judges nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from scone_cas.strict_json import MalformedError, bytes_of, keys_of, read_object

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
    envelope = keys_of(outer, {"body": str, "signature": str, "countersignatures": list})
    signed = bytes_of(envelope, "body")
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
        signature=bytes_of(envelope, "signature", size=64),
        countersigned=bool(envelope["countersignatures"]),
        format=claims["format"],
        debug=claims["debug"],
        challenge=bytes_of(claims, "challenge", size=32),
        config_id=claims["config_id"],
        measurement=claims["measurement"],
        public_key=bytes_of(claims, "public_key", size=32),
        quoting_key=bytes_of(claims, "quoting_key", size=32),
        host_arguments=tuple(claims["host_arguments"]),
        host_environment=claims["host_environment"],
        accepts=frozenset(accepts),
    )


def read_message(body: bytes) -> Message:
    """A message under a lease. Raises MalformedError."""
    outer = read_object(body, {"lease": str, "body": str, "mac": str})
    if not _LEASE.fullmatch(outer["lease"]):
        raise MalformedError("lease is not 32 hex digits")
    return Message(lease=outer["lease"], body=bytes_of(outer, "body"), mac=bytes_of(outer, "mac", size=32))


def read_said(message: Message, keys: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """What stands in a message: its `number` and these keys. Raises MalformedError."""
    found = read_object(message.body, {"number": int, **keys})
    if isinstance(found["number"], bool) or not 0 < found["number"] <= _LARGEST_NUMBER:
        raise MalformedError("number is not a whole number from 1 on")
    return found
