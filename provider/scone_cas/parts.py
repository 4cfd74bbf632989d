"""Puts the parts of a running CAS together from its state directory: the same in every process."""

import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from scone_cas import audit_state
from scone_cas.attestation import Attestation, measure
from scone_cas.audit import AuditLog, Silent
from scone_cas.challenges import Challenges
from scone_cas.client_api import ClientApi
from scone_cas.enclave_api import EnclaveApi
from scone_cas.identity import CasIdentity
from scone_cas.seal import KEY_SIZE
from scone_cas.sessions import Sessions
from scone_cas.state import first_seal_key, prepare_directory, seal_key
from scone_cas.store import Store
from scone_policy.errors import SconeError

_IDENTITY = "identity"
_CHALLENGE_KEY = "challenge key"
_SESSION_KEY = "session encryption key"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A CAS without its ports."""

    identity: CasIdentity
    client_api: ClientApi
    enclave_api: EnclaveApi
    challenges: Challenges
    journal: AuditLog | Silent


def initialise(directory: Path, *, now: datetime | None = None, random: bytes, audit_log: bool = True) -> CasIdentity:
    """Make or check the state of a CAS that starts, and void the challenges of its last run. Raises SconeError.

    `random`: 32 fresh random bytes, the key of this run's challenges. Without `audit_log` nothing is recorded until
    the next start. The caller holds the lock, and calls `finish` at the end.
    """
    if len(random) != KEY_SIZE:
        raise ValueError("a challenge key has 32 bytes")
    prepare_directory(directory)
    try:
        return _initialise(directory, now or _now(), random, audit_log=audit_log)
    except (OSError, sqlite3.Error) as problem:
        raise SconeError(
            f"the state cannot be written: {problem}", where=str(directory), fix="look at the disk and its permissions"
        ) from None


def _initialise(directory: Path, now: datetime, random: bytes, *, audit_log: bool) -> CasIdentity:
    store = Store(directory, first_seal_key(directory))
    try:
        store.initialise({_IDENTITY: CasIdentity.create(now=now).to_pem()})
        with store.writing():
            store.keep(_CHALLENGE_KEY, random)
            if not store.keeps(_SESSION_KEY):
                store.keep(_SESSION_KEY, X25519PrivateKey.generate().private_bytes_raw())
        Challenges.reset(directory)
        identity = CasIdentity.from_pem(store.kept(_IDENTITY))
        audit_state.begin(directory, store, identity, enabled=audit_log, clock=lambda: now)
        return identity
    finally:
        store.close()


def finish(directory: Path, *, reason: str) -> None:
    """Record the end of a CAS whose other processes have ended. `reason`: stopped or failed. Raises SconeError."""
    store = Store(directory, seal_key(directory))
    try:
        audit_state.end(directory, store, reason=reason, clock=_now)
    finally:
        store.close()


def assemble(directory: Path) -> Parts:
    """The parts over an initialised state. Raises SconeError."""
    store = Store(directory, seal_key(directory))
    identity = CasIdentity.from_pem(store.kept(_IDENTITY))
    session_key = X25519PrivateKey.from_private_bytes(store.kept(_SESSION_KEY))
    challenges = Challenges(directory, store.kept(_CHALLENGE_KEY), clock=time.monotonic)
    # Opens its file with the first entry: processes are forked before that.
    journal = audit_state.opened(directory, store, clock=_now)
    sessions = Sessions(store, journal)
    # Processes are forked and threads started after this; SQLite connections must not be carried over.
    store.close()
    return Parts(
        identity=identity,
        client_api=ClientApi(
            sessions, Attestation(identity, measure(), session_key.public_key()), session_key, journal
        ),
        enclave_api=EnclaveApi(sessions, challenges, journal),
        challenges=challenges,
        journal=journal,
    )


def _now() -> datetime:
    return datetime.now(UTC)
