"""What a policy demands of an enclave, with its placeholders resolved, and the judgement of evidence by it."""

import base64
import binascii
import hmac
import secrets
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cachetools import LRUCache
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import ValidationError

from scone_cas.errors import EnclaveRefusal, UndeliverableError
from scone_cas.secrets.substitution import PlaceholderSubstituter
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_policy.model.attestation import Signer, Variant
from scone_policy.model.security import DEBUG_MODE, Attestation, Security
from scone_policy.model.services import Service
from scone_policy.model.session import Session
from scone_policy.syntax.placeholders import OPENING, is_reference

_CACHED = 512

_NAMES = frozenset(name for model in (Security, Attestation, Service, Variant, Signer) for name in model.model_fields)

Part = TypeVar("Part", Security, Service)


@dataclass(frozen=True, kw_only=True)
class AppraisalPolicy:
    """The demands on one service. `open` tells that placeholders stand in them: then they hold for one request only.

    `signed`: measurements of a policy in which each needs a signer, too, which simulated evidence has none of.
    """

    attested: bool
    debug: bool
    local: bool
    measurements: tuple[str, ...]
    signed: tuple[str, ...]
    platforms: tuple[str, ...]
    quoting_keys: tuple[str, ...]
    singleton: bool
    shared_secret: str | None = field(repr=False)
    open: bool

    def appraise(self, *, measurement: str, quoting_key: bytes) -> None:
        """Whether simulated evidence satisfies the policy. Raises EnclaveRefusal.

        The measurement comes first: who does not bring one of the policy's hears what is heard of a name that is not
        there. The others hear what is missing.
        """
        if not self.attested:
            return
        signed = _is_among(measurement, self.signed)
        if not _is_among(measurement, self.measurements) and not signed:
            meant = "unexpected_measurement" if self.measurements else "no_signer"
            raise not_taken(measurement, meant, expected=(*self.measurements, *self.signed))
        if not self.debug:
            raise EnclaveRefusal(
                "debug_not_tolerated",
                "the evidence is of a debug enclave, and the policy does not tolerate debug-mode",
                expected=["production"],
                found=DEBUG_MODE,
            )
        if not _is_among(measurement, self.measurements):
            raise EnclaveRefusal(
                "no_signer",
                "the policy names a signer, and simulated evidence has none: only a variant of attestation with "
                "mrenclave alone takes it",
            )
        found = quoting_key.hex()
        if self.platforms:
            _one_of("unexpected_platform", "the platform is none of the policy's", self.platforms, found)
        if self.quoting_keys:
            _one_of("untrusted_quoting_key", "the policy does not trust the quoting key", self.quoting_keys, found)
        if self.local:
            raise EnclaveRefusal(
                "not_local",
                "the policy takes only evidence by SGX local attestation, which software has none of",
                expected=["sgx-local"],
                found="simulated",
            )


def terms(session: Session, service: Service, fill: PlaceholderSubstituter) -> AppraisalPolicy:
    """The demands of a session on one of its services. Raises UndeliverableError, and what `fill` raises."""
    security = _security(session.security, fill)
    variants = _variants(service, fill)
    attestation = security.attestation
    if attestation.mode not in ("hardware", "none"):
        raise UndeliverableError(f"security.attestation.mode: {attestation.mode} needs a real CAS")
    measured = [variant for variant in variants if variant.signer is None]
    shared = service.one_time_password_shared_secret or attestation.one_time_password_shared_secret
    return AppraisalPolicy(
        attested=attestation.mode != "none",
        debug=DEBUG_MODE in attestation.tolerate,
        local=attestation.must_be_sgx_local is True,
        measurements=tuple(sorted({value for variant in measured for value in variant.mrenclave})),
        signed=() if measured else tuple(sorted({value for one in variants for value in one.mrenclave})),
        platforms=_platforms(service, fill),
        quoting_keys=tuple(_ed25519(key) or key for key in attestation.trusted_scone_qe_pubkeys),
        singleton=security.singleton_enclaves is True,
        shared_secret=_shared_secret(shared, fill),
        open=_is_open(session.security.canonical()) or _is_open(_said(service)),
    )


class AppraisalPolicyCache:
    """The terms of the newest versions of sessions, made once where no placeholder stands in them. Safe for threads."""

    def __init__(self) -> None:
        self._known: LRUCache[tuple[str, str], AppraisalPolicy] = LRUCache(_CACHED)
        self._lock = threading.Lock()

    def of(self, live: SessionSnapshot, service: str, fill: PlaceholderSubstituter) -> AppraisalPolicy:
        """The terms of a service. Raises UndeliverableError, and what `fill` raises."""
        key = live.hash, service
        with self._lock:
            found = self._known.get(key)
        if found is not None:
            return found
        found = terms(live.session, live.session.services[service], fill)
        if not found.open:
            with self._lock:
                self._known[key] = found
        return found


def not_taken(measurement: str, meant: str, *, expected: Iterable[str] = ()) -> EnclaveRefusal:
    """The one answer to who brings no measurement of a service, be the service there or not; `meant` is for the log."""
    message = f"unexpected measurement, or no such service: found {measurement}"
    return EnclaveRefusal("unexpected_measurement", message, expected=expected, found=measurement, meant=meant)


DECOY = AppraisalPolicy(
    attested=True,
    debug=False,
    local=False,
    measurements=(secrets.token_hex(32),),
    signed=(),
    platforms=(),
    quoting_keys=(),
    singleton=False,
    shared_secret=None,
    open=False,
)
"""What a service that is not there demands, so that saying no to it takes as long."""


def _is_among(found: str, values: Sequence[str]) -> bool:
    return sum(hmac.compare_digest(value.encode(), found.encode()) for value in values) > 0  # all are compared


def _one_of(code: str, message: str, expected: tuple[str, ...], found: str) -> None:
    if not _is_among(found, expected):
        raise EnclaveRefusal(code, message, expected=expected, found=found)


def _said(service: Service) -> list[object]:
    variants: list[object] = [variant.canonical() for variant in service.attestation]
    return [*variants, *service.platforms, service.one_time_password_shared_secret]


def _is_open(tree: object) -> bool:
    if isinstance(tree, dict):
        return any(_is_open(key) or _is_open(value) for key, value in tree.items())
    if isinstance(tree, list):
        return any(map(_is_open, tree))
    return isinstance(tree, str) and OPENING in tree


def _security(found: Security, fill: PlaceholderSubstituter) -> Security:
    if not _is_open(found.canonical()):
        return found
    where = "security"
    if found.reference is not None:
        return _checked(Security, fill.tree(where, found.reference), where)
    parts: dict[str, object] = {"attestation": _attestation(found.attestation, fill)}
    if isinstance(found.singleton_enclaves, str):
        parts["singleton_enclaves"] = fill.tree(f"{where}.singleton_enclaves", found.singleton_enclaves)
    elif found.singleton_enclaves is not None:
        parts["singleton_enclaves"] = found.singleton_enclaves
    return _checked(Security, parts, where)


def _attestation(found: Attestation, fill: PlaceholderSubstituter) -> object:
    where = "security.attestation"
    if found.reference is not None:
        return fill.tree(where, found.reference)
    parts: dict[str, object] = {"mode": fill.tree(f"{where}.mode", found.mode)}
    for key in ("url", "one_time_password_shared_secret", "must_be_sgx_local"):
        value = getattr(found, key)
        parts[key] = fill.tree(f"{where}.{key}", value) if isinstance(value, str) else value
    for key in ("tolerate", "ignore_advisories", "trusted_scone_qe_pubkeys"):
        parts[key] = fill.trees(f"{where}.{key}", getattr(found, key))
    return {key: value for key, value in parts.items() if value is not None}


def _variants(service: Service, fill: PlaceholderSubstituter) -> tuple[Variant, ...]:
    if not any(_is_open(variant.canonical()) for variant in service.attestation):
        return service.attestation
    found: list[object] = []
    for variant in service.attestation:
        if variant.reference is not None:
            found += fill.trees("attestation", [variant.reference])
        else:
            signer = _signer(variant.signer, fill) if variant.signer is not None else None
            found.append({"mrenclave": fill.trees("attestation", variant.mrenclave), "signer": signer})
    return _checked(Service, {"attestation": found}, "attestation").attestation


def _signer(signer: Signer, fill: PlaceholderSubstituter) -> object:
    where = "attestation.signer"
    if signer.reference is not None:
        return fill.tree(where, signer.reference)
    parts = signer.model_dump(exclude_none=True)
    return {key: fill.tree(where, value) if isinstance(value, str) else value for key, value in parts.items()}


def _platforms(service: Service, fill: PlaceholderSubstituter) -> tuple[str, ...]:
    if not _is_open(list(service.platforms)):
        return service.platforms
    return _checked(Service, {"platforms": fill.trees("platforms", service.platforms)}, "platforms").platforms


def _shared_secret(found: str | None, fill: PlaceholderSubstituter) -> str | None:
    if found is None or not is_reference(found):
        return found
    where = "one_time_password_shared_secret"
    data = {where: fill.text(where, found)}
    return _checked(Service, data, where).one_time_password_shared_secret


def _checked(model: type[Part], data: object, where: str) -> Part:
    """What the secrets made of a section, by the same rules as if it had been written there."""
    try:
        found = model.model_validate(data)
    except ValidationError as problem:
        place = _place(where, problem)
        raise UndeliverableError(f"{place}: what the secrets put in here breaks a rule of the language") from None
    if _is_open(found.canonical()):
        raise UndeliverableError(f"{where}: a secret put in here is itself a placeholder")
    return found


def _place(where: str, problem: ValidationError) -> str:
    """Where the first broken rule is, by names that the language has: another key may have come out of a secret."""
    steps = [str(step) for step in problem.errors(include_input=False)[0]["loc"]]
    return ".".join(dict.fromkeys([where, *(step for step in steps if step in _NAMES)]))


def _ed25519(spelt: str) -> str | None:
    """A quoting key in hex, from hex, base64 or PEM; None for a key of another kind: those sign nothing simulated."""
    try:
        if spelt.startswith("-----BEGIN"):
            key = load_pem_public_key(spelt.encode())
            return key.public_bytes_raw().hex() if isinstance(key, Ed25519PublicKey) else None
        raw = bytes.fromhex(spelt) if len(spelt) == 64 else base64.b64decode(spelt, validate=True)
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        return None
    return raw.hex() if len(raw) == 32 else None
