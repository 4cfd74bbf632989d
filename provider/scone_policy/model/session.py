"""A session description as a value: parsed from either form, checked by every rule, written in either form."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PlainValidator

from scone_policy.errors import RuleError
from scone_policy.forms.canonical import ordered, present
from scone_policy.forms.wire import wire_text
from scone_policy.model.access import NONE, AccessPolicy
from scone_policy.model.images import Image
from scone_policy.model.secret_store import SecretConfig
from scone_policy.model.secrets import Secret
from scone_policy.model.security import Security
from scone_policy.model.services import Service
from scone_policy.model.volumes import Volume
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.names import SessionName
from scone_policy.syntax.scalars import (
    Bytes16,
    Bytes32,
    Model,
    Named,
    PrintableName,
    Segment,
    lower_hex,
    optional,
    text,
)
from scone_policy.syntax.yaml_source import NULLS

VERSION = "0.3.10"

_VERSION = re.compile(r"0\.3(\.[0-9]{1,3})?")


def _version(value: object) -> str:
    if value is None:
        raise RuleError(
            "the required key is missing: without it a description counts as version 0.1, which is not supported",
            fix=f'Add version: "{VERSION}".',
        )
    found = text(value)
    if not has_hole(found) and not _VERSION.fullmatch(found):
        raise RuleError(
            f'must be "0.3" or "0.3.N"; {found[:20]!r} is not supported',
            fix='Write version: "0.3", and give x509 secrets the private_key that older versions made by themselves.',
        )
    return found


def _predecessor(value: object) -> str | None:
    """None in any spelling: a script's variable is often set to one of them for the first version."""
    if value is None or (isinstance(value, str) and value.strip() in _NO_PREDECESSOR):
        return None
    try:
        return _hash(value)
    except RuleError as error:
        fix = "Copy the hash again, whole, or write ~ for none (in quotes on a command line: shells expand it)."
        raise RuleError(str(error), fix=fix) from None


_NO_PREDECESSOR = NULLS | {'""', "''"}
_hash = lower_hex(32)


class Session(Model):
    """A session description (policy). Services, secrets and images are maps by name, whatever form they came in.

    `creator` is what CAS filled in; `predecessor` the hash (64 hex digits) of the version this one replaces.
    """

    name: SessionName
    version: Annotated[str, PlainValidator(_version, json_schema_input_type=str)] = Field(
        default=None, validate_default=True
    )
    predecessor: Annotated[str | None, PlainValidator(_predecessor, json_schema_input_type=str | None)] = None
    namespace_hash: Bytes32 = None
    salt: Bytes16 = None
    creator: Annotated[object, PlainValidator(optional(lambda value: value))] = None
    services: Annotated[dict[Segment, Service], Named] = Field(default_factory=dict)
    secrets: Annotated[dict[Segment, Secret], Named] = Field(default_factory=dict)
    images: Annotated[dict[PrintableName, Image], Named] = Field(default_factory=dict)
    access_policy: AccessPolicy = Field(default_factory=AccessPolicy)
    security: Security = Field(default_factory=Security)
    volumes: Annotated[dict[PrintableName, Volume], Named] = Field(default_factory=dict)
    secret_config: SecretConfig = Field(default_factory=SecretConfig)

    def canonical(self) -> dict[str, object]:
        """The map form that state, previews and digests use: equal meaning, equal value; no predecessor, no creator.

        JSON-able, maps only (never a list), keys sorted. Explicit secret values are in it: see `secret_paths`.
        """
        found = ordered(
            present(
                name=self.name,
                version=self.version,
                namespace_hash=self.namespace_hash,
                salt=self.salt,
                services={name: service.canonical() for name, service in self.services.items()},
                secrets={name: secret.canonical() for name, secret in self.secrets.items()},
                volumes={name: volume.canonical() for name, volume in self.volumes.items()},
                secret_config=self.secret_config.canonical(),
                images={name: image.canonical() for name, image in self.images.items()},
                access_policy=self.access_policy.canonical(),
                security=self.security.canonical(),
            )
        )
        assert isinstance(found, dict)
        return found

    def wire(self, *, predecessor: str | None = None, fspf_keys: Mapping[str, str] | None = None) -> str:
        """The YAML that a CAS takes: lists sorted by name, deterministic.

        `namespace_hash` is left out beside a predecessor: CAS looks at it on first creation only and takes no both.
        `fspf_keys` maps services to the keys (64 hex digits) that replace their `derived: …` markers. Raises
        PolicyError when a marker is left, or a value is not known yet.
        """
        return wire_text(self.canonical(), predecessor=predecessor, fspf_keys=fspf_keys or {})


def retired(name: str) -> Session:
    """What a removed policy becomes: nothing in it, no sessions below it, CREATOR may read and update (section 9)."""
    return Session.model_validate({"name": name, "version": "0.3", "access_policy": {"create_sessions": [NONE]}})


def is_retired(session: Session) -> bool:
    """True when the session holds nothing and lets nobody create sessions below it."""
    return (
        not session.services
        and not session.secrets
        and not session.images
        and not session.volumes
        and session.access_policy.reference is None
        and session.access_policy.may_create_sessions == (NONE,)
    )
