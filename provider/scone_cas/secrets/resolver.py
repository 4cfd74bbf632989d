"""Values of secrets as one asker sees them: stored, given, imported, or made at this moment from others."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from scone_cas.entra.client import Certified, Entra, TokenError, TokenRequest
from scone_cas.errors import Reason, Refusal
from scone_cas.keys import certificates, jwt, signing_keys
from scone_cas.keys.certificates import Issuer
from scone_cas.keys.signing_keys import SigningKey
from scone_cas.secrets import imports
from scone_cas.secrets.definitions import certificate_of, given, in_words, kind_of, named, place, spki
from scone_cas.secrets.encoding import spell
from scone_cas.secrets.imports import LocalSecret
from scone_cas.secrets.pending import PendingFetch
from scone_cas.secrets.public_form import public_part
from scone_cas.secrets.remote import RemoteSecret
from scone_cas.secrets.value import CERTIFICATES, Value, from_stored
from scone_cas.sessions.snapshot import FETCHED, SessionSnapshot
from scone_policy.keys import pem
from scone_policy.model.secrets import Secret
from scone_policy.syntax import durations
from scone_policy.syntax.placeholders import SELF, Placeholder, is_reference, parts, resolve

_DEEPEST = 16
"""Secrets that are made from one another, across all sessions."""

_NEVER_PUBLIC = "an aad-token cannot be public"


class RemoteSecrets(Protocol):
    """Whoever asks other CASes; `known` gives, or refuses, what `ask` has found out."""

    def unknown(self, wanted: Sequence[RemoteSecret]) -> list[RemoteSecret]:
        """Those whose answer is not known, or not fresh."""

    def ask(self, wanted: Sequence[RemoteSecret]) -> None:
        """Ask for all of them. Raises Refusal."""

    def known(self, wanted: RemoteSecret) -> Value:
        """The value that was asked for just before. Never waits. Raises Refusal."""


class HeldSecret(Protocol):
    """What a key store says of a secret that it holds."""

    @property
    def kind(self) -> str:
        """The kind of secret that it can be."""


class HeldSecrets(Protocol):
    """A key store that holds secrets of sessions."""

    def held(self, session: str, name: str) -> HeldSecret | None:
        """What is held of a secret."""

    def value(self, session: str, name: str) -> Value:
        """The value of a secret that it holds. Raises KeyStoreError."""


@dataclass(frozen=True, kw_only=True)
class ResolverDependencies:
    """What values are made with.

    `find` gives the newest version of a session; `renew` replaces a certificate that `is_stale` in the store, unless
    somebody was faster, and gives what is stored then. Without `peers` no other CAS is asked. `key_store` holds what
    its settings name.
    """

    find: Callable[[str], SessionSnapshot | None]
    renew: Callable[[SessionSnapshot, str], bytes]
    clock: Callable[[], datetime]
    entra: Entra
    peers: RemoteSecrets | None
    key_store: HeldSecrets | None = None


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
        self._measurement = measurement
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
            found = self._made[live.hash, name] = self._taken(live, name) or self._make(
                live, name, live.session.secrets[name]
            )
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
        secret = live.session.secrets[name]
        held = self._held(live.session.name, name)
        if held is not None:
            with in_words(live, name):
                self._check_held(live, name, held)
            return
        if secret.import_ is not None:
            return
        if secret.kind == "public-key" or (secret.kind in CERTIFICATES and secret.value is not None):
            self.own_value(live, name)
        elif secret.kind == "jwt":
            self._jwt_key(live, name, secret)
        elif secret.kind == "aad-token":
            if secret.export_public is True:
                raise Refusal(Reason.INVALID, f"{place(live, name)}: {_NEVER_PUBLIC}")
            self._token_request(live, name, secret)

    def is_held(self, session: str, name: str) -> bool:
        """Whether the key store holds a secret: then the store keeps nothing of it."""
        return self._held(session, name) is not None

    def _held(self, session: str, name: str) -> HeldSecret | None:
        key_store = self._means.key_store
        return None if key_store is None else key_store.held(session, name)

    def _check_held(self, live: SessionSnapshot, name: str, held: HeldSecret) -> None:
        secret = live.session.secrets[name]
        if not secret.is_generated:
            raise ValueError("is held by the CAS's key store, so that it takes neither value nor import")
        if held.kind == "private-key" and secret.export_public is True:
            raise ValueError("is a key in the CAS's key store, which cannot be public")
        if secret.kind != held.kind:
            raise ValueError(f"is held by the CAS's key store as {held.kind}, not {secret.kind}")
        if held.kind == "private-key" and secret.key_type is not None:
            found = signing_keys.key_type(self.signing_key(live, name))
            if found != secret.key_type:
                raise ValueError(f"key_type is {secret.key_type}, and the key in the CAS's key store is {found}")
        self.own_value(live, name)

    def issued(self, live: SessionSnapshot, name: str) -> Value:
        """A new certificate for a secret that CAS generates, without its other parts. Raises Refusal."""
        secret = live.session.secrets[name]
        assert secret.private_key is not None
        with in_words(live, name, "private_key"):
            key = self.signing_key(live, named(live, secret.private_key))
        with in_words(live, name, "issuer" if secret.issuer else ""):
            issuer = self._issuer(live, secret)
            signer = self._issuer_key(live, secret) if issuer is not None else key
            if issuer is not None and spki(issuer.certificate) != signing_keys.public_der(signer):
                raise ValueError("names a certificate of another key than the one that is reachable")
            certificate = certificates.issue(
                name, secret, subject_key=key.public_key(), signer=signer, issuer=issuer, now=self._means.clock()
            )
        return Value(kind=kind_of(secret), content=certificate.public_bytes(Encoding.DER))

    def is_stale(self, live: SessionSnapshot, name: str) -> bool:
        """Whether a stored certificate must be made anew: it ends soon, or its issuer or itself has another key."""
        secret = live.session.secrets[name]
        with in_words(live, name):
            return self._is_stale(live, secret, certificate_of(live, name), self._issuer(live, secret))

    def _is_stale(
        self, live: SessionSnapshot, secret: Secret, certificate: x509.Certificate, issuer: Issuer | None
    ) -> bool:
        if certificates.is_due(certificate, self._means.clock()):
            return True
        if issuer is not None and not certificates.is_signed_by(certificate, issuer):
            return True
        key = named(live, secret.private_key)
        # A key of the session itself changes with the session only, and then the certificate is made anew.
        may_change = live.session.secrets[key].import_ is not None or self.is_held(live.session.name, key)
        return may_change and signing_keys.public_der(self.signing_key(live, key)) != spki(certificate)

    def _taken(self, live: SessionSnapshot, name: str) -> Value | None:
        """The value of a secret that the key store holds."""
        key_store = self._means.key_store
        if key_store is None or not self.is_held(live.session.name, name):
            return None
        with in_words(live, name):
            return key_store.value(live.session.name, name)

    def _make(self, live: SessionSnapshot, name: str, secret: Secret) -> Value:
        with in_words(live, name):
            if secret.kind in CERTIFICATES:
                return self._x509(live, name, secret)
            if secret.value is not None:
                return given(secret)
            match secret.kind:
                case "public-key":
                    key = self.signing_key(live, named(live, secret.private_key))
                    return Value(kind="public-key", content=signing_keys.public_der(key))
                case "jwt":
                    return Value(kind="jwt", content=self._jwt(live, name, secret))
                case "aad-token":
                    return Value(kind="aad-token", content=self._token(live, name, secret))
        if name not in live.generated:
            raise Refusal(
                Reason.UNAVAILABLE, f"{place(live, name)}: was held by a key store, which does not hold it any more"
            )
        return from_stored(kind_of(secret), live.generated[name])

    def _x509(self, live: SessionSnapshot, name: str, secret: Secret) -> Value:
        if secret.value is not None:
            content, *above = pem.blocks(secret.value, pem.CERTIFICATE)
            issuer = self._issuer(live, secret)
            own = "".join(pem.armour(pem.CERTIFICATE, der) for der in above).encode()
            chain = own if issuer is None else issuer.whole_chain
        else:
            issuer = self._issuer(live, secret)
            certificate = certificate_of(live, name)
            if self._is_stale(live, secret, certificate, issuer):
                certificate = certificates.load(from_stored(kind_of(secret), self._means.renew(live, name)).content)
            content = certificate.public_bytes(Encoding.DER)
            chain = issuer.whole_chain if issuer is not None else b""
        more, signer = {"chain": chain}, None
        if secret.private_key is not None:
            key = named(live, secret.private_key)
            if secret.value is not None and signing_keys.public_der(self.signing_key(live, key)) != spki(
                certificates.load(content)
            ):
                raise ValueError(f"the certificate is not one of the key {key}")
            found = self.value(live, key)
            signer = found.signer
            if signer is None:
                more["private_key"] = found.content
        return Value(kind=kind_of(secret), content=content, more=more, signer=signer)

    def _issuer(self, live: SessionSnapshot, secret: Secret) -> Issuer | None:
        if secret.issuer is None:
            return None
        name = named(live, secret.issuer)
        found = self.value(live, name)
        if found.kind not in CERTIFICATES:
            raise ValueError(f"{name} is a secret of kind {found.kind}, not x509-ca")
        return Issuer(certificate=certificates.load(found.content), chain=found.more.get("chain", b""))

    def _issuer_key(self, live: SessionSnapshot, secret: Secret) -> SigningKey:
        """The key of the issuer, which need not be known where the issuer only is imported."""
        name = named(live, secret.issuer)
        issuer = live.session.secrets[name]
        if issuer.private_key is not None:
            return self.signing_key(live, named(live, issuer.private_key))
        found = self.value(live, name)
        if found.signer is not None:
            return found.signer
        key = found.more.get("private_key")
        if key is None:
            raise ValueError(
                f"the private key of {name} cannot be reached, and nothing can be signed without it: "
                "give private_key there, or import the certificate from where its key is"
            )
        return signing_keys.load(key)

    def _jwt(self, live: SessionSnapshot, name: str, secret: Secret) -> bytes:
        assert secret.validity is not None
        key = self._jwt_key(live, name, secret)
        payload = {
            claim: self._text(live, f"{place(live, name)}: payload.{claim}", text)
            for claim, text in (secret.payload or {}).items()
        }
        seconds = durations.seconds(secret.validity.for_)
        return jwt.jwt(payload, key=key, now=self._means.clock(), seconds=seconds)

    def _jwt_key(self, live: SessionSnapshot, name: str, secret: Secret) -> ec.EllipticCurvePrivateKey:
        with in_words(live, name, "signer"):
            signer = named(live, secret.signer)
            key = self.signing_key(live, signer)
            if not isinstance(key, ec.EllipticCurvePrivateKey) or not signing_keys.is_p384(key):
                raise ValueError(f"ES384 needs a P-384 key, and {signer} has another type")
            return key

    def _token(self, live: SessionSnapshot, name: str, secret: Secret) -> bytes:
        if self._anyone:
            raise Refusal(Reason.INVALID, f"{place(live, name)}: {_NEVER_PUBLIC}")
        if not secret.tenant_id:
            raise Refusal(Reason.INVALID, f"{place(live, name)}: there is no token: its tenant_id is empty")
        request, now = self._token_request(live, name, secret), self._means.clock()
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

    def _token_request(self, live: SessionSnapshot, name: str, secret: Secret) -> TokenRequest:
        proof: str | Certified
        if secret.application_secret is not None:
            proof = self._text(live, f"{place(live, name)}: application_secret", secret.application_secret)
        else:
            with in_words(live, name, "private_key"):
                proof = Certified(key=self._rsa_key(live, secret), thumbprint=secret.certificate_thumbprint or "")
        return TokenRequest(tenant_id=secret.tenant_id or "", client_id=secret.client_id or "", proof=proof)

    def _rsa_key(self, live: SessionSnapshot, secret: Secret) -> rsa.RSAPrivateKey:
        written = secret.private_key or ""
        key = self.signing_key(live, named(live, written)) if is_reference(written) else signing_keys.load_pem(written)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("the key of an application's certificate must be RSA")  # noqa: TRY004
        return key

    def _text(self, live: SessionSnapshot, where: str, text: str) -> str:
        """The text with its placeholders filled in; what was put in is never looked at again."""
        kinds = {name: secret.kind for name, secret in live.session.secrets.items()}
        found = []
        for part in parts(text):
            if isinstance(part, Placeholder) and part.name == SELF:
                if self._measurement is None:
                    raise Refusal(Reason.INVALID, f"{where}: {SELF} stands for the service that asks, and none does")
                found.append(self._measurement)
            elif isinstance(part, Placeholder):
                name, suffix = resolve(part, kinds)
                try:
                    found.append(spell(self.value(live, name), suffix, escape_json=part.escape_json).decode())
                except UnicodeDecodeError:
                    raise Refusal(Reason.INVALID, f"{where}: the secret {name} put in here is not text") from None
            else:
                found.append(part)
        return "".join(found)
