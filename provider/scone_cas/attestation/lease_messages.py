"""What an attested enclave says later, under its lease: a new tag of a file system, that it lives, that it ends."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from scone_cas.attestation.appraisal import AppraisalPolicyCache
from scone_cas.attestation.evidence import Message, read_said
from scone_cas.attestation.leases import LIFETIME, Holder, Lease, Leases
from scone_cas.audit.journal import Journal
from scone_cas.audit.write_ahead import changing
from scone_cas.errors import EnclaveRefusal
from scone_cas.filesystems.tags import SERVICE, VOLUME, Tag, Tags, Update, service_tag, updated
from scone_cas.filesystems.volumes import EPHEMERAL, FREE, Mounted, mounted, state
from scone_cas.registry.sessions import SessionRegistry
from scone_cas.secrets.substitution import PlaceholderSubstituter
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_cas.storage.database import Store
from scone_cas.strict_json import MalformedError
from scone_policy.model.services import Service

_TAG = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a tag is kept, what it is now, and whether an update must name it; `event` with `fields` tells of it."""

    session: str
    kind: str
    name: str
    current: Tag
    free: bool
    event: str
    fields: dict[str, object]


class LeaseMessages:
    """Answers messages under leases. Safe for threads and for several processes on one store."""

    def __init__(
        self, store: Store, sessions: SessionRegistry, leases: Leases, terms: AppraisalPolicyCache, journal: Journal
    ) -> None:
        self._store, self._sessions, self._leases = store, sessions, leases
        self._terms, self._journal = terms, journal
        self._tags = Tags(store)
        self.routes: dict[str, Callable[[Message, str], dict[str, object]]] = {
            "/v1/enclave/tag": self._tag,
            "/v1/enclave/renew": self._renew,
            "/v1/enclave/exit": self._exit,
        }

    def filler(self, live: SessionSnapshot, measurement: str) -> PlaceholderSubstituter:
        """Puts the secrets of a session into its texts, as they are now for the service with that measurement."""
        view = self._sessions.view(measurement=measurement)
        return PlaceholderSubstituter(live.session, lambda name: view.value(live, name))

    def tag_of_service(self, live: SessionSnapshot, name: str, service: Service) -> str | None:
        """The tag of a service's own file system as it is now; None when it has none."""
        return None if service.fspf_key is None else service_tag(self._tags, live.session.name, name, service).tag

    def volumes(self, live: SessionSnapshot, name: str, measurement: str) -> list[dict[str, object]]:
        """The volumes of a service as they are delivered. Raises Refusal, and UndeliverableError."""
        return [self._delivered(mount, measurement) for mount in mounted(live, name, self._sessions.live)]

    def _delivered(self, mount: Mounted, measurement: str) -> dict[str, object]:
        now = state(self._tags, mount)
        key = now.key
        if key is None:
            assert mount.volume.fspf_key is not None
            fill = self.filler(mount.owner, measurement)
            key = fill.key(f"volume {mount.named}: fspf_key", mount.volume.fspf_key)
        return {
            "name": mount.named,
            "path": mount.path,
            "key": key,
            "tag": now.tag,
            "files": mount.files,
            "update_policy": mount.update_policy,
        }

    def _tag(self, message: Message, address: str) -> dict[str, object]:
        """Replace a tag: of all who name the same one as the one before, exactly one succeeds."""
        said = read_said(message, {"volume": str | None, "replaces": str | None, "tag": str})
        if not all(_TAG.fullmatch(tag) for tag in (said["tag"], said["replaces"]) if tag is not None):
            raise MalformedError("tag and replaces are not 32 hex digits")
        route = "/v1/enclave/tag"
        # Once before the store's one writer is taken: strangers must not keep it busy.
        self._expect(self._leases.find(message.lease, route, message).holder)
        with changing(self._store, self._journal) as change:
            lease = self._leases.find(message.lease, route, message)
            self._leases.renew(change.db, lease, said["number"])
            place = self._place(lease.holder, said["volume"])
            update = Update(tag=said["tag"], replaces=said["replaces"], by=lease.id, free=place.free)
            new = updated(place.current, update)
            if new is not None:
                self._tags.put(place.session, place.kind, place.name, new)
                change.announce(place.event, **place.fields, address=address)
        return _done(lease, message, said["number"])

    def _renew(self, message: Message, address: str) -> dict[str, object]:  # noqa: ARG002 - as the others
        said = read_said(message, {})
        route = "/v1/enclave/renew"
        self._expect(self._leases.find(message.lease, route, message).holder)
        with self._store.writing() as db:
            lease = self._leases.find(message.lease, route, message)
            self._leases.renew(db, lease, said["number"])
            self._judged(lease.holder)
        return _done(lease, message, said["number"])

    def _exit(self, message: Message, address: str) -> dict[str, object]:
        said = read_said(message, {"status": int | None})
        if said["status"] is not None and (isinstance(said["status"], bool) or not 0 <= said["status"] <= 255):
            raise MalformedError("status is not a number from 0 to 255")
        route = "/v1/enclave/exit"
        self._leases.find(message.lease, route, message)
        with self._store.writing() as db:
            lease = self._leases.find(message.lease, route, message)
            self._leases.end(db, lease, said["number"])
            holder = lease.holder
            self._journal.record(
                "service_exited", session=holder.session, service=holder.service, status=said["status"], address=address
            )
        return lease.answer(message, {"number": said["number"], "expires_in": 0})

    def _expect(self, holder: Holder) -> None:
        """Raises PendingFetch when something must be fetched to judge: no transaction waits for a network."""
        self._sessions.ready(holder.session, measurement=holder.measurement)

    def _judged(self, holder: Holder) -> tuple[SessionSnapshot, Service]:
        """The service as its newest policy has it, if that still takes the enclave. Raises EnclaveRefusal."""
        live = self._sessions.live(holder.session)
        service = live.session.services.get(holder.service) if live is not None else None
        if live is None or service is None:
            raise EnclaveRefusal("unknown_service", "the session has the service no longer")
        terms = self._terms.of(live, holder.service, self.filler(live, holder.measurement))
        terms.appraise(measurement=holder.measurement, quoting_key=holder.quoting_key)
        return live, service

    def _place(self, holder: Holder, volume: str | None) -> _Place:
        live, service = self._judged(holder)
        who: dict[str, object] = {"session": holder.session, "service": holder.service}
        if volume is None:
            if service.fspf_key is None:
                raise EnclaveRefusal("unknown_volume", "the service has no protected file system of its own")
            return _Place(
                session=holder.session,
                kind=SERVICE,
                name=holder.service,
                current=service_tag(self._tags, holder.session, holder.service, service),
                free=service.fspf_update_policy == FREE,
                event="service_tag_updated",
                fields=who,
            )
        # A volume may stand at several paths: who may write it at one of them may write it.
        mounts = [one for one in mounted(live, holder.service, self._sessions.live) if one.named == volume]
        if not mounts:
            raise EnclaveRefusal("unknown_volume", "the service has no such volume")
        policies = {mount.update_policy for mount in mounts} - {EPHEMERAL}
        if not policies:
            raise EnclaveRefusal("ephemeral", "the volume is ephemeral for this service: what it writes is not kept")
        mount = mounts[0]
        return _Place(
            session=mount.owner.session.name,
            kind=VOLUME,
            name=mount.name,
            current=state(self._tags, mount),
            free=policies == {FREE},
            event="volume_tag_updated",
            fields={"owner": mount.owner.session.name, "volume": mount.name, **who},
        )


def _done(lease: Lease, message: Message, number: int) -> dict[str, object]:
    return lease.answer(message, {"number": number, "expires_in": LIFETIME})
