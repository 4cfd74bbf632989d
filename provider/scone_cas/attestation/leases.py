"""Leases of attested enclaves: what lets an enclave speak to CAS again, and what tells that a singleton runs.

A lease is a key that only the enclave and CAS know. It ends when the enclave says so, or 300 seconds after its last
message. Whoever cannot speak again (the software launcher, which becomes the program) gets none; as a singleton it
holds its service for the time that a start takes, and nobody knows of it after that.
"""

import base64
import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from scone_cas.attestation.evidence import Message
from scone_cas.errors import EnclaveRefusal
from scone_cas.storage.database import Store

LIFETIME = 300
"""Seconds after the last message."""
START = 20
"""Seconds for which a start without a lease holds a singleton service."""

_REQUEST = b"pulumi-scone lease request v1\0"
_ANSWER = b"pulumi-scone lease answer v1\0"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who attested: the service and what its evidence said, by which it is judged again with every message."""

    session: str
    service: str
    measurement: str
    quoting_key: bytes


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A lease as stored. `number` is that of the last message; `expires` is a time of the state, in seconds."""

    id: str
    holder: Holder
    key: bytes = field(repr=False)
    number: int
    expires: int

    def checks(self, route: str, message: Message) -> bool:
        """True when the holder of the key said this, on this route."""
        return hmac.compare_digest(message.mac, _mac(self.key, _REQUEST + route.encode() + b"\0", message.body))

    def answer(self, message: Message, content: dict[str, object]) -> dict[str, object]:
        """An answer to a message that only CAS can give, and only to this message."""
        body = json.dumps(content).encode()
        mac = _mac(self.key, _ANSWER + hashlib.sha256(message.body).digest(), body)
        return {"body": base64.b64encode(body).decode(), "mac": base64.b64encode(mac).decode()}


class Leases:
    """The leases in a store. `clock` tells a time that never jumps: no clock that is set ends or prolongs a lease."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def take(self, holder: Holder, *, singleton: bool, renewable: bool) -> Lease | None:
        """A new lease for who can renew it; None for who cannot. Raises EnclaveRefusal when a singleton runs."""
        if not singleton and not renewable:
            return None
        now = self._now()
        lease = Lease(
            id=secrets.token_hex(16),
            holder=holder,
            key=secrets.token_bytes(32),
            number=0,
            expires=now + (LIFETIME if renewable else START),
        )
        with self._store.writing() as db:
            db.execute("DELETE FROM lease WHERE expires <= ?", (now,))
            if singleton:
                self._only(db, holder, now)
            self._put(db, lease)
        return lease if renewable else None

    def find(self, lease_id: str, route: str, message: Message) -> Lease:
        """The live lease under which a message was made. Raises EnclaveRefusal.

        Inside `Store.writing()` the number of the message counts as used when that commits.
        """
        row = self._store.row("SELECT session, service, expires, number, sealed FROM lease WHERE id = ?", lease_id)
        # One refusal for both: an id alone must not tell whether its lease lives.
        unknown = EnclaveRefusal("bad_lease", "the lease has ended, or the message was not made under it")
        if row is None or row[2] <= self._now():
            raise unknown
        session, service, expires, number, sealed = row
        kept = json.loads(self._store.open(sealed, "lease", lease_id, session, service))
        holder = Holder(
            session=session,
            service=service,
            measurement=kept["measurement"],
            quoting_key=bytes.fromhex(kept["quoting_key"]),
        )
        lease = Lease(id=lease_id, holder=holder, key=bytes.fromhex(kept["key"]), number=number, expires=expires)
        if not lease.checks(route, message):
            raise unknown
        return lease

    def renew(self, db: sqlite3.Connection, lease: Lease, number: int) -> None:
        """Use the number of a message up: the lease lives on from now. Raises EnclaveRefusal for an old number."""
        self._count(lease, number)
        db.execute("UPDATE lease SET number = ?, expires = ? WHERE id = ?", (number, self._now() + LIFETIME, lease.id))

    def end(self, db: sqlite3.Connection, lease: Lease, number: int) -> None:
        """The lease is over. Raises EnclaveRefusal for an old number."""
        self._count(lease, number)
        db.execute("DELETE FROM lease WHERE id = ?", (lease.id,))

    def _count(self, lease: Lease, number: int) -> None:
        if number <= lease.number:
            raise EnclaveRefusal("bad_lease", "a message with this number, or a later one, came before")

    def _only(self, db: sqlite3.Connection, holder: Holder, now: int) -> None:
        row = db.execute(
            "SELECT max(expires) FROM lease WHERE session = ? AND service = ?", (holder.session, holder.service)
        ).fetchone()
        if row[0] is not None:
            raise EnclaveRefusal(
                "already_running",
                f"only one enclave of the service may run, and one does; if it is not heard of again, that counts for "
                f"{row[0] - now} more seconds",
            )

    def _put(self, db: sqlite3.Connection, lease: Lease) -> None:
        holder = lease.holder
        kept = {
            "key": lease.key.hex(),
            "measurement": holder.measurement,
            "quoting_key": holder.quoting_key.hex(),
        }
        sealed = self._store.seal(json.dumps(kept).encode(), "lease", lease.id, holder.session, holder.service)
        db.execute(
            "INSERT INTO lease VALUES (?, ?, ?, ?, ?, ?)",
            (lease.id, holder.session, holder.service, lease.expires, lease.number, sealed),
        )

    def _now(self) -> int:
        return int(self._clock().timestamp())


def _mac(key: bytes, context: bytes, body: bytes) -> bytes:
    return hmac.digest(key, context + body, "sha256")
