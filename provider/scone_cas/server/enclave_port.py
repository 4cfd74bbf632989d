"""The enclave port: granian's native TLS and workers carry requests to `EnclaveApi` through one small ASGI app."""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.server.common import AbstractServer

from scone_cas import log
from scone_cas.api.enclave import LARGEST_REQUEST, EnclaveApi, busy, failed, malformed
from scone_cas.api.http import Request, Response
from scone_cas.identity.cas_identity import TlsKey
from scone_cas.keystore.unseal import UnsealedKeys
from scone_cas.limits import Gate, RateLimit
from scone_cas.secrets.pending import ATTEMPTS, PendingFetch
from scone_cas.server import parent_watch
from scone_cas.server.assembly import assemble
from scone_cas.server.connection_warden import ConnectionWarden
from scone_cas.tally import INTERVAL
from scone_policy.errors import SconeError

_QUEUE = 256
"""Complete requests in progress, per worker; of one address three quarters."""
_ASKERS = 8
"""Requests, per worker, for which something is fetched at a time."""
_BODY_TIME = 10.0
"""Seconds until a request's body must be complete."""
_HEADER_TIME = 10_000
"""Milliseconds until a request's headers must be complete."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class TooLargeError(Exception):
    """The body exceeds the limit."""


class App:
    """The ASGI application of one worker."""

    def __init__(self, api: EnclaveApi, warden: ConnectionWarden, *, rate: float) -> None:
        self._api = api
        self._warden = warden
        self._rate = RateLimit(rate=rate, burst=2 * rate)
        self._gate = Gate(_QUEUE, each=_QUEUE * 3 // 4)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._askers = ThreadPoolExecutor(_ASKERS, thread_name_prefix="ask")
        self._reached = 0
        self._syncing: asyncio.Future[None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            # Read first: an answer to a request that was not read ends the connection, and may get lost with it.
            async with asyncio.timeout(_BODY_TIME):
                body = await _body(scope, receive)
        except TooLargeError:
            await _send(send, malformed(f"the body is larger than {LARGEST_REQUEST} bytes"), is_last=True)
        except TimeoutError:
            await _send(send, malformed("the body did not arrive in time"), is_last=True)
        else:
            address, port = scope.get("client") or ("", 0)
            with self._warden.answering((address, int(port))) as is_last:
                request = Request(method=scope["method"], path=scope["path"], body=body, address=address)
                answer = await self._answer(request)
            # From here on the connection waits again: for who reads the answer, or does not.
            await _send(send, answer, is_last=is_last)

    async def _answer(self, request: Request) -> Response:
        """The answer to a complete request. One that is not complete takes nobody's place."""
        if not self._rate.admits(request.address):
            return busy(429, 1)
        if not self._gate.enter(request.address):
            return busy(503, 1)
        try:
            # Half a millisecond of work, most of it under the interpreter's lock: a thread would only add hand-overs.
            answer, place = await self._begin(request)
            await self._on_disk(place)
        except SconeError as problem:
            return failed(problem)
        else:
            return answer
        finally:
            self._gate.leave(request.address)

    async def _begin(self, request: Request) -> tuple[Response, int]:
        """The answer, and its place in the audit log. What must be fetched is, in threads: no other request waits."""
        loop = asyncio.get_running_loop()
        for _ in range(ATTEMPTS):
            try:
                if self._api.waits(request):
                    return await loop.run_in_executor(self._writer, self._api.begin, request)
                return self._api.begin(request)
            except PendingFetch as needed:
                await loop.run_in_executor(self._askers, needed.ask)
        return busy(503, 1), 0

    async def _on_disk(self, place: int) -> None:
        """Wait until the audit log is on disk up to there. One write to disk carries all that wait for it."""
        while self._reached < place:
            if self._syncing is None:
                self._syncing = asyncio.ensure_future(self._sync())
            await asyncio.shield(self._syncing)

    async def _sync(self) -> None:
        try:
            self._reached = await asyncio.get_running_loop().run_in_executor(self._pool, self._api.sync)
        finally:
            self._syncing = None


async def _send(send: Send, answer: Response, *, is_last: bool) -> None:
    headers = [(b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(answer.body))]
    headers += [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    if is_last:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _body(scope: Message, receive: Receive) -> bytes:
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if not announced.isdigit() or int(announced) > LARGEST_REQUEST:
        raise TooLargeError
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise TimeoutError
        parts += message.get("body", b"")
        if len(parts) > LARGEST_REQUEST:
            raise TooLargeError
        if not message.get("more_body", False):
            return bytes(parts)


class _InMemory(PosixPath):
    """A path of an open descriptor, which must not be resolved: what it would lead to has no name."""

    def resolve(self, strict: bool = False) -> "_InMemory":  # noqa: ARG002, FBT001, FBT002 - pathlib's signature
        """Itself."""
        return self


def serve(
    state: Path, *, host: str, port: int, workers: int, alive: int, rate: float, unlocked: UnsealedKeys | None = None
) -> None:
    """Serve until SIGTERM, or until the supervisor's pipe `alive` closes."""

    def load(_target: object) -> App:
        parent_watch.watch(alive, at_once=True)
        warden = ConnectionWarden(port)
        warden.watch()
        api = assemble(state, unlocked=unlocked).enclave_api
        threading.Thread(target=_tell_counted, args=(api,), name="tally", daemon=True).start()
        return App(api, warden, rate=rate / workers)

    parent_watch.watch(alive)
    server(assemble(state, unlocked=unlocked).tls, host=host, port=port, workers=workers).serve(target_loader=load)


def _tell_counted(api: EnclaveApi) -> None:
    """Record what was only counted, also when nobody asks any more."""
    while True:
        time.sleep(INTERVAL)
        try:
            api.tell_counted()
        except SconeError as problem:
            log.repeated("enclave-fault", what=problem.what)


def server(tls: TlsKey, *, host: str, port: int, workers: int) -> AbstractServer[Any]:
    """The server with the port's settings, for whatever application."""
    pem = _in_memory(tls)
    return Granian(
        "scone_cas",
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        workers=workers,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIME, max_buffer_size=128 * 1024),
        websockets=False,
        backlog=2048,
        backpressure=ConnectionWarden.most_accepted(),
        log_enabled=False,
        ssl_cert=pem,
        ssl_key=pem,
        ssl_protocol_min=SSLProtocols.tls13,
        workers_kill_timeout=10,
    )


def _in_memory(tls: TlsKey) -> Path:
    """Key and certificates as a file that exists in memory alone: forked workers read it by its descriptor."""
    descriptor = os.memfd_create("scone-cas")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(tls.to_pem())
    return _InMemory(f"/proc/self/fd/{descriptor}")
