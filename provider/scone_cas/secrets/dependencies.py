"""What values are made with, and what whoever makes one asks of whoever finds the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from scone_cas.entra.client import Entra
from scone_cas.keys.signing_keys import SigningKey
from scone_cas.secrets.remote import RemoteSecret
from scone_cas.secrets.value import Value
from scone_cas.sessions.snapshot import SessionSnapshot


class SecretValues(Protocol):
    """The values of secrets as one asker sees them."""

    @property
    def measurement(self) -> str | None:
        """That of the attested service that asks (64 hex digits); None when no service asks."""

    def value(self, live: SessionSnapshot, name: str) -> Value:
        """The value of a secret, wherever it lives. Raises Refusal."""

    def own_value(self, live: SessionSnapshot, name: str) -> Value:
        """The value of a secret that is not imported. Raises Refusal."""

    def signing_key(self, live: SessionSnapshot, name: str) -> SigningKey:
        """The key of a private-key secret, to sign with. Raises ValueError, in words, and Refusal."""

    def is_held(self, session: str, name: str) -> bool:
        """Whether the key store holds a secret."""


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

    `find` gives the newest version of a session; `renew` replaces a certificate that is stale in the store, unless
    somebody was faster, and gives what is stored then. Without `peers` no other CAS is asked. `key_store` holds what
    its settings name.
    """

    find: Callable[[str], SessionSnapshot | None]
    renew: Callable[[SessionSnapshot, str], bytes]
    clock: Callable[[], datetime]
    entra: Entra
    peers: RemoteSecrets | None
    key_store: HeldSecrets | None = None
