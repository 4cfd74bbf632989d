"""TLS to one other CAS: not a byte of a request before its key is known to be right; a deadline for every answer."""

import http.client
import os
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from scone_cas.federation.protocol import LARGEST_ANSWER, PeerError, judge_evidence
from scone_cas.federation.settings import PeerAddress
from scone_cas.identity.cas_identity import TlsKey
from scone_policy.keys.cas_certificate import cas_key_hash
from scone_policy.keys.key_hash import same_key

CONNECT_TIME = 5.0
ANSWER_TIME = 5.0
"""Seconds for a request and its whole answer."""
_MOST_IDLE = 2
_IDLE_TIME = 30.0
"""Seconds after which an unused connection is not used again."""
_LARGEST_EVIDENCE = 64 * 1024


class UnreachableError(PeerError):
    """Nobody answers there, or not in time: worth another try later."""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Which CAS is the right one: by its key, or by its software, where evidence that says debug may not count."""

    cas_key: str | None = None
    software_key: str | None = None
    tolerates_debug: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status and body."""

    status: int
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a peer did not answer, and until when it is not asked again."""

    problem: str
    until: float


def client_context(tls: TlsKey) -> ssl.SSLContext:
    """TLS that shows this CAS's certificate. The peer's is judged after the handshake: no CA has a say in it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Python reads keys from files only: this one exists in memory alone.
    descriptor = os.memfd_create("scone-cas-peer")
    with os.fdopen(descriptor, "wb") as file:
        file.write(tls.to_pem())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context


class Peer:
    """One other CAS with its idle connections. Safe for threads."""

    def __init__(
        self,
        place: PeerAddress,
        trust: Trust,
        context: ssl.SSLContext,
        *,
        clock: Callable[[], float] = time.monotonic,
        answer_time: float = ANSWER_TIME,
    ) -> None:
        self._place, self._trust, self._context = place, trust, context
        self._clock, self._answer_time = clock, answer_time
        self.failure: Failure | None = None
        self._idle: list[tuple[float, _Connection]] = []
        self._lock = threading.Lock()

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """One exchange that may be repeated without harm. Raises PeerError, UnreachableError."""
        kept = self._kept()
        if kept is not None:
            # It may have been closed from the other side meanwhile, which shows only now.
            with suppress(UnreachableError):
                return self._exchange(kept, method, path, body)
        return self._exchange(self._open(), method, path, body)

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _kept(self) -> "_Connection | None":
        with self._lock:
            while self._idle:
                since, connection = self._idle.pop()
                if self._clock() - since < _IDLE_TIME:
                    return connection
                connection.close()
        return None

    def _exchange(self, connection: "_Connection", method: str, path: str, body: bytes | None) -> Answer:
        try:
            answer = connection.exchange(method, path, body, largest=LARGEST_ANSWER)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if connection.reusable and len(self._idle) < _MOST_IDLE:
                self._idle.append((self._clock(), connection))
                return answer
        connection.close()
        return answer

    def _open(self) -> "_Connection":
        connection = _Connection(self._place, self._context, self._answer_time)
        try:
            self._judge(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _judge(self, connection: "_Connection") -> None:
        """Whether this is the right CAS: by the key that the handshake proved, or by evidence bound to that key."""
        try:
            found = cas_key_hash(connection.certificate, now=datetime.now(UTC))
        except ValueError as problem:
            raise PeerError(f"presents a certificate that {problem}") from None
        if self._trust.cas_key is not None:
            if not same_key(found, self._trust.cas_key):
                raise PeerError(f"has the key {found}, not {self._trust.cas_key} as cas_key says: another CAS answers")
            return
        assert self._trust.software_key is not None
        nonce = secrets.token_urlsafe(32)
        answer = connection.exchange("GET", f"/v1/attest?nonce={nonce}", None, largest=_LARGEST_EVIDENCE)
        if answer.status != 200:
            raise PeerError(f"gives no evidence (status {answer.status}): import with its cas_key instead")
        judge_evidence(
            answer.body,
            certificate=connection.certificate,
            nonce=nonce,
            expected=self._trust.software_key,
            tolerates_debug=self._trust.tolerates_debug,
        )


class _Connection:
    """One TLS connection whose key is known and not judged yet."""

    def __init__(self, place: PeerAddress, context: ssl.SSLContext, answer_time: float) -> None:
        self._answer_time = answer_time
        try:
            raw = socket.create_connection((place.host, place.port), CONNECT_TIME)
        except OSError as problem:
            raise _unreachable(problem) from None
        try:
            with _Deadline(raw, CONNECT_TIME):
                self._secured = context.wrap_socket(raw, server_hostname="cas")
        except OSError as problem:
            raw.close()
            raise _unreachable(problem) from None
        self.certificate = self._presented()
        self._http = http.client.HTTPConnection(place.host, place.port)
        # Left to itself, http.client would connect anew without TLS.
        self._http.auto_open = 0
        self._http.sock = self._secured

    def _presented(self) -> x509.Certificate:
        found = self._secured.getpeercert(binary_form=True)
        try:
            return x509.load_der_x509_certificate(found or b"")
        except ValueError:
            self._secured.close()
            raise PeerError("presents a certificate that cannot be read") from None

    @property
    def reusable(self) -> bool:
        """True while the other side keeps it open."""
        return self._http.sock is not None

    def exchange(self, method: str, path: str, body: bytes | None, *, largest: int) -> Answer:
        """One request and its whole answer. Raises PeerError, UnreachableError."""
        headers = {"Accept-Encoding": "identity"} | ({"Content-Type": "application/json"} if body else {})
        try:
            with _Deadline(self._secured, self._answer_time):
                self._http.request(method, path, body, headers)
                answer = self._http.getresponse()
                content = answer.read(largest + 1)
        except (OSError, http.client.HTTPException) as problem:
            raise _unreachable(problem) from None
        if len(content) > largest:
            raise PeerError(f"answers more than {largest} bytes")
        return Answer(status=answer.status, body=content)

    def close(self) -> None:
        """Hang up."""
        self._http.close()
        self._secured.close()


class _Deadline:
    """Ends a socket's work when the time is over: a time-out of each read could be stretched byte by byte."""

    def __init__(self, connected: socket.socket, seconds: float) -> None:
        self._socket = connected
        self._over = False
        connected.settimeout(seconds)
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def _cut(self) -> None:
        self._over = True
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_raised: object) -> None:
        self._timer.cancel()
        if self._over:
            raise UnreachableError("gives no answer in time")


def _unreachable(problem: Exception) -> UnreachableError:
    if isinstance(problem, socket.gaierror):
        return UnreachableError("cannot be found: its name is unknown")
    if isinstance(problem, TimeoutError):
        return UnreachableError("gives no answer in time")
    if isinstance(problem, ssl.SSLError):
        return UnreachableError("does not speak TLS as a CAS does")
    if isinstance(problem, ConnectionRefusedError):
        return UnreachableError("cannot be reached: nobody listens there")
    return UnreachableError("cannot be reached: the connection broke")
