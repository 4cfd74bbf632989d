"""The enclave port as a function of requests: attest, deliver, and what follows (docs/enclave-protocol.md)."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from scone_cas import log
from scone_cas.api import openapi
from scone_cas.api.http import Request, Response, document
from scone_cas.attestation import delivery
from scone_cas.attestation.appraisal import DECOY, AppraisalPolicyCache, not_taken
from scone_cas.attestation.challenges import LIFETIME as CHALLENGE_LIFETIME
from scone_cas.attestation.challenges import BadChallengeError, Challenges
from scone_cas.attestation.evidence import FORMAT, Evidence, read_challenge_request, read_evidence, read_message
from scone_cas.attestation.lease_messages import LeaseMessages
from scone_cas.attestation.leases import LIFETIME, Holder, Leases
from scone_cas.attestation.one_time_passwords import Passwords
from scone_cas.audit.journal import Journal, NullJournal
from scone_cas.audit.refusals import RefusalJournal
from scone_cas.errors import CALM, EnclaveRefusal, Refusal, UndeliverableError
from scone_cas.registry.sessions import SessionRegistry
from scone_cas.secrets.pending import ATTEMPTS, PendingFetch
from scone_cas.sessions import root_namespace
from scone_cas.sessions.host_values import MissingHostValueError
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_cas.storage.database import Store
from scone_cas.storage.failures import storage_error
from scone_cas.storage.reserve import OTHERS
from scone_cas.storage.rollback_counter import RollbackCounterError
from scone_cas.strict_json import MalformedError
from scone_policy.errors import SconeError
from scone_policy.model.services import Service

LARGEST_REQUEST = 64 * 1024
LARGEST_ANSWER = 16 * 1024 * 1024
_STATUS = {"malformed": 400, "stale_tag": 409, "internal": 500}
"""Codes that are no plain 403."""
KEEPS_VOLUMES = "volumes"
"""The word in evidence that asks for volumes and a lease."""
FILLS_TEMPLATES = "templates"
"""The word in evidence of who puts secrets into the image's own files."""


def busy(status: int, seconds: int) -> Response:
    """429 or 503: too much to do."""
    error = {"code": "busy", "message": f"too many requests; {CALM}"}
    return document(status, {"error": error}, headers=(("Retry-After", str(seconds)),))


def failed(problem: BaseException | None = None) -> Response:
    """500: the CAS's own fault; 503 in words where its disk is full or broken, which may pass."""
    disk: SconeError | None = None if problem is None else storage_error(problem)
    if isinstance(problem, RollbackCounterError):
        disk = problem
    if disk is not None:
        log.repeated("storage-fault", what=disk.what)
        error = {"code": "storage", "message": f"{disk.what}; nothing was delivered"}
        return document(503, {"error": error}, headers=(("Retry-After", "5"),))
    what = problem.what if isinstance(problem, SconeError) else None
    log.repeated("enclave-fault", kind=type(problem).__name__, what=what)
    return refused(EnclaveRefusal("internal", "the CAS failed; nothing was delivered"))


def malformed(message: str) -> Response:
    """400: not this protocol."""
    return refused(EnclaveRefusal("malformed", message))


def refused(refusal: EnclaveRefusal) -> Response:
    """The answer that says so."""
    error: dict[str, object] = {"code": refusal.code, "message": refusal.message}
    if refusal.found is not None:
        error["found"] = refusal.found  # what the asker brought; what was expected is for those who may read the policy
    return document(_STATUS.get(refusal.code, 403), {"error": error})


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Which service a config id names, and the one-time password behind it."""

    live: SessionSnapshot
    name: str
    service: Service
    password: str | None


class EnclaveApi:
    """Answers the requests of one worker. Safe for threads. `clock` tells the time of day.

    `steady` is a time that never jumps, or `clock`.
    """

    def __init__(
        self,
        store: Store,
        sessions: SessionRegistry,
        challenges: Challenges,
        journal: Journal | None = None,
        *,
        clock: Callable[[], datetime],
        steady: Callable[[], datetime] | None = None,
    ) -> None:
        self._sessions = sessions
        self._journal = journal or NullJournal()
        self._store = store
        self._challenges = challenges
        self._refusals = RefusalJournal(self._journal)
        self._terms = AppraisalPolicyCache()
        self._passwords = Passwords(store, clock=clock, steady=steady)
        self._leases = Leases(store, clock=steady or clock)
        self._keeping = LeaseMessages(store, sessions, self._leases, self._terms, self._journal)
        self._served = dict.fromkeys(["/v1/enclave/challenge", "/v1/enclave/attest", *self._keeping.routes], "POST")
        self._served[openapi.PATH] = "GET"

    def waits(self, request: Request) -> bool:
        """True for a request that may have to wait for the store's one writer and the disk."""
        return request.path in self._keeping.routes

    def begin(self, request: Request) -> tuple[Response, int]:
        """The answer to one request, and the place in the audit log that `sync` must reach before it is sent.

        Raises PendingFetch, before anything has happened, when something must be fetched first.
        """
        with self._journal.deferred() as waiting:
            answer = self._handle(request)
        return answer, waiting.end

    def sync(self) -> int:
        """Bring the audit log to disk; the place that was reached. Raises SconeError."""
        return self._journal.sync()

    def handle(self, request: Request) -> Response:
        """The answer to one request, for who can wait for what must be fetched; never raises."""
        for _ in range(ATTEMPTS):
            try:
                return self._handle(request)
            except PendingFetch as needed:
                needed.ask()
        return busy(503, 1)

    def _handle(self, request: Request) -> Response:
        try:
            return self._route(request)
        except PendingFetch:
            raise
        except MalformedError as problem:
            return malformed(str(problem))
        except EnclaveRefusal as refusal:
            return refused(refusal)
        except (Refusal, UndeliverableError) as problem:
            return refused(_unavailable(problem))
        except Exception as problem:  # noqa: BLE001 - the last line: whatever happens, a client learns nothing of it
            return failed(problem)

    def _route(self, request: Request) -> Response:
        if len(request.body) > LARGEST_REQUEST:
            raise EnclaveRefusal("malformed", f"the body is larger than {LARGEST_REQUEST} bytes")
        match request.method, request.path:
            case "POST", "/v1/enclave/challenge":
                return self._challenge(request)
            case "POST", "/v1/enclave/attest":
                return self._attest(request)
            case "GET", openapi.PATH:
                return document(200, openapi.enclave())
            case "POST", path if path in self._keeping.routes:
                self._store.reserve.require(OTHERS)
                return document(200, self._keeping.routes[path](read_message(request.body), request.address))
        served = self._served.get(request.path)
        if served is not None:
            error = {"code": "malformed", "message": f"only {served} is served here"}
            return document(405, {"error": error}, headers=(("Allow", served),))
        raise EnclaveRefusal("malformed", "no such route on the enclave port")

    def _challenge(self, request: Request) -> Response:
        read_challenge_request(request.body)
        challenge = base64.b64encode(self._challenges.make()).decode()
        return document(200, {"protocol": 1, "challenge": challenge, "expires_in": CHALLENGE_LIFETIME})

    def _attest(self, request: Request) -> Response:
        evidence = read_evidence(request.body)
        self._store.reserve.require(OTHERS)
        # Without the password: one that was refused for another reason may still be good.
        named = evidence.config_id.partition("@")[0]
        live = self._sessions.ready(named.rpartition("/")[0], measurement=evidence.measurement)
        try:
            asked, sealed = self._judge(evidence, live)
        except EnclaveRefusal as refusal:
            self._refusals.tell(
                refusal.meant, _shown(named), evidence.measurement, request.address, expected=refusal.expected
            )
            raise
        told = self._journal.record(
            "service_attested",
            session=asked.live.session.name,
            hash=asked.live.public_hash,
            service=asked.name,
            measurement=evidence.measurement,
            address=request.address,
        )
        if told is None:
            log.event("service-attested", config_id=named, address=request.address)
        return document(200, {"sealed": base64.b64encode(sealed).decode()})

    def tell_counted(self) -> None:
        """Record refusals that were only counted, when it is time. Raises SconeError."""
        self._refusals.tell_counted()

    def _judge(self, evidence: Evidence, live: SessionSnapshot | None) -> tuple[_Asked, bytes]:
        try:
            self._challenges.consume(evidence.challenge)
        except BadChallengeError as problem:
            raise EnclaveRefusal("bad_challenge", str(problem)) from None
        if not evidence.is_signed():
            raise EnclaveRefusal("bad_signature", "the signature of the evidence does not verify")
        if evidence.format != FORMAT:
            raise EnclaveRefusal("unsupported_evidence", "this CAS does not judge evidence of this format")
        if not evidence.debug:
            raise EnclaveRefusal("unsupported_evidence", "simulated evidence that does not say it is debug")
        if evidence.countersigned:
            raise EnclaveRefusal("unsupported_evidence", "this CAS does not judge countersignatures")
        asked = self._asked(evidence, live)
        try:
            return asked, self._deliver(asked, evidence)
        except MissingHostValueError as problem:
            raise EnclaveRefusal("missing_host_value", str(problem)) from None
        except (Refusal, UndeliverableError) as problem:
            raise _unavailable(problem) from None

    def _asked(self, evidence: Evidence, live: SessionSnapshot | None) -> _Asked:
        """What a config id names in its session. Raises EnclaveRefusal, as a measurement that is none of the policy's.

        Names are not there to be tried: the same is done, and answered, as for a service that is there.
        """
        named, at, password = evidence.config_id.partition("@")
        name = named.rpartition("/")[2]
        service = None if live is None else live.session.services.get(name)
        if live is None or service is None:
            self._keeping.filler(root_namespace.LIVE, evidence.measurement)
            meant = "retired" if live is not None and live.retired else "unknown_service"
            try:
                DECOY.appraise(measurement=evidence.measurement, quoting_key=evidence.quoting_key)
            except EnclaveRefusal:
                raise not_taken(evidence.measurement, meant) from None
            raise not_taken(evidence.measurement, meant)
        return _Asked(live=live, name=name, service=service, password=password if at else None)

    def _deliver(self, asked: _Asked, evidence: Evidence) -> bytes:
        live, name, service = asked.live, asked.name, asked.service
        fill = self._keeping.filler(live, evidence.measurement)
        terms = self._terms.of(live, name, fill)
        terms.appraise(measurement=evidence.measurement, quoting_key=evidence.quoting_key)
        tag = self._keeping.tag_of_service(live, name, service)
        answer = delivery.configuration(live.session, service, fill, evidence, tag=tag)
        keeps = KEEPS_VOLUMES in evidence.accepts
        if keeps:
            answer["file_system"] = delivery.file_system(service, fill)
            answer["volumes"] = self._keeping.volumes(live, name, evidence.measurement)
        if FILLS_TEMPLATES in evidence.accepts:
            answer["templates"] = delivery.templates(live.session, service, fill)
        elif delivery.has_templates(live.session, service):
            raise EnclaveRefusal(
                "templates_unsupported",
                "the policy has secrets put into files of the image, which this launcher cannot",
            )
        plaintext = delivery.written(answer)
        if len(plaintext) > LARGEST_ANSWER * 3 // 4 - 2048:
            raise EnclaveRefusal("secret_unavailable", "the configuration is too large to be delivered")
        # What happens once comes last: nothing above can make a password useless that is used up here.
        if terms.shared_secret is not None:
            self._passwords.use(terms.shared_secret, asked.password)
        elif asked.password is not None:
            raise EnclaveRefusal("otp_unexpected", "the policy asks for no one-time password, and one was given")
        if keeps or terms.singleton:
            holder = Holder(
                session=live.session.name,
                service=name,
                measurement=evidence.measurement,
                quoting_key=evidence.quoting_key,
            )
            lease = self._leases.take(holder, singleton=terms.singleton, renewable=keeps)
            if lease is not None:
                key = base64.b64encode(lease.key).decode()
                answer["lease"] = {"id": lease.id, "key": key, "expires_in": LIFETIME}
                plaintext = delivery.written(answer)
        try:
            return delivery.seal(evidence, plaintext)
        except ValueError:
            raise EnclaveRefusal("malformed", "public_key is not a usable X25519 key") from None


def _unavailable(problem: Refusal | UndeliverableError) -> EnclaveRefusal:
    message = problem.message if isinstance(problem, Refusal) else str(problem)
    return EnclaveRefusal("secret_unavailable", message)


def _shown(name: str) -> str:
    return name if name.isprintable() and len(name) <= 256 else "?"
