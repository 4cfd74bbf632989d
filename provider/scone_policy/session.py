"""A session description as a value: parsed from either form, checked by every rule, written in either form."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PlainValidator, ValidationError

from scone_policy.access import NONE, AccessPolicy
from scone_policy.canonical import ordered, present
from scone_policy.holes import has_hole
from scone_policy.images import Image
from scone_policy.names import SessionName
from scone_policy.problems import Problem, problems_of, refuse
from scone_policy.references import reference_problems
from scone_policy.scalars import Bytes16, Bytes32, Model, Named, NotYet, Segment, matching, optional, text
from scone_policy.secrets import Secret
from scone_policy.security import Security
from scone_policy.services import Service
from scone_policy.source import Document, load
from scone_policy.wire import wire_text

VERSION = "0.3.10"

_VERSION = re.compile(r"0\.3(\.[0-9]{1,3})?")

ImageName = Annotated[
    str,
    PlainValidator(
        matching(r"[^\x00-\x1f]{1,512}", "must be 1 to 512 printable characters"), json_schema_input_type=str
    ),
]


def _version(value: object) -> str:
    if value is None:
        raise ValueError(
            "the required key is missing: without it a description counts as version 0.1, which is not supported"
        )
    found = text(value)
    if not has_hole(found) and not _VERSION.fullmatch(found):
        raise ValueError(f'must be "0.3" or "0.3.N"; {found[:20]!r} is not supported')
    return found


class Session(Model):
    """A session description (policy). Services, secrets and images are maps by name, whatever form they came in.

    `creator` is what CAS filled in; `predecessor` the hash (64 hex digits) of the version this one replaces.
    """

    name: SessionName
    version: Annotated[str, PlainValidator(_version, json_schema_input_type=str)] = Field(
        default=None, validate_default=True
    )
    predecessor: Bytes32 = None
    namespace_hash: Bytes32 = None
    salt: Bytes16 = None
    creator: Annotated[object, PlainValidator(optional(lambda value: value))] = None
    services: Annotated[dict[Segment, Service], Named] = Field(default_factory=dict)
    secrets: Annotated[dict[Segment, Secret], Named] = Field(default_factory=dict)
    images: Annotated[dict[ImageName, Image], Named] = Field(default_factory=dict)
    access_policy: AccessPolicy = Field(default_factory=AccessPolicy)
    security: Security = Field(default_factory=Security)
    volumes: NotYet = None
    secret_config: NotYet = None

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
                images={name: image.canonical() for name, image in self.images.items()},
                access_policy=self.access_policy.canonical(),
                security=self.security.canonical(),
            )
        )
        assert isinstance(found, dict)
        return found

    def wire(self, *, predecessor: str | None = None, fspf_keys: Mapping[str, str] | None = None) -> str:
        """The YAML that a CAS takes: lists sorted by name, deterministic.

        `fspf_keys` maps services to the keys (64 hex digits) that replace their `derived: …` markers. Raises
        PolicyError when a marker is left, or a value is not known yet.
        """
        return wire_text(self.canonical(), predecessor=predecessor, fspf_keys=fspf_keys or {})


def parse(source: str | Mapping[str, object], *, file: str | None = None) -> Session:
    """The session in YAML text (wire form) or in plain data (either form; only here holes and key markers may stand).

    Raises PolicyError, or PolicyErrors naming every broken rule, each with `file:line: path`.
    """
    document = load(source, file=file) if isinstance(source, str) else Document(data=source, file=file)
    session, problems = check(document)
    if isinstance(source, str) and session is not None:
        problems += [
            Problem(path=("services", name, "fspf_key"), rule="must be 32 bytes in hex (64 digits), or a placeholder")
            for name, service in session.services.items()
            if service.key_is_derived
        ]
    if problems or session is None:
        raise refuse(problems, document)
    return session


def check(document: Document) -> tuple[Session | None, list[Problem]]:
    """The session in the document, if its shape allows one, and all broken rules.

    Rules that look across sections (placeholders, images, attestation) are judged once the shape is right.
    """
    if not isinstance(document.data, Mapping):
        return None, [Problem(path=(), rule="a session description must be a map with name, version, services, …")]
    try:
        session = Session.model_validate(dict(document.data))
    except ValidationError as error:
        return None, problems_of(error)
    return session, reference_problems(session.services, session.secrets, session.images, session.security)


def retired(name: str) -> Session:
    """What a removed policy becomes: nothing in it, no sessions below it, CREATOR may read and update (section 9)."""
    return Session.model_validate({"name": name, "version": "0.3", "access_policy": {"create_sessions": [NONE]}})


def is_retired(session: Session) -> bool:
    """True when the session holds nothing and lets nobody create sessions below it."""
    return (
        not session.services
        and not session.secrets
        and not session.images
        and session.access_policy.may_create_sessions == (NONE,)
    )


def secret_paths(canonical: Mapping[str, object]) -> list[tuple[str, ...]]:
    """The paths in a canonical form whose values are secrets: explicit secret values and file-system keys.

    Markers, placeholders and values that are not known yet are no secrets.
    """
    found: list[tuple[str, ...]] = []
    for section, key in (("secrets", "value"), ("services", "fspf_key")):
        entries = canonical.get(section)
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            value = entry.get(key)
            if isinstance(value, str) and (key == "value" or re.fullmatch("[0-9a-f]{64}", value)):
                found.append((section, name, key))
    return found
