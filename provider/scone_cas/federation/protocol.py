"""What two CASes say to each other about a secret, and how the one that asks judges the other (docs/cas-sharing.md)."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509

from scone_cas.errors import RequestError
from scone_cas.secrets.public_form import check_form, from_public_form
from scone_cas.secrets.value import Value
from scone_cas.strict_json import MalformedError, read_object
from scone_policy.keys.cas_evidence import EvidenceError, Flaw, check_software, verify_evidence
from scone_policy.model.secret_kinds import KINDS
from scone_policy.syntax.names import is_segment, session_name
from scone_policy.syntax.strict_json import decode

ROUTE = "/v1/shared_secrets"
LARGEST_ANSWER = 2 * 1024 * 1024
_HASH = re.compile("[0-9a-f]{64}")
_MOST_PARTS = 16
_NO_JSON = "answers something that is no JSON"
_NO_OBJECT = "answers something else than was asked"
_FLAWS = {
    Flaw.NO_JSON: _NO_JSON,
    Flaw.NO_OBJECT: _NO_OBJECT,
    Flaw.UNREADABLE: "gives no evidence that can be read",
    Flaw.FORMAT: "gives evidence of a format that cannot be judged here: import with its cas_key instead",
    Flaw.CLAIMS: "gives evidence that lacks a claim of its format, or has a wrong one",
    Flaw.CERTIFICATE: "presents a certificate that ",
    Flaw.CAS_KEY: "gives evidence for another key than its TLS key",
    Flaw.SIGNATURE: "gives evidence whose signature does not verify",
    Flaw.NONCE: "gives evidence that is not fresh",
    Flaw.CONTRADICTION: "gives evidence that contradicts itself",
    Flaw.DEBUG: "gives evidence of a debug enclave, which anybody can forge: "
    "tolerate debug-mode in the importing session, or import with its cas_key",
}
"""What is said of a CAS whose evidence has that flaw."""


class PeerError(RequestError):
    """Another CAS is not the one that was trusted, or does not do its part. The text says what, without secrets."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The request: which secret, and the session that imports it with its hash (64 hex digits)."""

    session: str
    secret: str
    importer: str
    importer_hash: str

    @classmethod
    def read(cls, body: bytes) -> "Ask":
        """From a request's body. Raises MalformedError."""
        found = read_object(body, {"session": str, "secret": str, "importer": str, "importer_hash": str})
        for key in ("session", "importer"):
            try:
                session_name(found[key])
            except ValueError as problem:
                raise MalformedError(f"{key} {problem}") from None
        if not is_segment(found["secret"]):
            raise MalformedError("secret is not the name of one")
        if not _HASH.fullmatch(found["importer_hash"]):
            raise MalformedError("importer_hash does not have 64 hex digits")
        return cls(**found)

    def write(self) -> bytes:
        """The request's body."""
        return json.dumps(vars(self)).encode()


@dataclass(frozen=True, kw_only=True)
class Shared:
    """The answer: the value, and the hash of the session that exports it."""

    value: Value = field(repr=False)
    session_hash: str

    @classmethod
    def read(cls, body: bytes) -> "Shared":
        """From an answer's body. Raises PeerError."""
        try:
            found = read_object(body, {"hash": str, "kind": str, "content": str, "more": dict})
            more = {str(name): _bytes(part) for name, part in found["more"].items()}
            value = Value(kind=found["kind"], content=_bytes(found["content"]), more=more)
            check_form(value)
        except (MalformedError, ValueError, TypeError):
            raise PeerError("answers something that is no secret") from None
        if not _HASH.fullmatch(found["hash"]) or found["kind"] not in KINDS or len(more) > _MOST_PARTS:
            raise PeerError("answers something that is no secret")
        return cls(value=value, session_hash=found["hash"])

    def written(self) -> dict[str, object]:
        """The answer's content."""
        more = {name: base64.b64encode(part).decode() for name, part in sorted(self.value.more.items())}
        content = base64.b64encode(self.value.content).decode()
        return {"hash": self.session_hash, "kind": self.value.kind, "content": content, "more": more}


def read_public(body: bytes, secret: str, kind: str | None) -> Value:
    """A secret out of the answer of `/v1/values`: of one secret where the kind is known, else of all of a session.

    Raises PeerError.
    """
    found = _object(body)
    entry = found if kind is not None else _map(_map(found.get("values")).get(secret))
    told, text = kind or entry.get("kind"), entry.get("value")
    if not isinstance(told, str) or not isinstance(text, str):
        raise PeerError(f"does not tell kind and value of '{secret}'")
    try:
        return from_public_form(told, text)
    except ValueError as problem:
        raise PeerError(f"shows '{secret}', but it is {problem}") from None


def judge_evidence(
    answer: bytes, *, certificate: x509.Certificate, nonce: str, expected: str, tolerates_debug: bool
) -> None:
    """Evidence of the CAS at the other end of this very connection. Raises PeerError unless it is that software."""
    found = None
    try:
        found = verify_evidence(answer, certificate=certificate, nonce=nonce, now=datetime.now(UTC))
        check_software(found, expected=expected, tolerates_debug=tolerates_debug)
    except EvidenceError as problem:
        if found is not None and problem.flaw is Flaw.SOFTWARE:
            said = f"runs other software ({found.software_key}) than cas_software_key says ({expected})"
        else:
            said = _FLAWS[problem.flaw] + str(problem)
        raise PeerError(said) from None


def _object(text: bytes) -> Mapping[str, object]:
    try:
        return _map(decode(text))
    except ValueError:
        raise PeerError(_NO_JSON) from None


def _map(found: object) -> Mapping[str, object]:
    if not isinstance(found, dict):
        raise PeerError(_NO_OBJECT)
    return found


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError from None
