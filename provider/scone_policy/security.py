"""Security section of a session: how strictly enclaves are attested (section 7)."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, model_validator

from scone_policy.canonical import present
from scone_policy.holes import has_hole
from scone_policy.scalars import Model, NotYet, OptionalText, matching, text

TOLERATIONS = frozenset(
    {
        "debug-mode",
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
_MODE = matching("hardware|none|maa", "must be hardware, none or maa")


def _items(value: object, rule: str) -> list[str]:
    """The wire form (a list), or the canonical form (a map of true)."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        if not all(item is True for item in value.values()):
            raise ValueError("in the map form every entry must be true")
        return [text(key) for key in value]
    if not isinstance(value, list | tuple):
        raise ValueError(rule)  # noqa: TRY004
    return [text(item) for item in value]


def toleration(value: str) -> str:
    """One toleration in its one spelling. Raises ValueError for an unknown one."""
    found = "debug-mode" if value == "debug" else value
    if found not in TOLERATIONS and not has_hole(found):
        raise ValueError(f"{found!r} is no toleration: use {', '.join(sorted(TOLERATIONS))}")
    return found


def advisory(value: str) -> str:
    """One advisory name. Raises ValueError when it is not shaped like one."""
    if not _ADVISORY.fullmatch(value) and not has_hole(value):
        raise ValueError("must name advisories such as INTEL-SA-00586")
    return value


def _tolerate(value: object) -> tuple[str, ...]:
    return tuple(sorted({toleration(item) for item in _items(value, "must be a list of tolerations")}))


def _advisories(value: object) -> tuple[str, ...]:
    if value == ALL_ADVISORIES:
        return (ALL_ADVISORIES,)
    found = _items(value, 'must be a list of advisories, or "*"')
    if ALL_ADVISORIES in found:
        if len(found) > 1:
            raise ValueError('"*" must stand alone')
        return (ALL_ADVISORIES,)
    return tuple(sorted({advisory(item) for item in found}))


class Attestation(Model):
    """How attestation is done, and which weaknesses of a platform are put up with."""

    mode: Annotated[str, PlainValidator(_MODE, json_schema_input_type=str)] = "hardware"
    url: OptionalText = None
    tolerate: Annotated[tuple[str, ...], PlainValidator(_tolerate, json_schema_input_type=list[str])] = ()
    ignore_advisories: Annotated[tuple[str, ...], PlainValidator(_advisories, json_schema_input_type=Any)] = ()
    one_time_password_shared_secret: NotYet = None
    must_be_sgx_local: NotYet = None
    trusted_scone_qe_pubkeys: NotYet = None

    @model_validator(mode="after")
    def _azure(self) -> Self:
        if self.mode == "maa" and self.url is None:
            raise ValueError("mode maa needs url")
        if self.mode == "maa" and "maa-managed-tcb" not in self.tolerate and not has_hole(self.tolerate):
            raise ValueError("mode maa needs maa-managed-tcb among the tolerations")
        if self.mode in ("hardware", "none") and self.url is not None:
            raise ValueError("url belongs to mode maa")
        return self

    def canonical(self) -> dict[str, object]:
        """Map form: tolerations and advisories as keys, the default mode left out."""
        return present(
            mode=None if self.mode == "hardware" else self.mode,
            url=self.url,
            tolerate=dict.fromkeys(self.tolerate, True),
            ignore_advisories=dict.fromkeys(self.ignore_advisories, True),
        )


class Security(Model):
    """The security section."""

    attestation: Attestation = Field(default_factory=Attestation)
    singleton_enclaves: NotYet = None
    service_access_token: NotYet = None

    def canonical(self) -> dict[str, object]:
        """Map form, defaults left out."""
        return present(attestation=self.attestation.canonical())
