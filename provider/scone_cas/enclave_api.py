"""The enclave port as a function of requests: challenge and attest, with every refusal of docs/enclave-protocol.md."""

import base64
import hmac

from scone_cas import delivery, log, openapi, sharing
from scone_cas.audit import Journal, Silent
from scone_cas.challenges import LIFETIME, BadChallengeError, Challenges
from scone_cas.delivery import UndeliverableError
from scone_cas.evidence import FORMAT, Evidence, MalformedError, read_challenge_request, read_evidence
from scone_cas.hostvalues import MissingHostValueError
from scone_cas.messages import CALM, Refusal, Request, Response, document
from scone_cas.sessions import Live, Sessions
from scone_policy.services import Service

LARGEST_REQUEST = 64 * 1024
LARGEST_ANSWER = 16 * 1024 * 1024
_DEBUG = "debug-mode"
_SERVED = {"/v1/enclave/challenge": "POST", "/v1/enclave/attest": "POST", openapi.PATH: "GET"}


class RefusedError(Exception):
    """An attestation is refused: status, code and one line without secrets; `expected` and `found` where both exist."""

    def __init__(
        self, status: int, code: str, message: str, *, expected: tuple[str, ...] | None = None, found: str | None = None
    ) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message
        self.expected, self.found = expected, found

    def response(self) -> Response:
        """The answer that says so."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.expected is not None and self.found is not None:
            error |= {"expected": list(self.expected), "found": self.found}
        return document(self.status, {"error": error})


def busy(status: int, seconds: int) -> Response:
    """429 or 503: too much to do."""
    error = {"code": "busy", "message": f"too many requests; {CALM}"}
    return document(status, {"error": error}, headers=(("Retry-After", str(seconds)),))


def failed() -> Response:
    """500: the CAS's own fault."""
    return RefusedError(500, "internal", "the CAS failed; nothing was delivered").response()


def malformed(message: str) -> Response:
    """400: not this protocol."""
    return RefusedError(400, "malformed", message).response()


class EnclaveApi:
    """Answers the requests of one worker. Safe for threads."""

    def __init__(self, sessions: Sessions, challenges: Challenges, journal: Journal | None = None) -> None:
        self._sessions = sessions
        self._journal = journal or Silent()
        self._challenges = challenges

    def begin(self, request: Request) -> tuple[Response, int]:
        """The answer to one request, and the place in the audit log that `sync` must reach before it is sent."""
        with self._journal.deferred() as waiting:
            answer = self.handle(request)
        return answer, waiting.end

    def sync(self) -> int:
        """Bring the audit log to disk; the place that was reached. Raises SconeError."""
        return self._journal.sync()

    def handle(self, request: Request) -> Response:
        """The answer to one request; never raises."""
        try:
            return self._route(request)
        except MalformedError as problem:
            return malformed(str(problem))
        except RefusedError as refused:
            return refused.response()
        except Exception as problem:  # noqa: BLE001 - the last line: whatever happens, a client learns nothing of it
            log.event("enclave-fault", kind=type(problem).__name__)
            return failed()

    def _route(self, request: Request) -> Response:
        if len(request.body) > LARGEST_REQUEST:
            raise RefusedError(400, "malformed", f"the body is larger than {LARGEST_REQUEST} bytes")
        match request.method, request.path:
            case "POST", "/v1/enclave/challenge":
                return self._challenge(request)
            case "POST", "/v1/enclave/attest":
                return self._attest(request)
            case "GET", openapi.PATH:
                return document(200, openapi.enclave())
        served = _SERVED.get(request.path)
        if served is not None:
            error = {"code": "malformed", "message": f"only {served} is served here"}
            return document(405, {"error": error}, headers=(("Allow", served),))
        raise RefusedError(400, "malformed", "no such route on the enclave port")

    def _challenge(self, request: Request) -> Response:
        read_challenge_request(request.body)
        challenge = base64.b64encode(self._challenges.make()).decode()
        return document(200, {"protocol": 1, "challenge": challenge, "expires_in": LIFETIME})

    def _attest(self, request: Request) -> Response:
        evidence = read_evidence(request.body)
        try:
            live, service, sealed = self._judge(evidence)
        except RefusedError as refused:
            self._journal.record(
                "service_refused",
                config_id=_shown(evidence.config_id),
                code=refused.code,
                measurement=evidence.measurement,
                address=request.address,
            )
            log.event("service-refused", config_id=evidence.config_id, code=refused.code, address=request.address)
            raise
        self._journal.record(
            "service_attested",
            session=live.session.name,
            hash=live.public_hash,
            service=service,
            measurement=evidence.measurement,
            address=request.address,
        )
        log.event("service-attested", config_id=evidence.config_id, address=request.address)
        return document(200, {"sealed": base64.b64encode(sealed).decode()})

    def _judge(self, evidence: Evidence) -> tuple[Live, str, bytes]:
        try:
            self._challenges.consume(evidence.challenge)
        except BadChallengeError as problem:
            raise RefusedError(403, "bad_challenge", str(problem)) from None
        if not evidence.is_signed():
            raise RefusedError(403, "bad_signature", "the signature of the evidence does not verify")
        if evidence.format != FORMAT:
            raise RefusedError(403, "unsupported_evidence", "this CAS does not judge evidence of this format")
        if not evidence.debug:
            raise RefusedError(403, "unsupported_evidence", "simulated evidence that does not say it is debug")
        if evidence.countersigned:
            raise RefusedError(403, "unsupported_evidence", "this CAS does not judge countersignatures")
        live, service = self._find(evidence.config_id)
        _check_attestation(live, service, evidence)
        return live, evidence.config_id.rpartition("/")[2], self._deliver(live, service, evidence)

    def _find(self, config_id: str) -> tuple[Live, Service]:
        session_name, _, service_name = config_id.rpartition("/")
        live = self._sessions.live(session_name) if session_name else None
        if live is None:
            raise RefusedError(403, "unknown_service", f"there is no session '{_shown(session_name)}'")
        service = live.session.services.get(service_name)
        if service is None and live.retired:
            raise RefusedError(403, "retired", f"the session '{session_name}' was retired")
        if service is None:
            raise RefusedError(
                403, "unknown_service", f"the session '{session_name}' has no service '{_shown(service_name)}'"
            )
        return live, service

    def _deliver(self, live: Live, service: Service, evidence: Evidence) -> bytes:
        try:
            plaintext = delivery.configuration(
                live.session, service, lambda name: sharing.value(live, name, self._sessions.live), evidence
            )
        except MissingHostValueError as problem:
            raise RefusedError(403, "missing_host_value", str(problem)) from None
        except Refusal as problem:
            raise RefusedError(403, "secret_unavailable", problem.message) from None
        except UndeliverableError as problem:
            raise RefusedError(403, "secret_unavailable", str(problem)) from None
        if len(plaintext) > LARGEST_ANSWER * 3 // 4 - 1024:
            raise RefusedError(403, "secret_unavailable", "the configuration is too large to be delivered")
        try:
            return delivery.seal(evidence, plaintext)
        except ValueError:
            raise RefusedError(400, "malformed", "public_key is not a usable X25519 key") from None


def _check_attestation(live: Live, service: Service, evidence: Evidence) -> None:
    attestation = live.session.security.attestation
    if attestation.mode == "none":
        return
    if _DEBUG not in attestation.tolerate:
        raise RefusedError(
            403,
            "debug_not_tolerated",
            "the evidence is of a debug enclave, and the policy does not tolerate debug-mode",
            expected=("production",),
            found=_DEBUG,
        )
    measured = [variant for variant in service.attestation if variant.signer is None]
    expected = tuple(sorted({value for variant in measured for value in variant.mrenclave}))
    if not any(hmac.compare_digest(value, evidence.measurement) for value in expected):
        raise RefusedError(
            403, "unexpected_measurement", "unexpected measurement", expected=expected, found=evidence.measurement
        )


def _shown(name: str) -> str:
    return name if name.isprintable() and len(name) <= 256 else "?"
