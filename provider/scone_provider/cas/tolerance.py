"""The Meshfile's `tolerance`: which weaknesses of a CAS are put up with; judges its evidence by them."""

import hmac
import re
import shlex
from dataclasses import dataclass

from scone_policy.errors import PolicyError
from scone_policy.keys.cas_evidence import CasEvidence
from scone_policy.keys.key_hash import decode_key_hash
from scone_provider.errors import TrustError

DEBUG = "--only_for_testing-debug"
IGNORE_SIGNER = "--only_for_testing-ignore-signer"
TRUST_ANY = "--only_for_testing-trust-any"
FOR_TESTING = (DEBUG, IGNORE_SIGNER, TRUST_ANY)
CONFIGURATION, GROUP, SOFTWARE = "-C", "-G", "-S"
KEY, SOFTWARE_KEY = "-c", "-s"
MRENCLAVE, MRSIGNER, PRODUCT, VERSION = "--mrenclave", "--mrsigner", "--isvprodid", "--isvsvn"

_SPELLINGS = {
    "--accept-configuration-needed": CONFIGURATION,
    "--insecure-configuration": CONFIGURATION,
    "--accept-group-out-of-date": GROUP,
    "--accept-sw-hardening-needed": SOFTWARE,
    "--accept-software-hardening-needed": SOFTWARE,
    "--software-hardening-needed": SOFTWARE,
}
_FLAGS = (DEBUG, IGNORE_SIGNER, TRUST_ANY, CONFIGURATION, GROUP, SOFTWARE)
_VALUED = (KEY, SOFTWARE_KEY, MRENCLAVE, MRSIGNER, PRODUCT, VERSION)
_HEX = re.compile("[0-9a-fA-F]{64}")
_LONGEST = 4096

_STATUS = {
    "simulated": (),
    "UpToDate": (),
    "ConfigurationNeeded": (CONFIGURATION,),
    "SWHardeningNeeded": (SOFTWARE,),
    "ConfigurationAndSWHardeningNeeded": (CONFIGURATION, SOFTWARE),
    "OutOfDate": (GROUP,),
    "OutOfDateConfigurationNeeded": (GROUP, CONFIGURATION),
}
_MEANING = {
    CONFIGURATION: "the processor of the CAS needs another configuration (hyperthreading) to be safe",
    GROUP: "the platform of the CAS lacks security updates",
    SOFTWARE: "the software of the CAS must defend itself against known flaws of its processor",
    DEBUG: "whoever runs the CAS can read its memory, all secrets included: never for production",
    TRUST_ANY: "any program may claim to be the CAS",
    IGNORE_SIGNER: "it does not matter who made the CAS",
}


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A switch that would have to be given, and what giving it would mean."""

    switch: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.switch}: {self.meaning}"


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """The switches that were given, in their one spelling, with their values (empty for those that take none)."""

    switches: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Tolerance":
        """From the Meshfile's text.

        Raises TrustError naming a switch that is unknown, twice there with two values, or has a bad value.
        """
        if len(text) > _LONGEST:
            raise _wrong("the tolerance is too long")
        try:
            words = shlex.split(text)
        except ValueError:
            raise _wrong("a quote is not closed") from None
        found: dict[str, str] = {}
        while words:
            word, _, value = words.pop(0).partition("=")
            for switch in _split(word):
                if switch in _VALUED and not value:
                    value = words.pop(0) if words and not words[0].startswith("-") else ""
                _check(switch, value)
                value = value.lower() if switch in (MRENCLAVE, MRSIGNER) else value
                if switch in found and found[switch] != value:
                    raise _wrong(f"{switch} is given twice, with different values")
                found[switch] = value
        return cls(switches=tuple(sorted(found.items())))

    def has(self, switch: str) -> bool:
        """True when the switch was given."""
        return any(name == switch for name, _ in self.switches)

    def value(self, switch: str) -> str | None:
        """The value of a switch, None where it was not given."""
        return next((value for name, value in self.switches if name == switch), None)

    def __str__(self) -> str:
        return " ".join(f"{name} {value}".strip() for name, value in self.switches)


def judge(evidence: CasEvidence, tolerance: Tolerance) -> list[Missing]:
    """What is missing before a CAS with this evidence may be trusted; nothing missing means that it may."""
    needed: list[Missing] = []
    if evidence.debug or tolerance.has(TRUST_ANY):
        needed.append(_plain(DEBUG))
    if not tolerance.has(TRUST_ANY) and not _same(tolerance.value(MRENCLAVE), evidence.mrenclave):
        needed.append(_plain(TRUST_ANY, f" (or, for exactly this program, {MRENCLAVE} {evidence.mrenclave})"))
    if not tolerance.has(IGNORE_SIGNER) and not _signed_as_wanted(evidence, tolerance):
        needed.append(_plain(IGNORE_SIGNER, f" (or, for exactly this maker, {MRSIGNER} {evidence.mrsigner})"))
    status = _STATUS.get(evidence.tcb_status)
    if status is None:
        needed.append(Missing(switch="no switch", meaning="the state of its platform is unknown or revoked"))
    needed += [_plain(switch) for switch in status or ()]
    for switch, found in ((KEY, evidence.cas_key), (SOFTWARE_KEY, evidence.software_key)):
        wanted = tolerance.value(switch)
        if wanted is not None and not _same(wanted, found):
            needed.append(
                Missing(switch=f"{switch} {found}", meaning=f"another key than the {wanted} that was asked for")
            )
    return [missing for missing in needed if not tolerance.has(missing.switch)]


def _signed_as_wanted(evidence: CasEvidence, tolerance: Tolerance) -> bool:
    if not _same(tolerance.value(MRSIGNER), evidence.mrsigner):
        return False
    product, version = tolerance.value(PRODUCT), tolerance.value(VERSION)
    return int(product or evidence.isvprodid) == evidence.isvprodid and evidence.isvsvn >= int(version or 0)


def _plain(switch: str, more: str = "") -> Missing:
    return Missing(switch=switch, meaning=_MEANING[switch] + more)


def _same(wanted: str | None, found: str) -> bool:
    if wanted is None:
        return False
    # Hex is compared as it was normalised; Base58Check distinguishes case.
    return hmac.compare_digest(wanted.encode(), found.encode())


def _split(word: str) -> list[str]:
    """One switch in its one spelling, or several short flags written together (`-CGS`)."""
    word = _SPELLINGS.get(word, word)
    if word in _FLAGS or word in _VALUED:
        return [word]
    together = [f"-{letter}" for letter in word[1:]]
    if re.fullmatch("-[A-Z]{2,}", word) and all(switch in _FLAGS for switch in together):
        return together
    known = ", ".join([*_FLAGS, *_VALUED, *sorted(_SPELLINGS)])
    raise _wrong(f"{word[:80]!r} is no switch of CAS attestation", fix=f"use one of {known}")


def _check(switch: str, value: str) -> None:
    if switch in _FLAGS:
        if value:
            raise _wrong(f"{switch} takes no value")
        return
    if switch in (KEY, SOFTWARE_KEY):
        try:
            decode_key_hash(value)
        except PolicyError:
            raise _wrong(f"{switch} needs a key hash (Base58Check)") from None
    elif switch in (MRENCLAVE, MRSIGNER):
        if not _HEX.fullmatch(value):
            raise _wrong(f"{switch} needs 64 hex digits")
    elif not re.fullmatch("[0-9]{1,5}", value) or int(value) > 0xFFFF:
        raise _wrong(f"{switch} needs a number from 0 to 65535")


def _wrong(what: str, *, fix: str = "") -> TrustError:
    return TrustError(what, where="tolerance", fix=fix)
