"""Values of secrets as one asker sees them: stored, given, imported, or made at this moment from others."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial

from scone_cas.entra.client import TokenError, TokenRequest
from scone_cas.errors import Reason, Refusal
from scone_cas.keys import signing_keys
from scone_cas.keys.signing_keys import SigningKey
from scone_cas.secrets import checks, imports, issuance, tokens
from scone_cas.secrets.definitions import given, in_words, kind_of, named, place
from scone_cas.secrets.dependencies import HeldSecret, ResolverDependencies
from scone_cas.secrets.imports import LocalSecret
from scone_cas.secrets.pending import PendingFetch
from scone_cas.secrets.public_form import public_part
from scone_cas.secrets.remote import RemoteSecret
from scone_cas.secrets.value import CERTIFICATES, Value, from_stored
from scone_cas.sessions.snapshot import FETCHED, SessionSnapshot

_DEEPEST = 16
"""Secrets that are made from one another, across all sessions."""


class SecretResolver:
    """For one request and one thread: what is made in it is made once.

    `measurement` is that of the attested service that asks (64 hex digits); None when no service asks. With `waits` a
    token is fetched when it is asked for; without, for `expect`, an unknown one is noted and nothing stands for it.
    With `asks` another CAS is asked for what is imported from it; without, what it said shortly before counts.
    A `local` view shows nothing that another CAS holds, nor what is made of it; that of `anyone` is so, without tokens.
    """

    def __init__(
        self,
        means: ResolverDependencies,
        *,
        measurement: str | None = None,
        waits: bool = True,
        asks: bool = False,
        local: bool = False,
        anyone: bool = False,
    ) -> None:
        self._means = means
        self._anyone = anyone
        self._waits = waits
        self._asks = asks
        self._local = local or anyone
        self._needed: list[Callable[[], None]] = []
        self._wanted: list[RemoteSecret] = []
        self.measurement = measurement
        self._made: dict[tuple[str, str], Value] = {}
        self._depth = 0

    def live(self, name: str) -> SessionSnapshot | None:
        """The newest version of a session."""
        return self._means.find(name)

    def value(self, live: SessionSnapshot, name: str) -> Value:
        """The value of a secret, wherever it lives. Raises Refusal."""
        found = imports.locate(live, name, self.live)
        if self._local and isinstance(found, RemoteSecret):
            raise Refusal(
                Reason.UNKNOWN, f"the secret '{name}' of '{live.session.name}' lives on another CAS: ask that one"
            )
        return self.at(found)

    def at(self, location: LocalSecret | RemoteSecret) -> Value:
        """The value that lives there, as far as it is shared. Raises Refusal."""
        if isinstance(location, RemoteSecret):
            return self.elsewhere(location)
        found = self.own_value(location.owner, location.name)
        return public_part(found) if location.as_public else found

    def elsewhere(self, wanted: RemoteSecret) -> Value:
        """The value of a secret that another CAS holds. Raises Refusal."""
        peers = self._means.peers
        if peers is None:
            raise Refusal(Reason.UNSUPPORTED, f"{wanted.where}: this CAS asks no others")
        if peers.unknown([wanted]):
            if self._asks:
                peers.ask([wanted])
            else:
                self._wanted.append(wanted)
        return peers.known(wanted)

    def own_value(self, live: SessionSnapshot, name: str) -> Value:
        """The value of a secret that is not imported. Raises Refusal."""
        known = self._made.get((live.hash, name))
        if known is not None:
            return known
        if self._depth >= _DEEPEST:
            raise Refusal(
                Reason.INVALID, f"{place(live, name)}: is made from more than {_DEEPEST} others, or from itself"
            )
        self._depth += 1
        try:
            found = self._made[live.hash, name] = self._taken(live, name) or self._make(live, name)
        finally:
            self._depth -= 1
        return found

    def signing_key(self, live: SessionSnapshot, name: str) -> SigningKey:
        """The key of a private-key secret, to sign with; it need not be one whose bytes anybody can have.

        Raises ValueError, in words, when the secret is no such key; Refusal when it cannot be reached.
        """
        value = self.value(live, name)
        if value.kind != "private-key":
            raise ValueError(f"{name} is a secret of kind {value.kind}, not private-key")
        if value.signer is not None:
            return value.signer
        return signing_keys.load(value.content)

    def expect(self, live: SessionSnapshot) -> None:
        """Raises PendingFetch when values of the session, or those that they are made from, must be fetched first."""
        for one, name in self._slow(live):
            with suppress(Refusal):  # said at delivery, if a service needs it
                self.value(one, name)
        if self._wanted:
            self._needed.append(self._ask)
        if self._needed:
            raise PendingFetch(self._needed)

    def _slow(self, live: SessionSnapshot) -> Iterator[tuple[SessionSnapshot, str]]:
        """What the services of a session may receive that is fetched, or made from what is."""
        for name, secret in live.session.secrets.items():
            if secret.kind in FETCHED or secret.import_ is not None:
                yield live, name
        for volume in live.session.volumes.values():
            owner = self.live(volume.import_.session) if volume.import_ is not None else None
            if owner is not None:  # whose keys of volumes may be imported in turn
                names = [name for name, secret in owner.session.secrets.items() if secret.import_ is not None]
                yield from ((owner, name) for name in names)

    def _ask(self) -> None:
        peers = self._means.peers
        assert peers is not None
        with suppress(Refusal):  # said at delivery
            peers.ask(list(dict.fromkeys(self._wanted)))

    def check(self, live: SessionSnapshot, name: str) -> None:
        """Raises Refusal when a secret of an upload could not be made when it is asked for."""
        checks.check(self, live, name, self._held(live.session.name, name))

    def is_held(self, session: str, name: str) -> bool:
        """Whether the key store holds a secret: then the store keeps nothing of it."""
        return self._held(session, name) is not None

    def _held(self, session: str, name: str) -> HeldSecret | None:
        key_store = self._means.key_store
        return None if key_store is None else key_store.held(session, name)

    def issued(self, live: SessionSnapshot, name: str) -> Value:
        """A new certificate for a secret that CAS generates, without its other parts. Raises Refusal."""
        return issuance.issued(self, live, name, self._means.clock())

    def is_stale(self, live: SessionSnapshot, name: str) -> bool:
        """Whether a stored certificate must be made anew: it ends soon, or its issuer or itself has another key."""
        return issuance.is_stale(self, live, name, self._means.clock())

    def _taken(self, live: SessionSnapshot, name: str) -> Value | None:
        """The value of a secret that the key store holds."""
        key_store = self._means.key_store
        if key_store is None or not self.is_held(live.session.name, name):
            return None
        with in_words(live, name):
            return key_store.value(live.session.name, name)

    def _make(self, live: SessionSnapshot, name: str) -> Value:
        secret = live.session.secrets[name]
        with in_words(live, name):
            if secret.kind in CERTIFICATES:
                return issuance.certificate_value(self, live, name, now=self._means.clock(), renew=self._means.renew)
            if secret.value is not None:
                return given(secret)
            match secret.kind:
                case "public-key":
                    key = self.signing_key(live, named(live, secret.private_key))
                    return Value(kind="public-key", content=signing_keys.public_der(key))
                case "jwt":
                    return Value(kind="jwt", content=tokens.signed_token(self, live, name, self._means.clock()))
                case "aad-token":
                    return Value(kind="aad-token", content=self._token(live, name))
        if name not in live.generated:
            raise Refusal(
                Reason.UNAVAILABLE, f"{place(live, name)}: was held by a key store, which does not hold it any more"
            )
        return from_stored(kind_of(secret), live.generated[name])

    def _token(self, live: SessionSnapshot, name: str) -> bytes:
        if self._anyone:
            raise Refusal(Reason.INVALID, f"{place(live, name)}: {checks.NEVER_PUBLIC}")
        for key in ("tenant_id", "client_id"):
            if not getattr(live.session.secrets[name], key):
                raise Refusal(Reason.INVALID, f"{place(live, name)}: there is no token: its {key} is empty")
        request, now = tokens.token_request(self, live, name), self._means.clock()
        if not self._waits and not self._means.entra.knows(request, now=now):
            self._needed.append(partial(self._fetch, request, now))
            return b""
        try:
            return self._means.entra.token(request, now=now, nonce=str(uuid.uuid4()))
        except TokenError as problem:
            raise Refusal(Reason.UPSTREAM, f"{place(live, name)}: there is no token: {problem}") from None

    def _fetch(self, request: TokenRequest, now: datetime) -> None:
        with suppress(TokenError):  # remembered, and said at delivery
            self._means.entra.token(request, now=now, nonce=str(uuid.uuid4()))
