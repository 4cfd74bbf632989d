"""The client port: Twisted and pyOpenSSL carry requests to `ClientApi`. Asks for a client certificate and takes any.

Python's own `ssl` cannot ask for certificates that no CA has signed, hence pyOpenSSL.
"""

import io
import socket
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet import reactor as _reactor
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLServerConnectionCreator
from twisted.internet.threads import deferToThreadPool
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web import http
from zope.interface import implementer  # type: ignore[import-untyped]

from scone_cas import VERSION, log
from scone_cas.api.client import LARGEST_REQUEST
from scone_cas.api.http import Request, Response, busy_document, error_document
from scone_cas.identity.cas_identity import TlsKey
from scone_cas.keystore.unseal import UnsealedKeys
from scone_cas.limits import Connections, Gate, RateLimit, most_connections
from scone_cas.server import parent_watch
from scone_cas.server.assembly import CasComponents, assemble

_THREADS = 8
_QUEUE = 128
"""Requests in progress or waiting for a thread; of one address half as many."""
_CONNECTIONS = 2048
"""Open connections; of one address a quarter."""
_HANDSHAKE_TIME = 10.0
"""Seconds from a connection on until TLS must be established."""
_HEADER_TIME = 15.0
"""Seconds from the connection, or from the answer before, until a request's headers must be complete."""
_REQUEST_TIME = 30.0
"""Seconds from there until a request must be complete, and an answer read: 1 MiB needs 35 KB a second."""

# Twisted's own annotations are partial and contradict its interfaces: what comes from it is taken as it is.
reactor: Any = _reactor
_HTTPRequest: Any = http.Request
_HTTPChannel: Any = http.HTTPChannel
_HTTPFactory: Any = http.HTTPFactory
_TLSFactory: Any = TLSMemoryBIOFactory


class _Request(_HTTPRequest):  # type: ignore[misc]
    """One request: its body bounded and kept in memory, answered by the API in a thread."""

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        """Never spool a body to disk: it may hold secrets."""
        if length is not None and length > LARGEST_REQUEST:
            self._refuse_size()
        self.content = io.BytesIO()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Collect the body up to the limit."""
        assert self.content is not None
        if self.content.tell() + len(data) > LARGEST_REQUEST:
            self._refuse_size()
            return
        super().handleContentChunk(data)

    def _refuse_size(self) -> None:
        channel = cast("_Channel", self.channel)
        channel.refuse(error_document(413, f"the request is larger than {LARGEST_REQUEST} bytes"))

    def process(self) -> None:
        """Answer the complete request."""
        channel = cast("_Channel", self.channel)
        channel.request_complete()
        port = cast("_Port", channel.factory)
        address = str(self.getClientAddress().host)
        if not port.rate.admits(address):
            self._answer(busy_document(429, 1))
            return
        try:
            request = self._value(address)
        except ValueError:
            self._answer(error_document(400, "the client certificate or the path cannot be read"))
            return
        if not port.gate.enter(address):
            self._answer(busy_document(503, 1))
            return
        self.notifyFinish().addErrback(lambda _gone: None)
        answer = deferToThreadPool(reactor, port.pool, port.parts.client_api.handle, request)
        answer.addBoth(self._finished, port, address)

    def _value(self, address: str) -> Request:
        assert self.content is not None
        path, _, query = self.uri.partition(b"?")
        certificate: X509 | None = self.channel.transport.getPeerCertificate()
        return Request(
            method=self.method.decode("latin-1"),
            path=unquote(path.decode("latin-1")),
            query=dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)),
            body=self.content.getvalue(),
            certificate=certificate.to_cryptography() if certificate is not None else None,
            address=address,
        )

    def _finished(self, answer: Response | Failure, port: "_Port", address: str) -> None:
        port.gate.leave(address)
        if self._disconnected:
            return
        if isinstance(answer, Failure):
            log.repeated("client-fault", kind=answer.type.__name__ if answer.type else "?")
            answer = error_document(500, "the CAS failed; the server's log says more")
        self._answer(answer)

    def _answer(self, answer: Response) -> None:
        self.setResponseCode(answer.status)
        self.setHeader(b"content-type", answer.content_type.encode())
        self.setHeader(b"content-length", str(len(answer.body)).encode())
        self.setHeader(b"server", f"scone-cas/{VERSION}".encode())
        for name, value in answer.headers:
            self.setHeader(name.lower().encode(), value.encode())
        self.write(answer.body)
        self.finish()


@implementer(IHandshakeListener)
class _Channel(_HTTPChannel):  # type: ignore[misc]
    """One connection, with a deadline for every step that no dripping client can stretch."""

    requestFactory = _Request  # noqa: N815 - Twisted's name
    totalHeadersSize = 16384  # noqa: N815 - Twisted's name
    _timer: Any = None
    _since = 0.0
    _counted = False
    _refused = False

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Count the connection and start its clock."""
        port = cast("_Port", self.factory)
        self._counted = port.enter(self, str(self.transport.getPeer().host))
        if not self._counted:
            return
        super().connectionMade()
        self._start(_HANDSHAKE_TIME)

    def handshakeCompleted(self) -> None:  # noqa: N802 - Twisted's name
        """TLS is established: now for the headers."""
        self._start(_HEADER_TIME)

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Stop the clock and make room."""
        self._stop()
        if self._counted:
            self._counted = False
            cast("_Port", self.factory).connections.leave(self)
            super().connectionLost(reason)

    def allHeadersReceived(self) -> None:  # noqa: N802 - Twisted's name
        """The body may take longer, counted from where the headers were."""
        self._extend(_REQUEST_TIME)
        super().allHeadersReceived()

    def request_complete(self) -> None:
        """Its answer takes as long as it takes."""
        self._stop()
        cast("_Port", self.factory).began(self, str(self.transport.getPeer().host))

    def checkPersistence(self, request: _Request, version: bytes) -> bool:  # noqa: N802 - Twisted's name
        """Whether another request may follow: not after many, so that nobody keeps a connection for ever."""
        if cast("_Port", self.factory).connections.is_last(self):
            request.responseHeaders.setRawHeaders(b"connection", [b"close"])
            return False
        return bool(super().checkPersistence(request, version))

    def requestDone(self, request: _Request) -> None:  # noqa: N802 - Twisted's name
        """Restart the clock, before a request that is already here gets going."""
        cast("_Port", self.factory).connections.ended(self, time.monotonic())
        # Until the next request's headers are complete somebody may still read the answer.
        self._start(_REQUEST_TIME if self._unread() else _HEADER_TIME)
        super().requestDone(request)

    def _unread(self) -> bool:
        return bool(getattr(self, "_waitingForTransport", False))

    def _start(self, seconds: float) -> None:
        self._since = time.monotonic()
        self._extend(seconds)

    def _extend(self, seconds: float) -> None:
        """The next step must be done `seconds` after the last one began."""
        self._stop()
        if self.transport is not None:
            left = max(0.0, self._since + seconds - time.monotonic())
            self._timer = reactor.callLater(left, self.transport.abortConnection)

    def _stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def refuse(self, answer: Response) -> None:
        """Answer before the request is complete, and hang up."""
        if self._refused:
            return
        self._refused = True
        head = f"HTTP/1.1 {answer.status} Refused\r\nContent-Type: {answer.content_type}\r\n"
        head += f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
        self.transport.write(head.encode() + answer.body)
        self.loseConnection()


class _Port(_HTTPFactory):  # type: ignore[misc]
    """All connections of the port and what they share."""

    def __init__(self, parts: CasComponents, pool: ThreadPool, *, rate: float) -> None:
        super().__init__(timeout=None, reactor=reactor)
        self.parts = parts
        self.pool = pool
        self.rate = RateLimit(rate=rate, burst=2 * rate)
        self.gate = Gate(_QUEUE, each=_QUEUE // 2)
        total = most_connections(_CONNECTIONS)
        self.connections: Connections[_Channel] = Connections(total=total, each=total // 4)

    def enter(self, channel: _Channel, address: str) -> bool:
        """Let a connection in, in the place of the one that has waited longest; False where nobody waits."""
        for given_up in self.connections.enter(channel, address, time.monotonic()):
            given_up.transport.abortConnection()
            if given_up is channel:
                return False
        return True

    def began(self, channel: _Channel, address: str) -> None:
        """Its request is being answered."""
        self.connections.began(channel, address, time.monotonic())

    def buildProtocol(self, addr: object) -> _Channel:  # noqa: ARG002, N802 - Twisted's name
        """A channel that speaks HTTP/1.1 only."""
        channel = _Channel()
        channel.factory = self
        channel.callLater = reactor.callLater
        channel.timeOut = self.timeOut
        return channel

    def log(self, request: object) -> None:
        """Events are logged where they happen: there is no access log."""


def tls_context(tls: TlsKey) -> SSL.Context:
    """TLS 1.2 or newer with the CAS's key, asking every client for a certificate of any make."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    certificate, *above = tls.certificates
    context.use_privatekey(tls.key)
    context.use_certificate(certificate)
    for other in above:
        context.add_extra_chain_cert(other)
    # A client is who its key says: the handshake proves possession, and no CA has a say in it.
    context.set_verify(SSL.VERIFY_PEER, lambda *_certificate: True)
    return context


@implementer(IOpenSSLServerConnectionCreator)
class _TlsServer:
    """What Twisted asks for the server side of TLS connections."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:  # noqa: ARG002, N802, N803 - its interface
        """A connection in the one context."""
        return SSL.Connection(self._context, None)


def serve(state: Path, *, listening: int, alive: int, rate: float, unlocked: UnsealedKeys | None = None) -> None:
    """Serve on an inherited listening socket until SIGTERM, or until the supervisor's pipe `alive` closes."""
    parts = assemble(state, unlocked=unlocked)
    pool = ThreadPool(1, _THREADS, "client")
    pool.start()
    reactor.addSystemEventTrigger("after", "shutdown", pool.stop)
    port = _TLSFactory(_TlsServer(tls_context(parts.tls)), isClient=False, wrappedFactory=_Port(parts, pool, rate=rate))
    with socket.socket(fileno=listening) as inherited:
        inherited.setblocking(False)
        reactor.adoptStreamPort(inherited.fileno(), inherited.family, port)
    parent_watch.watch(alive)
    reactor.run()
