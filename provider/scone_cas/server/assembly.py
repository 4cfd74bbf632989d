"""Puts the parts of a running CAS together from its state directory: the same in every process."""

import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from scone_cas import log
from scone_cas.api.client import ClientApi
from scone_cas.api.enclave import EnclaveApi
from scone_cas.attestation.challenges import Challenges
from scone_cas.attestation.leases import LIFETIME
from scone_cas.audit import recovery
from scone_cas.audit.audit_log import AuditLog
from scone_cas.audit.journal import NullJournal
from scone_cas.audit.rotation import DEFAULT_SIZE
from scone_cas.entra.client import Entra
from scone_cas.entra.settings import EntraSettings
from scone_cas.federation.peers import Peers
from scone_cas.federation.settings import PeerSettings
from scone_cas.identity.cas_evidence import CasEvidenceIssuer, measure
from scone_cas.identity.cas_identity import CasIdentity, TlsKey
from scone_cas.keystore.unseal import UnsealedKeys, first_identity, first_sealer, known_identity, sealer
from scone_cas.registry.sessions import SessionRegistry
from scone_cas.storage import timeline
from scone_cas.storage.database import Store
from scone_cas.storage.failures import storage_error
from scone_cas.storage.reserve import Reserve
from scone_cas.storage.rollback_counter import begin as rollback_counter_begin
from scone_cas.storage.rollback_counter import guard_of
from scone_cas.storage.sealing import KEY_SIZE
from scone_cas.storage.state_directory import prepare_directory
from scone_policy.errors import SconeError

_IDENTITY = "identity"
_ENTRA = "entra"
_CHALLENGE_KEY = "challenge key"
_SESSION_KEY = "session encryption key"
_PEERS = "peers"


@dataclass(frozen=True, kw_only=True)
class CasComponents:
    """A CAS without its ports."""

    identity: CasIdentity
    tls: TlsKey
    client_api: ClientApi
    enclave_api: EnclaveApi
    challenges: Challenges
    journal: AuditLog | NullJournal


def initialise(
    directory: Path,
    *,
    now: datetime | None = None,
    random: bytes,
    audit_log: bool = True,
    audit_log_size: int = DEFAULT_SIZE,
    entra: EntraSettings | None = None,
    peers: PeerSettings | None = None,
    unlocked: UnsealedKeys | None = None,
    machine: timeline.Machine | None = None,
    rollback_counter: Path | None = None,
    accept_rollback: bool = False,
) -> CasIdentity:
    """Make or check the state of a CAS that starts, and void the challenges of its last run. Raises SconeError.

    `random`: 32 fresh random bytes, the key of this run's challenges. `audit_log_size`, in bytes: when the next file of
    the log is begun. Without `audit_log` nothing is recorded until the next start. `peers` is what this run knows of
    other CASes, `unlocked` the key store, where there is one. The caller holds the lock, and calls `finish` at the end.
    """
    if len(random) != KEY_SIZE:
        raise ValueError("a challenge key has 32 bytes")
    prepare_directory(directory)
    reserve = Reserve(directory)
    reserve.release()
    try:
        identity = _initialise(
            directory,
            now or _now(),
            random,
            audit_log=audit_log_size if audit_log else None,
            settings={
                _ENTRA: (entra or EntraSettings()).to_json(),
                _PEERS: (peers or PeerSettings()).to_json(),
            },
            unlocked=unlocked,
            machine=machine,
            counter=(rollback_counter, accept_rollback),
        )
    except (OSError, sqlite3.Error) as problem:
        disk = storage_error(problem, where=str(directory))
        if disk is not None and disk.is_full:
            raise disk from None
        raise SconeError(
            f"the state cannot be written: {problem}", where=str(directory), fix="look at the disk and its permissions"
        ) from None
    reserve.fill()
    return identity


def _initialise(
    directory: Path,
    now: datetime,
    random: bytes,
    *,
    audit_log: int | None,
    settings: Mapping[str, bytes],
    unlocked: UnsealedKeys | None,
    machine: timeline.Machine | None,
    counter: tuple[Path | None, bool],
) -> CasIdentity:
    store = Store(directory, first_sealer(directory, unlocked))
    try:
        store.initialise({_IDENTITY: first_identity(unlocked, now=now)})
        with store.writing():
            store.keep(_CHALLENGE_KEY, random)
            if not store.keeps(_SESSION_KEY):
                store.keep(_SESSION_KEY, X25519PrivateKey.generate().private_bytes_raw())
            for name, value in settings.items():
                store.keep(name, value)
        Challenges.reset(directory)
        identity = known_identity(store.kept(_IDENTITY), unlocked)
        place, accept = counter
        rolled_back = rollback_counter_begin(store, place, identity.key_hash, accept=accept)
        jump = timeline.begin(store, machine or timeline.Machine.read(), longest_lease=LIFETIME)
        recovery.begin(directory, store, identity, size=audit_log, clock=lambda: now)
        if rolled_back:
            log.event("rollback-accepted")
            _record(directory, store, "rollback_accepted")
        if jump is not None:
            _tell_jump(directory, store, jump)
        return identity
    finally:
        store.close()


def finish(directory: Path, *, reason: str, unlocked: UnsealedKeys | None = None) -> None:
    """Record the end of a CAS whose other processes have ended. `reason`: stopped or failed. Raises SconeError."""
    store = Store(directory, sealer(directory, unlocked))
    try:
        recovery.end(directory, store, reason=reason, clock=_now)
    finally:
        store.close()


def tell_moved_clock(directory: Path, seconds: float, *, unlocked: UnsealedKeys | None = None) -> None:
    """Say that the clock was moved while the CAS runs, in its log and the audit log. Raises SconeError."""
    store = Store(directory, sealer(directory, unlocked))
    try:
        _tell_jump(directory, store, seconds)
    finally:
        store.close()


def _tell_jump(directory: Path, store: Store, seconds: float) -> None:
    log.event("clock-jumped", seconds=round(seconds, 1))
    _record(directory, store, "clock_jumped", seconds=round(seconds))


def _record(directory: Path, store: Store, event: str, **fields: object) -> None:
    journal = recovery.opened(directory, store, clock=_now)
    try:
        journal.record(event, **fields)
    finally:
        journal.close()


def assemble(
    directory: Path,
    *,
    clock: Callable[[], datetime] | None = None,
    steady: Callable[[], datetime] | None = None,
    unlocked: UnsealedKeys | None = None,
) -> CasComponents:
    """The parts over an initialised state. Raises SconeError.

    `clock` is the system's unless given; `steady`, which never jumps, the state's own, or `clock` where that is given.

    Asks nothing of the key store yet: the token's session must not be carried over a fork.
    """
    store = Store(directory, sealer(directory, unlocked))
    steady = steady or clock or timeline.steady_clock(store)
    clock = clock or _now
    key_store = unlocked.key_store() if unlocked is not None else None
    identity = known_identity(store.kept(_IDENTITY), unlocked, key_store)
    tls = unlocked.tls if unlocked is not None and unlocked.tls is not None else identity.tls
    session_key = X25519PrivateKey.from_private_bytes(store.kept(_SESSION_KEY))
    challenges = Challenges(directory, store.kept(_CHALLENGE_KEY), clock=time.monotonic)
    store.guard = guard_of(store, identity.key_hash)
    # Opens its file with the first entry: processes are forked before that.
    journal = recovery.opened(directory, store, clock=clock)
    entra = EntraSettings.from_json(store.kept(_ENTRA)) if store.keeps(_ENTRA) else EntraSettings()
    peers = Peers(PeerSettings.from_json(store.kept(_PEERS)), identity, tls)
    sessions = SessionRegistry(store, journal, clock=clock, entra=Entra(entra), peers=peers, key_store=key_store)
    # Processes are forked and threads started after this; SQLite connections must not be carried over.
    store.close()
    return CasComponents(
        identity=identity,
        tls=tls,
        client_api=ClientApi(
            sessions, CasEvidenceIssuer(identity, measure(), session_key.public_key(), tls), session_key, journal
        ),
        enclave_api=EnclaveApi(store, sessions, challenges, journal, clock=clock, steady=steady),
        challenges=challenges,
        journal=journal,
    )


def _now() -> datetime:
    return datetime.now(UTC)
