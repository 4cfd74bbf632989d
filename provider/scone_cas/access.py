"""Decides who may do what: access policies against the key that a caller proved (session language, section 6)."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scone_cas.messages import Refusal
from scone_policy.access import ANY, CREATOR, NONE, AccessPolicy, Entry
from scone_policy.keyhash import certificate_key_hash


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks: certificate key hash (Base58Check) and certificate (PEM); both None for nobody in particular.

    `address` is the peer's, for the audit log alone: it decides nothing.
    """

    key_hash: str | None = None
    certificate: str | None = None
    address: str = ""

    @classmethod
    def of(cls, certificate: x509.Certificate | None, *, address: str = "") -> "Caller":
        """The caller who presented this certificate. Raises Refusal when its key is of a kind that nobody can name."""
        if certificate is None:
            return cls(address=address)
        try:
            key_hash = certificate_key_hash(certificate)
        except Exception:  # noqa: BLE001 - an exotic key or a damaged encoding: the library has no common error for them
            raise Refusal(400, "the client certificate holds a key that cannot be read") from None
        return cls(key_hash=key_hash, certificate=certificate.public_bytes(Encoding.PEM).decode(), address=address)


def permits(entries: Sequence[Entry], caller: Caller, creator: str | None) -> bool:
    """True when one of the entries is the caller. `creator` is the creator's key hash.

    Entries that this version does not decide on (signers, rules) let nobody in; uploads with them are refused.
    """
    if ANY in entries:
        return True
    if caller.key_hash is None:
        return False
    plain = [entry for entry in entries if isinstance(entry, str)]
    wanted = [creator if entry == CREATOR else entry for entry in plain if entry != NONE]
    key = caller.key_hash.encode()
    return any(hmac.compare_digest(key, entry.encode()) for entry in wanted if entry is not None)


def names_creator(policy: AccessPolicy) -> bool:
    """True when the policy depends on who created the session: then the creator is recorded."""
    return CREATOR in (*policy.read, *policy.update, *policy.may_create_sessions, *policy.may_list_sessions)


def creator_key_hash(creator: object) -> str | None:
    """The key hash of a recorded creator (a PEM certificate)."""
    if not isinstance(creator, str):
        return None
    return certificate_key_hash(x509.load_pem_x509_certificate(creator.encode()))
