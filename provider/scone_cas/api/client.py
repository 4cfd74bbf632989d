"""The client port as a function of requests: the routes that the CLI and the provider use (spec, cas-api)."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from scone_cas import VERSION, log
from scone_cas.api import openapi
from scone_cas.api.http import Request, Response, document, error_document, error_text, text
from scone_cas.audit.journal import Journal, NullJournal
from scone_cas.errors import Reason, Refusal, RequestError
from scone_cas.federation import protocol
from scone_cas.identity.cas_evidence import CasEvidenceIssuer
from scone_cas.registry.sessions import SessionRegistry
from scone_cas.secrets.encoding import public_form
from scone_cas.sessions.authorization import Caller
from scone_cas.sessions.descriptions import open_upload
from scone_cas.storage.database import Version
from scone_cas.storage.failures import storage_error
from scone_cas.storage.rollback_counter import RollbackCounterError
from scone_cas.strict_json import MalformedError
from scone_policy.errors import SconeError
from scone_policy.keys.cas_certificate import cas_key_hash
from scone_policy.syntax.names import ROOT, session_name
from scone_policy.syntax.yaml_source import MAX_BYTES

LARGEST_REQUEST = MAX_BYTES
"""Bytes of a body: the largest description that is read, and the largest document that signing and encrypting make."""
_DISK_PAUSE = 30
"""Seconds until somebody may have made room."""
_HASH = re.compile("[0-9a-fA-F]{64}")
_LIMIT = re.compile("[1-9][0-9]{0,3}")
_LISTED, _MOST_LISTED = 100, 1000
_ROUTES = (
    "/session",
    "/v1/sessions",
    "/v1/session_hashes",
    "/v1/encrypted_sessions",
    protocol.ROUTE,
    "/v1/values",
    "/v1/attest",
    "/v1/version",
)

STATUS: Mapping[Reason, int] = {
    Reason.INVALID: 400,
    Reason.FORBIDDEN: 403,
    Reason.UNKNOWN: 404,
    Reason.CONFLICT: 409,
    Reason.TOO_LARGE: 413,
    Reason.UNSUPPORTED: 501,
    Reason.UPSTREAM: 502,
    Reason.UNAVAILABLE: 503,
}
"""What a reason of the domain is on the wire."""

Handler = Callable[[Request, Caller], Response]


class _WrongMethodError(RequestError):
    """The route is served with another method, which the text names."""


class ClientApi:
    """Answers the requests of the client port. Safe for threads."""

    def __init__(
        self,
        sessions: SessionRegistry,
        attestation: CasEvidenceIssuer,
        session_key: X25519PrivateKey,
        journal: Journal | None = None,
    ) -> None:
        self._sessions = sessions
        self._session_key = session_key
        self._journal = journal or NullJournal()
        self._attestation = attestation
        self._whole: Mapping[str, tuple[str, Handler]] = {
            "/session": ("POST", lambda request, caller: self._upload(request.body, caller)),
            "/v1/encrypted_sessions": ("PUT", self._upload_encrypted),
            protocol.ROUTE: ("POST", self._shared),
            "/v1/sessions": ("GET", self._list),
            "/v1/attest": ("GET", self._attest),
            "/v1/version": ("GET", lambda *_: document(200, {"version": VERSION, "name": "embedded CAS"})),
            openapi.PATH: ("GET", lambda *_: document(200, openapi.client())),
        }
        self._below: Mapping[str, Callable[[str, Request, Caller], Response]] = {
            "/session/": self._read,
            "/v1/sessions/": self._version,
            "/v1/session_hashes/": self._hash,
            "/v1/values/": self._values,
        }

    def handle(self, request: Request) -> Response:
        """The answer to one request; never raises."""
        fail = error_document if request.path.startswith("/v1/") else error_text
        try:
            return self._route(request)
        except Refusal as refusal:
            status = STATUS[refusal.reason]
            log.repeated("client-refused", route=_route_name(request), status=status, address=request.address)
            again = (("Retry-After", str(refusal.retry_after)),) if refusal.retry_after is not None else ()
            return fail(status, refusal.message, headers=again)
        except _WrongMethodError as wrong:
            log.repeated("client-refused", route=_route_name(request), status=405, address=request.address)
            return fail(405, f"only {wrong} is served here", headers=(("Allow", str(wrong)),))
        except Exception as problem:  # noqa: BLE001 - the last line: whatever happens, a client learns nothing of it
            disk = storage_error(problem)
            if disk is not None:
                log.repeated("storage-fault", what=disk.what)
                # 507 is RFC 4918, section 11.5.
                return fail(507 if disk.is_full else 503, disk.what, headers=(("Retry-After", str(_DISK_PAUSE)),))
            if isinstance(problem, RollbackCounterError):
                log.repeated("rollback-counter", what=problem.what)
                # Not 503, which says that nothing was done.
                return fail(500, f"{problem.what}; a change counts only when it is raised: read before you repeat it")
            what = problem.what if isinstance(problem, SconeError) else None
            log.repeated("client-fault", kind=type(problem).__name__, what=what)
        return fail(500, "the CAS failed; the server's log says more")

    def _route(self, request: Request) -> Response:
        caller = Caller.of(request.certificate, address=request.address)
        served, answer = self._find(request.path)
        if request.method != served:
            raise _WrongMethodError(served)
        return answer(request, caller)

    def _find(self, path: str) -> tuple[str, Handler]:
        """The method that a path is served with, and what answers."""
        if path in self._whole:
            return self._whole[path]
        for prefix, answer in self._below.items():
            if path.startswith(prefix):
                return "GET", partial(answer, path.removeprefix(prefix))
        return "GET", _nowhere

    def _attest(self, request: Request, _caller: Caller) -> Response:
        return document(200, self._attestation.evidence(request.query.get("nonce", "")))

    def _upload_encrypted(self, request: Request, caller: Caller) -> Response:
        return self._upload(open_upload(request.body, self._session_key), caller)

    def _upload(self, body: bytes, caller: Caller) -> Response:
        done = self._sessions.upload(body, caller)
        log.event("session-stored", session=done.name, hash=done.public_hash, number=done.number, key=caller.key_hash)
        return text(201, f"Created Session[id={done.hash}, name='{done.name}', status='Created']")

    def _read(self, name: str, _request: Request, caller: Caller) -> Response:
        version = self._sessions.read(_name(name), caller)
        self._tell_read(version, caller)
        return Response(status=200, body=version.description.encode(), content_type="application/yaml; charset=utf-8")

    def _version(self, name: str, request: Request, caller: Caller) -> Response:
        wanted = request.query.get("hash")
        if wanted is not None and not _HASH.fullmatch(wanted):
            raise Refusal(Reason.INVALID, "hash: must be 32 bytes in hex (64 digits)")
        version = self._sessions.read(_name(name), caller, session_hash=wanted.lower() if wanted else None)
        self._tell_read(version, caller)
        return document(200, {"session": version.description, "hash": version.hash, "predecessor": version.predecessor})

    def _hash(self, name: str, _request: Request, caller: Caller) -> Response:
        return document(200, {"hash": self._sessions.hash(_name(name), caller)})

    def _list(self, request: Request, caller: Caller) -> Response:
        after, limit = request.query.get("after"), request.query.get("limit", str(_LISTED))
        if not _LIMIT.fullmatch(limit) or int(limit) > _MOST_LISTED:
            raise Refusal(Reason.INVALID, f"limit: must be a number from 1 to {_MOST_LISTED}")
        found = self._sessions.listed(
            _name(request.query.get("namespace", ROOT)),
            caller,
            after=_name(after) if after is not None else None,
            limit=int(limit),
        )
        return document(200, {"sessions": found.names, "next": found.following})

    def _tell_read(self, version: Version, caller: Caller) -> None:
        read = {"session": version.name, "hash": self._sessions.public_hash(version), "key": caller.key_hash}
        self._journal.record("session_read", **read, address=caller.address)
        log.event("session-read", **read)

    def _values(self, selector: str, _request: Request, _caller: Caller) -> Response:
        parts = dict(part.partition("=")[::2] for part in selector.split(","))
        if not {"session"} <= set(parts) <= {"session", "secret"}:
            raise Refusal(Reason.INVALID, "the path must be /v1/values/session=<name>[,secret=<secret>]")
        values = self._sessions.public_values(_name(parts["session"]), parts.get("secret"))
        if not values:
            raise Refusal(Reason.UNKNOWN, "there is no such session, or nothing of it is public")
        if "secret" not in parts:
            return document(
                200,
                {"values": {name: {"kind": value.kind, "value": public_form(value)} for name, value in values.items()}},
            )
        return document(200, {"value": public_form(values[parts["secret"]])})

    def _shared(self, request: Request, caller: Caller) -> Response:
        try:
            asked = protocol.Ask.read(request.body)
        except MalformedError as problem:
            raise Refusal(Reason.INVALID, str(problem)) from None
        peer = _peer_key(request)
        shared = self._sessions.exported(asked, peer)
        given = {"session": asked.session, "secret": asked.secret, "importer": asked.importer, "key": peer}
        self._journal.record("secret_shared", **given, address=caller.address)
        log.event("secret-shared", **given)
        return document(200, shared.written())


def _peer_key(request: Request) -> str | None:
    """The key hash of the CAS that asks; of its identity, where that only vouches for its TLS key. Raises Refusal."""
    if request.certificate is None:
        return None
    try:
        return cas_key_hash(request.certificate, now=datetime.now(UTC))
    except ValueError as problem:
        raise Refusal(Reason.FORBIDDEN, f"the certificate of the CAS that asks {problem}") from None


def _nowhere(_request: Request, _caller: Caller) -> Response:
    raise Refusal(Reason.UNKNOWN, "no such route on the client port")


def _name(text_: str) -> str:
    try:
        return session_name(text_)
    except ValueError as problem:
        raise Refusal(Reason.INVALID, f"session name: {problem}") from None


def _route_name(request: Request) -> str:
    """Method and first parts of the path: names are fit for logs, bodies and unknown paths are not."""
    return f"{request.method} {next((route for route in _ROUTES if request.path.startswith(route)), '?')}"
