"""Services of a session: what starts, with which arguments, environment and files, and who may be it (section 2)."""

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from scone_policy.errors import RuleError
from scone_policy.forms.canonical import present
from scone_policy.model.attestation import Measurement, Variant, Variants, canonical_variants, merged
from scone_policy.model.one_time_password import OneTimePassword
from scone_policy.model.sets import member_map, members
from scone_policy.syntax import command_line as command
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.problems import at
from scone_policy.syntax.scalars import (
    PLACEHOLDER,
    Bytes16,
    Model,
    OptionalText,
    Printed,
    matching,
    one_of,
    optional,
    text,
)

MARKER = "derived: "
KEY_RULE = "must be 32 bytes in hex (64 digits), or a placeholder"
KEY_FIX = "Copy the key again, whole, or name a binary secret of 32 bytes: $$SCONE::name$$."
DEFAULT_UPDATE_POLICY = "rollback_protected_reinitializable"

_FSPF_KEY = matching(
    f"[0-9a-fA-F]{{64}}|{PLACEHOLDER}|{MARKER}.+",
    KEY_RULE,
    fix=KEY_FIX,
    trim=True,
)
_FOLDER = matching(r"/.*|\$\$SCONE::.*", "must be an absolute path", fix="Begin it with /.")
_UPDATE_POLICY = one_of(DEFAULT_UPDATE_POLICY, "no_rollback_protection")


def _command(value: object) -> tuple[str, ...] | None:
    """A string is split, a list is taken as it is."""
    if value is None:
        return None
    found = tuple(text(item) for item in value) if isinstance(value, list | tuple) else command.split(text(value))
    if not found or not found[0]:
        raise RuleError("must name a program", fix="Write it first, or leave command out for the image's own.")
    return found


def _fspf_key(value: object) -> str:
    found = _FSPF_KEY(value)
    return found.lower() if re.fullmatch("[0-9a-fA-F]{64}", found) else found


def _update_policy(value: object) -> str:
    return DEFAULT_UPDATE_POLICY if value is None else _UPDATE_POLICY(value)


def _measurements(value: object) -> tuple[object, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise RuleError("must be a list", fix="Write one measurement a line: `- <64 hex digits>`.")
    return tuple(value)


EnvironmentName = Annotated[
    str,
    PlainValidator(
        matching(
            r"[^=\x00]+",
            "a variable's name must not be empty or hold = or NUL",
            fix="Write `NAME: value`, without an equals sign.",
        ),
        json_schema_input_type=str,
    ),
]
EnvironmentValue = Annotated[str, PlainValidator(text, json_schema_input_type=str | None)]
HOST_VARIABLE = re.compile(r"(?:\\?@){2}(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
"""`@@NAME` as a variable's name, or with the backslashes that the reference prints: the host gives NAME its value."""


def _environment(value: object) -> object:
    """Of a host variable the value says nothing, and may be missing."""
    if not isinstance(value, Mapping):
        return {} if value is None else value
    return {
        name: "" if item is None and isinstance(name, str) and HOST_VARIABLE.fullmatch(name) else item
        for name, item in value.items()
    }


Environment = Annotated[dict[EnvironmentName, EnvironmentValue], BeforeValidator(_environment)]


_PLATFORM = matching(
    f"INTEL_QE_ID:[0-9a-fA-F]{{32}}|[0-9a-fA-F]{{64}}|{PLACEHOLDER}",
    "must name platforms: INTEL_QE_ID:<32 hex digits>, a QE key of 64 hex digits, or a placeholder",
    fix="Copy it again, whole, from what the platform's LAS reports.",
    trim=True,
)


def _platform(value: object) -> str:
    found = _PLATFORM(value)
    if has_hole(found) or found.startswith("$$"):
        return found
    sort, colon, digits = found.rpartition(":")
    return f"{sort}{colon}{digits.lower()}"


Platforms = Annotated[
    tuple[str, ...],
    PlainValidator(
        members(_platform, "must be a list of platforms", fix="Write one a line."), json_schema_input_type=list[str]
    ),
]
Tags = Annotated[
    tuple[str, ...],
    PlainValidator(
        members(
            matching(
                r"[^\x00-\x1f]{1,512}", "a tag must be 1 to 512 printable characters", fix="Shorten or rename it."
            ),
            "must be a list of tags",
            fix="Write one a line: `- name`.",
        ),
        json_schema_input_type=list[str],
    ),
]


class Service(Model):
    """One program of a session. `command` is None where the image's own is meant."""

    image_name: OptionalText = None
    command: Annotated[tuple[str, ...] | None, PlainValidator(_command, json_schema_input_type=str | list[str])] = None
    environment: Environment = Field(default_factory=dict)
    pwd: OptionalText = None
    fspf_path: Annotated[str | None, PlainValidator(optional(_FOLDER), json_schema_input_type=str)] = None
    fspf_key: Annotated[str | None, PlainValidator(optional(_fspf_key), json_schema_input_type=str)] = None
    fspf_tag: Bytes16 = None
    fspf_update_policy: Annotated[str, PlainValidator(_update_policy, json_schema_input_type=str)] = (
        DEFAULT_UPDATE_POLICY
    )
    attestation: Variants = ()
    mrenclaves: Annotated[tuple[Measurement, ...], BeforeValidator(_measurements)] = Field(default=(), exclude=True)
    platforms: Platforms = ()
    tags: Tags = ()
    one_time_password_shared_secret: OneTimePassword = None
    persistency: Printed = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """`mrenclaves: [...]`, the old spelling of `attestation: {mrenclave: [...]}`, becomes the new one."""
        if self.mrenclaves and self.attestation:
            raise at(
                "mrenclaves and attestation exclude each other",
                "mrenclaves",
                fix="Write attestation: {mrenclave: […]}.",
            )
        free = self.fspf_update_policy == "no_rollback_protection"
        if self.fspf_key is not None and self.fspf_tag is None and not free:
            rule = "fspf_key needs fspf_tag, unless fspf_update_policy is no_rollback_protection"
            raise at(rule, "fspf_key", fix="Add the tag that was printed with the key.")
        if self.fspf_tag is not None and self.fspf_key is None:
            raise at("fspf_tag needs fspf_key", "fspf_tag", fix="Add the key that was printed with the tag.")
        variants = (Variant(mrenclave=self.mrenclaves),) if self.mrenclaves else self.attestation
        object.__setattr__(self, "attestation", merged(variants))
        object.__setattr__(self, "mrenclaves", ())
        return self

    @property
    def key_is_derived(self) -> bool:
        """True when `fspf_key` is only a marker for the key of an image."""
        return self.fspf_key is not None and not has_hole(self.fspf_key) and self.fspf_key.startswith(MARKER)

    def canonical(self) -> dict[str, object]:
        """Map form: command as one string, defaults left out."""
        policy = self.fspf_update_policy
        return present(
            image_name=self.image_name,
            command=command.join(self.command) if self.command is not None else None,
            environment=dict(self.environment),
            pwd=self.pwd,
            fspf_path=self.fspf_path,
            fspf_key=self.fspf_key,
            fspf_tag=self.fspf_tag,
            fspf_update_policy=None if policy == DEFAULT_UPDATE_POLICY else policy,
            attestation=canonical_variants(self.attestation),
            platforms=member_map(self.platforms),
            tags=member_map(self.tags),
            one_time_password_shared_secret=self.one_time_password_shared_secret,
        )
