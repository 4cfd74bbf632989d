"""Audit log and store agree: checked at a CAS's start, which also tells of the one change that a crash cut off."""

import base64
import json
import mmap
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scone_cas.audit import rotation
from scone_cas.audit.audit_log import AuditLog
from scone_cas.audit.entry import CHANGES, CONTINUED, FAILED, KEY_CONTEXT, BadEntryError, Entry, read_line
from scone_cas.audit.journal import NullJournal
from scone_cas.audit.verify import FINE, verify
from scone_cas.identity.cas_identity import CasIdentity
from scone_cas.storage.database import AUDIT_NOTE, Store
from scone_policy.errors import SconeError

_KEY = "audit key"
_SWITCH = "audit switch"
_SIZE = "audit log size"
_LINK = "audit link"

Clock = Callable[[], datetime]


def opened(directory: Path, store: Store, *, clock: Clock) -> AuditLog | NullJournal:
    """The journal of one process of a CAS that has started."""
    if store.kept(_SWITCH) == b"off":
        return NullJournal()
    return _log(directory, store, clock)


def begin(directory: Path, store: Store, identity: CasIdentity, *, size: int | None, clock: Clock) -> None:
    """Check the log against the store and record the start, for the only process there is. Raises SconeError.

    `size`, in bytes: when a file of the log has grown to that, the next one is begun. None: nothing is recorded.
    """
    with store.writing():
        if not store.keeps(_KEY):
            store.keep(_KEY, Ed25519PrivateKey.generate().private_bytes_raw())
        store.keep(_SWITCH, b"off" if size is None else b"on")
        store.keep(_SIZE, str(size or rotation.DEFAULT_SIZE).encode())
        audit_key = Ed25519PrivateKey.from_private_bytes(store.kept(_KEY))
        store.keep(_LINK, json.dumps(_audit_link(audit_key, identity)).encode())
    log = _log(directory, store, clock, create=True)
    try:
        rotation.tidy(directory)
        if size is not None:
            _begin(log, store, identity)
        else:
            _give_up_or_close(log, store, identity)
    finally:
        log.close()


def end(directory: Path, store: Store, *, reason: str, clock: Clock) -> None:
    """Record the end, when no other process writes any more. Raises SconeError."""
    log = opened(directory, store, clock=clock)
    entry = log.record("cas_exited", reason=reason)
    if isinstance(log, AuditLog) and entry is not None:
        _note(store, entry)
        log.close()


def _log(directory: Path, store: Store, clock: Clock, *, create: bool = False) -> AuditLog:
    return AuditLog(
        directory,
        Ed25519PrivateKey.from_private_bytes(store.kept(_KEY)),
        clock=clock,
        link=json.loads(store.kept(_LINK)),
        size=int(store.kept(_SIZE)),
        create=create,
    )


def _begin(log: AuditLog, store: Store, identity: CasIdentity) -> None:
    before = log.last()
    unfinished = _check(log, store, identity, before)
    entry = log.record_start()
    if before is None or before.event == "log_disabled":
        entry = log.record("log_enabled")
    for number in unfinished:
        entry = log.record("session_failed", of=number)
    _note(store, entry)


def _give_up_or_close(log: AuditLog, store: Store, identity: CasIdentity) -> None:
    if not log.path.exists() and not store.keeps(AUDIT_NOTE):
        return
    try:
        unfinished = _check(log, store, identity, log.last())
        log.record_start()
        for number in unfinished:
            log.record("session_failed", of=number)
        _note(store, log.record("log_disabled"))
    except SconeError:
        with store.writing():
            store.forget(AUDIT_NOTE)


def _note(store: Store, entry: Entry) -> None:
    with store.writing():
        store.keep(AUDIT_NOTE, entry.note.encode())


def _check(log: AuditLog, store: Store, identity: CasIdentity, last: Entry | None) -> list[int]:
    """The numbers of announced changes that did not happen: one at most. Raises SconeError when the log is not ours."""
    if not store.keeps(AUDIT_NOTE):
        if last is not None:
            _check_whole(log, identity)
        return []
    note = store.kept(AUDIT_NOTE)
    number, _, signature = note.decode().partition(":")
    try:
        with log.path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
            place = content.rfind(b'"signature":"%b"}\n' % signature.encode())
            begin, end = content.rfind(b"\n", 0, place) + 1, content.find(b"\n", place) + 1
            found = read_line(content[begin:end] if place >= 0 else content[: content.find(b"\n") + 1])
            ours = last is not None and log.signed(last) and log.signed(found)
            if ours and found.note.encode() == note:
                return list(_failed(content, end))
            if ours and found.event == CONTINUED and found.number > int(number):
                # What the store knows stands in a file before this one, which may have been moved away.
                return [failed for failed in _failed(content, 0) if failed > int(number)]
    except (OSError, ValueError, BadEntryError):
        pass
    raise SconeError(
        f"the audit log lacks entry {number}, which the store knows: it was shortened, replaced or lost",
        where=str(log.path),
        fix="restore it; or move what is there (audit.log, audit-*.log) away for inquiry, start once with "
        "--no-audit-log to give the old log up, and then as usual",
    )


def _failed(content: mmap.mmap, begin: int) -> Iterator[int]:
    """Changes announced after the entry that the store knows: the store would know them too, had they happened."""
    found: dict[int, None] = {}
    if begin == 0 and (carried := rotation.carried_change(content)) is not None:
        found[carried] = None
    for event in (*CHANGES, FAILED):
        place = content.find(b'"event":"%b"' % event.encode(), begin)
        while place >= 0:
            line = content.rfind(b"\n", 0, place) + 1
            after = content.find(b"\n", place) + 1
            entry = read_line(content[line:after])
            if entry.event in CHANGES:
                found[entry.number] = None
            elif entry.event == FAILED and isinstance(entry.fields.get("of"), int):
                found.pop(int(str(entry.fields["of"])), None)
            place = content.find(b'"event":"%b"' % event.encode(), after)
    yield from sorted(found)


def _check_whole(log: AuditLog, identity: CasIdentity) -> None:
    """A log that the store knows nothing of: left by a kill in the very first start, or somebody else's."""
    with log.path.open("rb") as file:
        verdict = verify(file, cas_key=identity.key_hash)
    if verdict.code != FINE:
        raise SconeError(
            f"the audit log that is there is not one of this CAS: {verdict.message}",
            where=str(log.path),
            fix="move it away: a new one is begun",
        )


def _audit_link(key: Ed25519PrivateKey, identity: CasIdentity) -> dict[str, object]:
    """The fields by which the identity says that the audit key is its own."""
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    spki = identity.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = identity.key.sign(KEY_CONTEXT + public, ec.ECDSA(hashes.SHA256()))
    return {
        "audit_key": _base64(public),
        "identity": _base64(spki),
        "identity_signature": _base64(signature),
    }


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
