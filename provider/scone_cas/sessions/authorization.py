"""Decides who may do what: access policies against the keys that a caller proved (session language, section 6)."""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scone_cas.errors import Reason, Refusal
from scone_policy.forms.canonical import canonical_json
from scone_policy.keys import pem
from scone_policy.keys.key_hash import certificate_key_hash, encode_key_hash
from scone_policy.model.access import ANY, CREATOR, NONE, AccessPolicy, Entry, Require, SessionSigner, entry_of
from scone_policy.syntax.placeholders import is_reference

Fill = Callable[[str], object]
"""What a placeholder stands for, as plain data. Raises ValueError when there is nothing to stand for it."""

NOBODY = AccessPolicy.model_validate({"read": [NONE], "update": [NONE]})
"""The policy that is in force where the one meant cannot be known."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks: certificate key hash (Base58Check) and certificate (PEM); both None for nobody in particular.

    `signers`: the keys (SubjectPublicKeyInfo as PEM) that signed what is uploaded, each verified.
    `address` is the peer's, for the audit log alone: it decides nothing.
    """

    key_hash: str | None = None
    certificate: str | None = None
    signers: tuple[str, ...] = ()
    address: str = ""

    @classmethod
    def of(cls, certificate: x509.Certificate | None, *, address: str = "") -> "Caller":
        """The caller who presented this certificate. Raises Refusal when its key is of a kind that nobody can name."""
        if certificate is None:
            return cls(address=address)
        try:
            key_hash = certificate_key_hash(certificate)
        except Exception:  # noqa: BLE001 - an exotic key or a damaged encoding: the library has no common error for them
            raise Refusal(Reason.INVALID, "the client certificate holds a key that cannot be read") from None
        return cls(key_hash=key_hash, certificate=certificate.public_bytes(Encoding.PEM).decode(), address=address)

    def signed_by(self, signers: tuple[str, ...]) -> "Caller":
        """The same caller with what they bring being signed."""
        return replace(self, signers=signers)

    @property
    def signer_hashes(self) -> tuple[str, ...]:
        """The key hashes of those who signed."""
        return tuple(signer_key_hash(signer) for signer in self.signers)


def _nothing(_reference: str) -> object:
    raise ValueError


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a caller may do where `creator` (a key hash) made the session and `fill` knows its placeholders.

    A certificate or key hash agrees by the TLS client certificate, a signer by its signature, the creator by either.
    """

    caller: Caller
    creator: str | None = None
    fill: Fill = _nothing

    def permits(self, entries: Sequence[Entry]) -> bool:
        """True when one of the entries agrees. What cannot be decided lets nobody in."""
        found = [self._filled(entry) for entry in entries]
        return found == [ANY] or any(entry is not None and self._voice(entry) is not None for entry in found)

    def is_creator(self) -> bool:
        """True when the caller made the session."""
        return self._voice(CREATOR) is not None

    def _voice(self, entry: Entry) -> str | None:
        """Who agrees for this entry: a key, or, where a rule is satisfied, the rule; None when nobody does."""
        found = self._filled(entry)
        if isinstance(found, Require):
            return canonical_json(found.canonical()) if self._satisfied(found) else None
        if isinstance(found, SessionSigner):
            return _among(signer_key_hash(found.key), self.caller.signer_hashes)
        proven = (self.caller.key_hash,) if self.caller.key_hash is not None else ()
        if found == CREATOR:
            return _among(self.creator, (*proven, *self.caller.signer_hashes))
        if found is None or found in (ANY, NONE):
            return None
        return _among(_key_hash(found), proven)

    def _satisfied(self, rule: Require) -> bool:
        """Each key counts once in a rule, however many of its entries it is; a nested rule counts as one."""
        voices = [self._voice(entry) for entry in rule.entries]
        if rule.least is None:
            return None not in voices
        return len(set(voices) - {None}) >= rule.least

    def _filled(self, entry: Entry) -> Entry | None:
        """The entry, or what its placeholder stands for. What was put in is not looked at again for placeholders."""
        try:
            if isinstance(entry, SessionSigner) and is_reference(entry.key):
                found: Entry = entry_of({"signer": self.fill(entry.key)})
            elif isinstance(entry, str) and is_reference(entry):
                found = entry_of(self.fill(entry))
            else:
                return entry
        except ValueError:
            return None
        return None if any(True for _ in references([found])) else found


def effective(policy: AccessPolicy, fill: Fill) -> AccessPolicy:
    """The policy itself, or the one in the fragment that stands for it."""
    if policy.reference is None:
        return policy
    try:
        data = fill(policy.reference)
        found = AccessPolicy.model_validate(data) if isinstance(data, Mapping) else NOBODY
    except ValueError:
        return NOBODY
    return found if found.reference is None else NOBODY


def rights(policy: AccessPolicy) -> Mapping[str, tuple[Entry, ...]]:
    """Each right's name and entries, the defaults filled in."""
    return {
        "read": policy.read,
        "update": policy.update,
        "create_sessions": policy.may_create_sessions,
        "list_sessions": policy.may_list_sessions,
    }


def names_creator(policy: AccessPolicy) -> bool:
    """True when the policy depends on who created the session: then the creator is recorded."""
    return any(CREATOR in _flat(entries) for entries in rights(policy).values())


def may_name_creator(policy: AccessPolicy) -> bool:
    """True when the policy depends on secrets: what they hold may refer to the creator, now or later."""
    return policy.reference is not None or any(True for each in rights(policy).values() for _ in references(each))


def references(entries: Sequence[Entry]) -> Iterator[str]:
    """Every placeholder in the entries."""
    for entry in _flat(entries):
        text = entry.key if isinstance(entry, SessionSigner) else entry
        if is_reference(text):
            yield text


def check_certificates(policy: AccessPolicy) -> None:
    """Raises Refusal when a certificate cannot be read: nobody could ever be the one it names."""
    for right, entries in rights(policy).items():
        for entry in _flat(entries):
            if isinstance(entry, str) and _key_hash(entry) is None:
                raise Refusal(Reason.INVALID, f"access_policy.{right}: a certificate whose key cannot be read")


def creator_of(caller: Caller) -> str | dict[str, str] | None:
    """What is recorded as the creator of what this caller uploads: the signer, else the TLS client certificate.

    Raises Refusal for several signers: whoever carries the upload could add themselves and become the creator.
    """
    if len(caller.signers) > 1:
        raise Refusal(
            Reason.INVALID,
            "access_policy: refers to CREATOR, and several keys signed the session: "
            "name who may read and update it instead, or upload it with one signature",
        )
    return {"signer": caller.signers[0]} if caller.signers else caller.certificate


def maker(caller: Caller) -> str | None:
    """The key hash of who makes what is uploaded; None for nobody in particular, and where several signed."""
    return None if len(caller.signers) > 1 else creator_key_hash(creator_of(caller))


def creator_key_hash(creator: object) -> str | None:
    """The key hash of a recorded creator: a PEM certificate, or `{signer: <PEM>}`."""
    if isinstance(creator, Mapping):
        return signer_key_hash(str(creator["signer"]))
    return _key_hash(creator) if isinstance(creator, str) else None


def signer_key_hash(signer: str) -> str:
    """The key hash of a public key in PEM, spelt like a certificate's."""
    (der,) = pem.blocks(signer, pem.PUBLIC_KEY)
    return encode_key_hash(hashlib.sha256(der).digest())


def _key_hash(entry: str) -> str | None:
    """The key hash of a certificate; any other text as it is; None when the certificate cannot be read."""
    if not entry.startswith("-----"):
        return entry
    try:
        return certificate_key_hash(x509.load_pem_x509_certificate(entry.encode()))
    except Exception:  # noqa: BLE001 - an exotic key or a damaged encoding: the library has no common error for them
        return None


def _among(wanted: str | None, keys: Sequence[str]) -> str | None:
    if wanted is None:
        return None
    return next((key for key in keys if hmac.compare_digest(key.encode(), wanted.encode())), None)


def _flat(entries: Sequence[Entry]) -> Iterator[str | SessionSigner]:
    for entry in entries:
        if isinstance(entry, Require):
            yield from _flat(entry.entries)
        else:
            yield entry
