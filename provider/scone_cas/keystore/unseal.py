"""What a CAS with a key store knows since its start: handed to its processes in memory, never on disk.

The supervisor alone opens the token at the start. Its children get the store's key, the PIN and the TLS key through a
file that exists in memory alone, so that none of them needs the token before it has something to be signed or read.
"""

import base64
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scone_cas.identity.cas_identity import CasIdentity, TlsKey
from scone_cas.keystore.key_store import KeyStore
from scone_cas.keystore.settings import KeyStoreSettings, read_pin
from scone_cas.keystore.token import require_library
from scone_cas.storage.sealing import Sealer
from scone_cas.storage.state_directory import first_seal_key, seal_key, wrapped_seal_key
from scone_policy.errors import SconeError
from scone_policy.keys.key_hash import certificate_key_hash

_PRIVATE = b"PRIVATE KEY"


@dataclass(frozen=True, kw_only=True)
class UnsealedKeys:
    """Key store and what it gave: the key that seals the store, and the identity with the TLS key of this run.

    Each is None where the CAS keeps it in its state.
    """

    settings: KeyStoreSettings
    pin: str = field(repr=False)
    sealing: bytes | None = field(default=None, repr=False)
    certificate: x509.Certificate | None = None
    tls: TlsKey | None = field(default=None, repr=False)

    def key_store(self) -> KeyStore:
        """The key store, for one process."""
        return KeyStore(self.settings, self.pin)

    def to_descriptor(self) -> int:
        """A descriptor for processes that inherit it: of a file in memory that only they can read."""
        content = {
            "settings": self.settings.model_dump(mode="json"),
            "pin": self.pin,
            "sealing": _text(self.sealing),
            "certificate": _text(self.certificate.public_bytes(Encoding.DER) if self.certificate else None),
            "tls": _text(self.tls.to_pem() if self.tls else None),
        }
        descriptor = os.memfd_create("scone-cas-unlocked")
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(json.dumps(content).encode())
        return descriptor

    @classmethod
    def from_descriptor(cls, descriptor: int) -> "UnsealedKeys":
        """What the supervisor wrote."""
        content = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        certificate, tls = _bytes(content["certificate"]), _bytes(content["tls"])
        return cls(
            settings=KeyStoreSettings.model_validate(content["settings"]),
            pin=content["pin"],
            sealing=_bytes(content["sealing"]),
            certificate=x509.load_der_x509_certificate(certificate) if certificate else None,
            tls=TlsKey.from_pem(tls) if tls else None,
        )


def unlock(settings: KeyStoreSettings, directory: Path, *, now: datetime, random: bytes) -> UnsealedKeys:
    """Open the key store of a CAS that starts, and check all that is expected of it. Raises SconeError.

    `random`: 32 fresh random bytes, the key that seals the store if it is a new one.
    """
    require_library()
    pin = read_pin(settings.pkcs11)
    key_store = KeyStore(settings, pin)
    try:
        key_store.check()
        identity = key_store.identity(now=now) if settings.identity is not None else None
        sealing = wrapped_seal_key(directory, key_store, new=random) if settings.sealing_key is not None else None
        return UnsealedKeys(
            settings=settings,
            pin=pin,
            sealing=sealing,
            certificate=identity.certificate if identity else None,
            tls=identity.vouched_tls(now=now) if identity else None,
        )
    finally:
        key_store.close()


def first_sealer(directory: Path, unlocked: UnsealedKeys | None) -> Sealer:
    """The sealer of a state that may be a new one. Raises SconeError."""
    if unlocked is not None and unlocked.sealing is not None:
        return Sealer(unlocked.sealing)
    return first_seal_key(directory)


def sealer(directory: Path, unlocked: UnsealedKeys | None) -> Sealer:
    """The sealer of a state that was initialised. Raises SconeError."""
    if unlocked is not None and unlocked.sealing is not None:
        return Sealer(unlocked.sealing)
    return seal_key(directory)


def first_identity(unlocked: UnsealedKeys | None, *, now: datetime) -> bytes:
    """What a new store keeps of its CAS's identity: a new key with its certificate; of a held one the certificate."""
    if unlocked is not None and unlocked.certificate is not None:
        return unlocked.certificate.public_bytes(Encoding.PEM)
    return CasIdentity.create(now=now).to_pem()


def known_identity(kept: bytes, unlocked: UnsealedKeys | None, key_store: KeyStore | None = None) -> CasIdentity:
    """The identity that a store keeps, with the key where it is. Raises SconeError when that is another one."""
    certificate = unlocked.certificate if unlocked is not None else None
    is_held = _PRIVATE not in kept
    if certificate is None and not is_held:
        return CasIdentity.from_pem(kept)
    if unlocked is None or certificate is None:
        raise SconeError(
            "the identity of this CAS lives in a key store, and none is configured with an identity",
            fix="start the CAS with the --config of that key store",
        )
    known = certificate_key_hash(x509.load_pem_x509_certificate(kept))
    if not is_held or known != certificate_key_hash(certificate):
        raise SconeError(
            f"the key store holds another identity ({certificate_key_hash(certificate)}) than this state ({known}), "
            "which clients have pinned",
            fix="name the object with the old key; or start with an empty --state directory as a new CAS",
        )
    return (key_store or unlocked.key_store()).identity_of(certificate)


def _text(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
