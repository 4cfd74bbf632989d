"""The key store of a CAS: keys of its own, and secrets of sessions, that are objects of a PKCS#11 token."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from scone_cas.errors import KeyStoreError
from scone_cas.identity.cas_identity import CasIdentity
from scone_cas.keys.signing_keys import VerifyingKey
from scone_cas.keystore import objects
from scone_cas.keystore.settings import HeldSecret, KeyStoreSettings
from scone_cas.keystore.token import Token
from scone_cas.keystore.token_keys import TokenEcKey, key_in
from scone_cas.secrets.value import Value

if TYPE_CHECKING:
    import pkcs11

_SEAL_CONTEXT = b"pulumi-scone cas sealing key v1"

Result = TypeVar("Result")


class KeyStore:
    """A token and what its objects stand for. Opens the token when it is first needed. Safe for threads."""

    def __init__(self, settings: KeyStoreSettings, pin: str) -> None:
        self.settings = settings
        self._token = Token(settings.pkcs11, pin)

    def check(self) -> None:
        """Raises KeyStoreError unless each object that the settings name is there, and is what they say it is."""
        if self.settings.identity is not None:
            self.identity_key()
        if self.settings.sealing_key is not None:
            self._run(self._confined_sealing_key)
        for name, secret in self.settings.secrets.items():
            try:
                self._value(secret)
            except KeyStoreError as problem:
                where = f"secrets.{name}: {problem.where}"
                raise KeyStoreError(problem.what, where=where, fix=problem.fix) from None

    def close(self) -> None:
        """Log out of the token."""
        self._token.close()

    def identity_key(self) -> TokenEcKey:
        """The CAS's identity key. Raises KeyStoreError unless it is a P-256 key that can never leave the token."""
        label = self.settings.identity
        assert label is not None

        def find(session: "pkcs11.Session") -> VerifyingKey:
            objects.require_confined(objects.private_key(session, label), label)
            return objects.public_key(session, label)

        public = self._run(find)
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            raise KeyStoreError("the identity of a CAS must be an EC key on P-256", where=f"object '{label}'")
        return TokenEcKey(self._token, label, public)

    def identity(self, *, now: datetime) -> CasIdentity:
        """The identity with a new certificate. Raises KeyStoreError."""
        return CasIdentity.of_key(self.identity_key(), now=now)

    def identity_of(self, certificate: x509.Certificate) -> CasIdentity:
        """The identity whose certificate was made before; the token is not asked before it signs."""
        assert self.settings.identity is not None
        public = certificate.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        return CasIdentity(key=TokenEcKey(self._token, self.settings.identity, public), certificate=certificate)

    def wrap(self, key: bytes) -> bytes:
        """A key encrypted by the token's sealing key. Raises KeyStoreError."""
        label = self._sealing_label()

        def work(session: "pkcs11.Session") -> bytes:
            self._confined_sealing_key(session)
            return objects.encrypt(session, label, key, _SEAL_CONTEXT)

        return self._run(work)

    def unwrap(self, wrapped: bytes) -> bytes:
        """What `wrap` made. Raises KeyStoreError when it was changed, or made by another key."""
        label = self._sealing_label()

        def work(session: "pkcs11.Session") -> bytes | None:
            from pkcs11 import PKCS11Error  # noqa: PLC0415

            self._confined_sealing_key(session)
            try:
                return objects.decrypt(session, label, wrapped, _SEAL_CONTEXT)
            except PKCS11Error:
                return None

        found = self._run(work)
        if found is None:
            raise KeyStoreError(
                "the sealing key does not open the key of this state: the object holds another key, or the state was "
                "changed",
                where=f"object '{label}'",
                fix="restore the object, or the whole state directory, from a backup",
            )
        return found

    def held(self, session: str, secret: str) -> HeldSecret | None:
        """What stands for a secret; None for one that CAS keeps itself."""
        return self.settings.secrets.get(f"{session}/{secret}")

    def value(self, session: str, secret: str) -> Value:
        """The value of a held secret, as the token has it now; a confined key only signs. Raises KeyStoreError."""
        return self._value(self.settings.secrets[f"{session}/{secret}"])

    def _value(self, held: HeldSecret) -> Value:
        label = held.object
        if held.kind != "private-key":
            return Value(kind=held.kind, content=_fit(held, self._run(lambda session: objects.data(session, label))))
        if held.deliver:
            return Value(kind=held.kind, content=self._run(lambda session: objects.extracted(session, label)))

        def find(session: "pkcs11.Session") -> VerifyingKey:
            objects.require_confined(objects.private_key(session, label), label)
            return objects.public_key(session, label)

        return Value(kind=held.kind, content=b"", signer=key_in(self._token, label, self._run(find)))

    def _confined_sealing_key(self, session: "pkcs11.Session") -> None:
        label = self._sealing_label()
        objects.require_confined(objects.secret_key(session, label), label)

    def _sealing_label(self) -> str:
        assert self.settings.sealing_key is not None
        return self.settings.sealing_key

    def _run(self, work: "Callable[[pkcs11.Session], Result]") -> Result:
        return self._token.run(work)


def _fit(held: HeldSecret, content: bytes) -> bytes:
    if held.kind == "ascii" and not (content.isascii() and content.decode().isprintable()):
        raise KeyStoreError("the object holds other bytes than printable ASCII", where=f"object '{held.object}'")
    return content
