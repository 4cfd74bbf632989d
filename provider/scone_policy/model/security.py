"""Security section of a session: how strictly enclaves are attested (section 7)."""

import re
from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, model_validator

from scone_policy.errors import RuleError
from scone_policy.forms.canonical import present
from scone_policy.model.one_time_password import OneTimePassword
from scone_policy.model.sets import member_map, members
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.placeholders import is_reference
from scone_policy.syntax.problems import at
from scone_policy.syntax.scalars import (
    PLACEHOLDER,
    Model,
    OptionalText,
    ReferableSwitch,
    by_reference,
    matching,
    nearest,
    text,
)

DEBUG_MODE = "debug-mode"
"""The toleration of enclaves whose memory can be read, simulated ones included."""

TOLERATIONS = frozenset(
    {
        DEBUG_MODE,
        "hyperthreading",
        "insecure-igpu",
        "software-hardening-needed",
        "aepic-leak",
        "insecure-configuration",
        "outdated-tcb",
        "maa-managed-tcb",
        "local-attestation-trust-cas-tcb",
    }
)
ALL_ADVISORIES = "*"

_ADVISORY = re.compile("INTEL-SA-[0-9]{5}")
_MODE = matching(f"hardware|none|maa|{PLACEHOLDER}", "must be hardware, none or maa", fix="Leave it out for hardware.")
_QE_KEY = matching(
    f"[0-9A-Za-z+/=_:\\-]{{16,4096}}|-----BEGIN PUBLIC KEY-----[^\\x00]+|{PLACEHOLDER}",
    "must name the public keys of quoting enclaves: hex, base64, PEM, or a placeholder",
    fix="Copy the key again, whole.",
)


def toleration(value: str) -> str:
    """One toleration in its one spelling. Raises RuleError for an unknown one."""
    found = DEBUG_MODE if value == "debug" else value
    if found not in TOLERATIONS and not has_hole(found):
        known = ", ".join(sorted(TOLERATIONS))
        raise RuleError(f"{found!r} is no toleration: use {known}", fix=nearest(found, TOLERATIONS))
    return found


def advisory(value: str) -> str:
    """One advisory name. Raises RuleError when it is not shaped like one."""
    if not _ADVISORY.fullmatch(value) and not has_hole(value):
        raise RuleError("must name advisories such as INTEL-SA-00586", fix="Write INTEL-SA- and five digits.")
    return value


def _toleration(value: object) -> str:
    found = text(value)
    return found if is_reference(found) else toleration(found)


def _advisory(value: object) -> str:
    found = text(value)
    return found if is_reference(found) or found == ALL_ADVISORIES else advisory(found)


_tolerate = members(_toleration, "must be a list of tolerations", fix="Write one a line: `- hyperthreading`.")


_ignored = members(_advisory, 'must be a list of advisories, or "*"', fix="Write one a line: `- INTEL-SA-00586`.")


def _advisories(value: object) -> tuple[str, ...]:
    found = _ignored(value)
    if ALL_ADVISORIES in found and len(found) > 1:
        raise RuleError('"*" must stand alone', fix="Leave out the others, or the star.")
    return found


def _is_open(entries: tuple[str, ...]) -> bool:
    return has_hole(entries) or any(is_reference(entry) for entry in entries)


class Attestation(Model):
    """How attestation is done, and which weaknesses of a platform are put up with.

    `reference` stands for a config fragment that holds all of it; the other fields then say nothing.
    """

    mode: Annotated[
        str, PlainValidator(lambda value: _MODE("hardware" if value is None else value), json_schema_input_type=str)
    ] = "hardware"
    url: OptionalText = None
    tolerate: Annotated[tuple[str, ...], PlainValidator(_tolerate, json_schema_input_type=list[str])] = ()
    ignore_advisories: Annotated[tuple[str, ...], PlainValidator(_advisories, json_schema_input_type=Any)] = ()
    one_time_password_shared_secret: OneTimePassword = None
    must_be_sgx_local: ReferableSwitch = None
    trusted_scone_qe_pubkeys: Annotated[
        tuple[str, ...],
        PlainValidator(
            members(_QE_KEY, "must be a list of keys", fix="Write one key a line."), json_schema_input_type=list[str]
        ),
    ] = ()
    reference: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_reference(cls, data: object) -> object:
        return by_reference(data, "security.attestation")

    @property
    def is_open(self) -> bool:
        """True when a reference decides on the mode: what attestation demands is not known here."""
        return self.reference is not None or is_reference(self.mode) or has_hole(self.mode)

    @model_validator(mode="after")
    def _azure(self) -> Self:
        if self.mode == "maa" and self.url is None:
            raise at("mode maa needs url", "mode", fix="Add url: the address of the Azure attestation provider.")
        if self.mode == "maa" and "maa-managed-tcb" not in self.tolerate and not _is_open(self.tolerate):
            raise at(
                "mode maa needs maa-managed-tcb among the tolerations", "mode", fix="Add maa-managed-tcb to tolerate."
            )
        if self.mode in ("hardware", "none") and self.url is not None:
            raise at("url belongs to mode maa", "url", fix="Leave it out, or write mode: maa.")
        return self

    def canonical(self) -> dict[str, object] | str:
        """Map form: tolerations and advisories as keys, the default mode left out; a reference as it is."""
        if self.reference is not None:
            return self.reference
        return present(
            mode=None if self.mode == "hardware" else self.mode,
            url=self.url,
            tolerate=member_map(self.tolerate),
            ignore_advisories=member_map(self.ignore_advisories),
            one_time_password_shared_secret=self.one_time_password_shared_secret,
            must_be_sgx_local=self.must_be_sgx_local or None,
            trusted_scone_qe_pubkeys=member_map(self.trusted_scone_qe_pubkeys),
        )


class Security(Model):
    """The security section. `reference` stands for a config fragment that holds all of it."""

    attestation: Attestation = Field(default_factory=Attestation)
    singleton_enclaves: ReferableSwitch = None
    service_access_token: OptionalText = Field(default=None, repr=False)
    reference: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_reference(cls, data: object) -> object:
        return by_reference(data, "security")

    @property
    def needs_attestation(self) -> bool | None:
        """Whether services must say who they are; None where a reference decides."""
        if self.reference is not None or self.attestation.is_open:
            return None
        return self.attestation.mode != "none"

    def canonical(self) -> dict[str, object] | str:
        """Map form, defaults left out; a reference as it is."""
        if self.reference is not None:
            return self.reference
        return present(
            attestation=self.attestation.canonical(),
            singleton_enclaves=self.singleton_enclaves or None,
            service_access_token=self.service_access_token,
        )
