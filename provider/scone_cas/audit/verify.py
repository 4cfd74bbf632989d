"""Judges an audit log by its bytes alone: complete, unbroken, and of the CAS it is said to be (docs/audit-log.md)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from scone_cas.audit.entry import (
    ENTRY_CONTEXT,
    EVENTS,
    KEY_CONTEXT,
    LONGEST_LINE,
    STARTED,
    BadEntryError,
    Entry,
    decode,
    is_signature,
    read_line,
)
from scone_policy.keys.key_hash import encode_key_hash

FINE = 0
FAILED_TRANSACTION = 10
TRUNCATED_RECENT = 14
TRUNCATED_OLD = 15
UNKNOWN = 16
MISSING = 17
ROLLBACK = 18
OTHER_CAS = 19
INVALID = 20


@dataclass(frozen=True, kw_only=True)
class Known:
    """An entry that is known from elsewhere: its number and signature, as an earlier verdict told them."""

    number: int
    signature: str

    @classmethod
    def parse(cls, text: str) -> "Known":
        """From `NUMBER:SIGNATURE`. Raises ValueError."""
        number, _, signature = text.partition(":")
        if not (number.isascii() and number.isdigit() and len(number) < 19 and is_signature(signature)):
            raise ValueError("not NUMBER:SIGNATURE as the verifier prints it")
        return cls(number=int(number), signature=signature)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`code` and what it means here. The rest tells of the entries before the first one that is wrong."""

    code: int
    message: str
    cas_key: str | None = None
    first: int | None = None
    last: str | None = None
    entries: int = 0
    crashes: int = 0


class _Wrong(Exception):  # noqa: N818 - a verdict on its way
    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(code, message)


def verify(file: IO[bytes], *, cas_key: str | None = None, known: Known | None = None) -> Verdict:
    """The verdict on a log, read once from its beginning; the file must be seekable. Reads no line that is too long."""
    reader = _Reader(cas_key, known)
    try:
        reader.read(file)
        code, message = reader.judge()
    except _Wrong as wrong:
        code, message = wrong.code, wrong.message
    return Verdict(
        code=code,
        message=message,
        cas_key=reader.cas_key,
        first=reader.first.number if reader.first else None,
        last=reader.last.note if reader.last else None,
        entries=reader.entries,
        crashes=reader.crashes,
    )


class _Reader:
    """Walks over the entries of one log."""

    def __init__(self, cas_key: str | None, known: Known | None) -> None:
        self.cas_key: str | None = None
        self.first: Entry | None = None
        self.last: Entry | None = None
        self.entries = self.crashes = 0
        self._wanted_key = cas_key
        self._known = known
        self._known_there: str | None = None
        self._audit_key: Ed25519PublicKey | None = None
        self._torn = False

    def read(self, file: IO[bytes]) -> None:
        """Check line by line. Raises _Wrong at the first one that is."""
        self._find_key(file)
        for place, line in enumerate(_lines(file), start=1):
            if not line.endswith(b"\n"):
                if len(line) > LONGEST_LINE:
                    raise _Wrong(INVALID, f"line {place} is too long for an entry")
                self._torn = True
                return
            try:
                self._take(read_line(line), place)
            except BadEntryError as problem:
                raise _Wrong(INVALID, f"line {place} is no entry: {problem}") from None

    def judge(self) -> tuple[int, str]:
        """What can be said at the end, when every entry was right."""
        if self.first is None or self.last is None:
            return MISSING, "the file holds no entry"
        known = self._known
        if known is not None and self._known_there not in (None, known.signature):
            return ROLLBACK, f"entry {known.number} is not the one that --last names: history was replaced"
        if self.first.number != 1:
            return TRUNCATED_OLD, f"complete from entry {self.first.number} on: older ones are not there"
        if known is not None and known.number > self.last.number:
            return TRUNCATED_RECENT, f"ends with entry {self.last.number}, before the one that --last names"
        if self._torn:
            return FAILED_TRANSACTION, f"complete up to entry {self.last.number}; the one after it was never finished"
        return FINE, "complete and unbroken"

    def _find_key(self, file: IO[bytes]) -> None:
        """Before the first start event nothing names the key: a log whose beginning was moved away is read with it."""
        file.seek(0)
        empty = True
        for place, line in enumerate(_lines(file), start=1):
            if not line.endswith(b"\n"):
                break
            empty = False
            try:
                entry = read_line(line)
                if entry.event == STARTED:
                    self._audit_key, _ = _linked(entry)
                    break
            except BadEntryError as problem:
                raise _Wrong(INVALID, f"line {place} is no entry: {problem}") from None
        else:
            if not empty:
                raise _Wrong(UNKNOWN, "no cas_started in the file: nothing tells whose log it is")
        file.seek(0)

    def _take(self, entry: Entry, place: int) -> None:
        where = f"line {place}, entry {entry.number}"
        cas_key = None
        if entry.event == STARTED:
            self._audit_key, cas_key = _linked(entry)
        if self._audit_key is None:
            raise _Wrong(UNKNOWN, "no cas_started in the file: nothing tells whose log it is")
        try:
            self._audit_key.verify(decode(entry.signature), ENTRY_CONTEXT + entry.content)
        except InvalidSignature:
            raise _Wrong(INVALID, f"{where}: the signature is wrong") from None
        if cas_key is not None:
            self._identify(cas_key, where)
        if entry.event not in EVENTS:
            raise _Wrong(UNKNOWN, f"{where}: an event that this verifier does not know")
        self._follow(entry, where)
        if entry.event == STARTED and self.last is not None and self.last.event not in ("cas_exited", "log_disabled"):
            self.crashes += 1
        self.first = self.first or entry
        self.last = entry
        self.entries += 1

    def _identify(self, cas_key: str, where: str) -> None:
        for expected in (self._wanted_key, self.cas_key):
            if expected not in (None, cas_key):
                raise _Wrong(OTHER_CAS, f"{where}: the log of another CAS: expected {expected}, found {cas_key}")
        self.cas_key = cas_key

    def _follow(self, entry: Entry, where: str) -> None:
        """The entry is the next one of this history."""
        known = self._known
        if self.last is None:
            if (entry.number == 1) != (entry.previous == ""):
                raise _Wrong(ROLLBACK, f"{where}: number and previous signature belong to different histories")
            if known is not None and known.number == entry.number - 1:
                self._known_there = entry.previous
        elif entry.number > self.last.number + 1:
            raise _Wrong(MISSING, f"{where}: entries are missing after entry {self.last.number}")
        elif entry.number <= self.last.number or entry.previous != self.last.signature:
            raise _Wrong(ROLLBACK, f"{where}: does not continue entry {self.last.number}: two histories in one file")
        if known is not None and known.number == entry.number:
            self._known_there = entry.signature


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines with their line feeds, cut one byte above the limit."""
    return iter(lambda: file.readline(LONGEST_LINE + 1), b"")


def _linked(entry: Entry) -> tuple[Ed25519PublicKey, str]:
    """Audit key and CAS key hash of a start event whose link verifies. Raises BadEntryError."""
    raw = decode(entry.fields.get("audit_key"), size=32)
    spki = decode(entry.fields.get("identity"))
    try:
        identity = load_der_public_key(spki)
        if not isinstance(identity, ec.EllipticCurvePublicKey) or not isinstance(identity.curve, ec.SECP256R1):
            raise BadEntryError("the identity is no P-256 key")
        written = identity.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if written != spki:
            raise BadEntryError("the identity is not in its one encoding")
        signature = decode(entry.fields.get("identity_signature"))
        identity.verify(signature, KEY_CONTEXT + raw, ec.ECDSA(hashes.SHA256()))
        key = Ed25519PublicKey.from_public_bytes(raw)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        raise BadEntryError("the identity's signature of the audit key is wrong") from None
    digest = hashes.Hash(hashes.SHA256())
    digest.update(spki)
    return key, encode_key_hash(digest.finalize())
