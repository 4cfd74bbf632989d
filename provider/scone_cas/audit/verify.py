"""Judges an audit log by its bytes alone: complete, unbroken, and of the CAS it is said to be (docs/audit-log.md)."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import IO

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from scone_cas.audit.entry import (
    CONTINUED,
    ENTRY_CONTEXT,
    EVENTS,
    KEY_CONTEXT,
    LINKED,
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


_NOBODYS = "no cas_started in the file: nothing tells whose log it is"


class _Wrong(Exception):  # noqa: N818 - a verdict on its way
    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(code, message)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of a log: what to call it, and how to open it for reading from its beginning. It must be seekable."""

    name: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def verify(file: IO[bytes], *, cas_key: str | None = None, known: Known | None = None) -> Verdict:
    """The verdict on a log, read once from its beginning; the file must be seekable. Reads no line that is too long."""
    return verify_parts([Part(name="", open=lambda: nullcontext(file))], cas_key=cas_key, known=known)


def verify_parts(parts: Sequence[Part], *, cas_key: str | None = None, known: Known | None = None) -> Verdict:
    """The verdict on a log in several files, given in any order. Raises OSError for one that cannot be read."""
    reader = _Reader(cas_key, known)
    try:
        reader.read(parts if len(parts) == 1 else sorted(parts, key=_first_number))
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


def _first_number(part: Part) -> int:
    """What the files of a log are put in order by; what does not begin with an entry is read, and found wrong, last."""
    with part.open() as file:
        try:
            return read_line(next(_lines(file), b"")).number
        except BadEntryError:
            return sys.maxsize


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
        self._done: str | None = None

    def read(self, parts: Sequence[Part]) -> None:
        """Check line by line. Raises _Wrong at the first one that is."""
        self._find_key(parts)
        for part in parts:
            with part.open() as file:
                file.seek(0)
                for place, line in enumerate(_lines(file), start=1):
                    if self._torn:
                        # The last file alone may end within a line.
                        raise _Wrong(INVALID, f"the file before {part.name} ends within a line")
                    self._read_line(line, place, part.name)

    def _read_line(self, line: bytes, place: int, name: str) -> None:
        where = _where(name, place)
        if not line.endswith(b"\n"):
            if len(line) > LONGEST_LINE:
                raise _Wrong(INVALID, f"{where} is too long for an entry")
            self._torn = True
            return
        try:
            self._take(read_line(line), place, name)
        except BadEntryError as problem:
            raise _Wrong(INVALID, f"{where} is no entry: {problem}") from None

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

    def _find_key(self, parts: Sequence[Part]) -> None:
        """Before the first event that links it nothing names the key: a log without its beginning is read with it."""
        empty = True
        for part in parts:
            with part.open() as file:
                file.seek(0)
                for place, line in enumerate(_lines(file), start=1):
                    if not line.endswith(b"\n"):
                        if part is parts[-1]:
                            return
                        break
                    empty = False
                    try:
                        entry = read_line(line)
                        if entry.event in LINKED:
                            self._audit_key, _ = _linked(entry)
                            return
                    except BadEntryError as problem:
                        raise _Wrong(INVALID, f"{_where(part.name, place)} is no entry: {problem}") from None
        if not empty:
            raise _Wrong(UNKNOWN, _NOBODYS)

    def _take(self, entry: Entry, place: int, name: str) -> None:
        where = f"{_where(name, place)}, entry {entry.number}"
        cas_key = None
        if entry.event in LINKED:
            self._audit_key, cas_key = _linked(entry)
        if self._audit_key is None:
            raise _Wrong(UNKNOWN, _NOBODYS)
        try:
            self._audit_key.verify(decode(entry.signature), ENTRY_CONTEXT + entry.content)
        except InvalidSignature:
            raise _Wrong(INVALID, f"{where}: the signature is wrong") from None
        if cas_key is not None:
            self._identify(cas_key, where)
        if entry.event not in EVENTS:
            raise _Wrong(UNKNOWN, f"{where}: an event that this verifier does not know")
        self._follow(entry, where, is_begin=place == 1)
        if entry.event == STARTED and self._done not in (None, "cas_exited", "log_disabled"):
            self.crashes += 1
        if entry.event != CONTINUED:
            self._done = entry.event
        self.first = self.first or entry
        self.last = entry
        self.entries += 1

    def _identify(self, cas_key: str, where: str) -> None:
        for expected in (self._wanted_key, self.cas_key):
            if expected not in (None, cas_key):
                raise _Wrong(OTHER_CAS, f"{where}: the log of another CAS: expected {expected}, found {cas_key}")
        self.cas_key = cas_key

    def _follow(self, entry: Entry, where: str, *, is_begin: bool) -> None:
        """The entry is the next one of this history."""
        known = self._known
        if self.last is None:
            if (entry.number == 1) != (entry.previous == ""):
                raise _Wrong(ROLLBACK, f"{where}: number and previous signature belong to different histories")
            if known is not None and known.number == entry.number - 1:
                self._known_there = entry.previous
        elif entry.number > self.last.number + 1:
            missing = f"{where}: entries are missing after entry {self.last.number}"
            if is_begin:
                missing += f": the file that begins with entry {self.last.number + 1} is not there"
            raise _Wrong(MISSING, missing)
        elif entry.number <= self.last.number or entry.previous != self.last.signature:
            raise _Wrong(ROLLBACK, f"{where}: does not continue entry {self.last.number}: two histories in one file")
        if known is not None and known.number == entry.number:
            self._known_there = entry.signature


def _where(name: str, place: int) -> str:
    return f"{name}, line {place}" if name else f"line {place}"


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
