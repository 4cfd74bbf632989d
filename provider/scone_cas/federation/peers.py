"""Secrets of other CASes: asked for by sessions of this one, remembered shortly, never stored (docs/cas-sharing.md)."""

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import quote

from cachetools import FIFOCache, LRUCache

from scone_cas import log
from scone_cas.errors import CALM, Reason, Refusal
from scone_cas.federation.connection import ANSWER_TIME, Answer, Failure, Peer, Trust, UnreachableError, client_context
from scone_cas.federation.protocol import ROUTE, Ask, PeerError, Shared, read_public
from scone_cas.federation.settings import PeerAddress, PeerSettings
from scone_cas.identity.cas_identity import CasIdentity, TlsKey
from scone_cas.limits import Gate
from scone_cas.secrets.remote import RemoteSecret, check_kind
from scone_cas.secrets.value import Value
from scone_policy.keys.key_hash import pinned

FRESH = 30.0
"""Seconds for which an answer is used without asking again: how long a withdrawn or changed secret lives on."""
_FAILED = 5.0
"""Seconds for which a failure is repeated instead of asking again."""
_GRACE = 20.0
"""Seconds for which what was fresh when a request began may be used to its end."""
_REMEMBERED = 256
_PEERS = 64
_ASK_TIME = 20.0
"""Seconds after which a request asks for nothing more: the next one goes on where it stopped."""
_MOST_SECRETS = 64
_MOST_PEERS = 8
"""Of one session."""
AT_ONCE = 4
"""Requests of this process that may wait for other CASes at a time."""


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """An answer, and until when it is used."""

    value: Value | None
    problem: str
    until: float


class Peers:
    """The other CASes that this process talks to. Safe for threads; to be made anew after a fork."""

    def __init__(
        self,
        settings: PeerSettings,
        identity: CasIdentity,
        tls: TlsKey | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        answer_time: float = ANSWER_TIME,
    ) -> None:
        self.settings = settings
        self._identity, self._tls = identity, tls or identity.tls
        self._clock, self._answer_time = clock, answer_time
        self._context: ssl.SSLContext | None = None
        self._peers: LRUCache[tuple[PeerAddress, Trust], Peer] = LRUCache(_PEERS)
        self._outcomes: FIFOCache[RemoteSecret, _Outcome] = FIFOCache(_REMEMBERED)
        self._asking: dict[RemoteSecret, Future[_Outcome]] = {}
        self._waiting = Gate(AT_ONCE)
        self._lock = threading.Lock()

    def unknown(self, wanted: Sequence[RemoteSecret]) -> list[RemoteSecret]:
        """Those whose answer is not known, or not fresh."""
        now = self._clock()
        with self._lock:
            outcomes = [(one, self._outcomes.get(one)) for one in wanted]
        return [one for one, outcome in outcomes if outcome is None or outcome.until <= now]

    def ask(self, wanted: Sequence[RemoteSecret]) -> None:
        """Ask for all of them, within limits; the answers are there for `known`, good or bad. Raises Refusal."""
        if not self._waiting.enter():
            raise Refusal(Reason.UNAVAILABLE, f"too many requests wait for other CASes; {CALM}", retry_after=1)
        deadline = self._clock() + _ASK_TIME
        try:
            for one in self.unknown(wanted):
                if self._clock() > deadline:
                    break
                self._outcome(one)
        finally:
            self._waiting.leave()

    def known(self, wanted: RemoteSecret) -> Value:
        """The value that was asked for just before. Never waits. Raises Refusal."""
        with self._lock:
            outcome = self._outcomes.get(wanted)
        if outcome is None or outcome.until + _GRACE <= self._clock():
            raise Refusal(Reason.UNAVAILABLE, f"{wanted.where}: was not asked for yet; {CALM}", retry_after=1)
        if outcome.value is None:
            raise Refusal(Reason.UPSTREAM, outcome.problem)
        check_kind(outcome.value.kind, wanted.kind, wanted.where, wanted.source.secret)
        return outcome.value

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            peers, self._peers = list(self._peers.values()), LRUCache(_PEERS)
        for peer in peers:
            peer.close()

    def _outcome(self, wanted: RemoteSecret) -> _Outcome:
        """Ask, unless another thread does so already: then share its answer."""
        with self._lock:
            asked = self._asking.get(wanted)
            mine: Future[_Outcome] | None = None
            if asked is None:
                mine = self._asking[wanted] = Future()
        if asked is not None:
            return asked.result()
        assert mine is not None
        try:
            outcome = self._fetch(wanted)
        except BaseException as problem:
            mine.set_exception(problem)
            raise
        else:
            mine.set_result(outcome)
            return outcome
        finally:
            with self._lock:
                del self._asking[wanted]

    def _fetch(self, wanted: RemoteSecret) -> _Outcome:
        url = wanted.source.cas_url
        try:
            value = self._value(wanted)
            outcome = _Outcome(value=value, problem="", until=self._clock() + FRESH)
        except PeerError as problem:
            said = f"{wanted.where}: the CAS {url} {problem}"
            log.event("peer-refused", cas=url, session=wanted.source.session, secret=wanted.source.secret, what=problem)
            outcome = _Outcome(value=None, problem=said, until=self._clock() + _FAILED)
        with self._lock:
            self._outcomes[wanted] = outcome
        return outcome

    def _value(self, wanted: RemoteSecret) -> Value:
        source, peer = wanted.source, self._peer(*self._place(wanted))
        if peer.failure is not None and peer.failure.until > self._clock():
            # Who did not answer a moment ago is not waited for again, however many secrets are wanted of it.
            raise UnreachableError(peer.failure.problem)
        asked = Ask(
            session=source.session,
            secret=source.secret,
            importer=wanted.importer,
            importer_hash=wanted.importer_hash,
        )
        try:
            answer = peer.ask("POST", ROUTE, asked.write())
            if answer.status == 200:
                return self._exported(Shared.read(answer.body), wanted)
            _check_ready(answer)
            return self._published(peer, wanted)
        except UnreachableError as problem:
            peer.failure = Failure(problem=str(problem), until=self._clock() + _FAILED)
            raise

    @staticmethod
    def _exported(shared: Shared, wanted: RemoteSecret) -> Value:
        if wanted.source.session_hash not in (None, shared.session_hash):
            raise PeerError(
                f"has the session '{wanted.source.session}' with another hash than session_hash says: "
                "read what changed there, then give its new hash"
            )
        return shared.value

    def _published(self, peer: Peer, wanted: RemoteSecret) -> Value:
        """What is not exported to this session may be public: so it is at every CAS, and without its session's hash."""
        source = wanted.source
        path = f"/v1/values/session={quote(source.session)}"
        answer = peer.ask("GET", f"{path},secret={quote(source.secret)}" if wanted.kind is not None else path)
        if answer.status != 200:
            _check_ready(answer)
            raise PeerError(
                f"does not share a secret '{source.secret}' of the session '{source.session}' with this session: "
                f"export it to '{wanted.importer}' there with cas_key: {self._identity.key_hash}, or without, and have "
                f"that CAS started with --trusted-peer {self._identity.key_hash}=<namespace>"
            )
        if source.session_hash is not None:
            raise PeerError(f"shows '{source.secret}' to everyone, but not with a hash: import it without session_hash")
        return read_public(answer.body, source.secret, wanted.kind)

    def _place(self, wanted: RemoteSecret) -> tuple[PeerAddress, Trust]:
        source = wanted.source
        assert source.cas_url is not None
        try:
            place = self.settings.place(source.cas_url)
        except ValueError as problem:
            raise PeerError(f"has a cas_url that {problem}") from None
        if source.cas_key is not None:
            return place, Trust(cas_key=pinned(source.cas_key))
        assert source.cas_software_key is not None
        return place, Trust(software_key=pinned(source.cas_software_key), tolerates_debug=wanted.tolerates_debug)

    def _made(self, place: PeerAddress, trust: Trust) -> Peer:
        if self._context is None:
            self._context = client_context(self._tls)
        return Peer(place, trust, self._context, clock=self._clock, answer_time=self._answer_time)

    def _peer(self, place: PeerAddress, trust: Trust) -> Peer:
        with self._lock:
            peer = self._peers.get((place, trust))
            if peer is not None:
                return peer
            peer = self._made(place, trust)
            gone = self._peers.popitem()[1] if len(self._peers) == _PEERS else None
            self._peers[place, trust] = peer
        if gone is not None:
            gone.close()
        return peer


def check_number(wanted: Sequence[RemoteSecret]) -> None:
    """Raises Refusal when a session imports from so many other CASes that its services would wait for ever."""
    urls = {one.source.cas_url for one in wanted}
    if len(urls) > _MOST_PEERS or len(wanted) > _MOST_SECRETS:
        raise Refusal(
            Reason.INVALID,
            f"secrets: one session imports at most {_MOST_SECRETS} from at most {_MOST_PEERS} other CASes",
        )


def _check_ready(answer: Answer) -> None:
    if answer.status in (429, 500, 503):
        raise UnreachableError(f"is too busy or failed (status {answer.status})")
