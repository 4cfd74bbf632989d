"""A session description as a value: parsed from either form, checked by every rule, written in either form."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PlainValidator, ValidationError

from scone_policy.access import NONE, AccessPolicy
from scone_policy.canonical import ordered, present
from scone_policy.config import SecretConfig
from scone_policy.features import feature_problems
from scone_policy.fitting import fitting_problems
from scone_policy.holes import has_hole
from scone_policy.images import Image
from scone_policy.names import SessionName, session_name
from scone_policy.placeholders import is_reference
from scone_policy.problems import Problem, problems_of, refuse
from scone_policy.references import reference_problems
from scone_policy.scalars import Bytes16, Bytes32, Model, Named, PrintableName, Segment, optional, text
from scone_policy.secrets import Secret
from scone_policy.security import Security
from scone_policy.services import Service
from scone_policy.source import Document, load
from scone_policy.suggest import with_suggestions
from scone_policy.volumes import Volume
from scone_policy.wire import wire_text

VERSION = "0.3.10"

_VERSION = re.compile(r"0\.3(\.[0-9]{1,3})?")


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


def parse(source: str | Mapping[str, object], *, file: str | None = None) -> Session:
    """The session in YAML text (wire form) or in plain data (either form; only here holes and key markers may stand).

    Raises PolicyError, or PolicyErrors naming every broken rule, each with `file:line: path`.
    """
    document = load(source, file=file) if isinstance(source, str) else Document(data=source, file=file)
    session, problems = check(document)
    if isinstance(source, str) and session is not None:
        problems += marker_problems(session)
    if problems or session is None:
        raise refuse(problems, document)
    return session


def recall(text: str) -> Session:
    """A session that was judged when it was taken: only its shape is looked at again, whatever rules came since.

    Raises PolicyError, as `parse` does.
    """
    document = load(text)
    session, problems = _shaped(document)
    if session is None:
        raise refuse(problems, document)
    return session


def check(document: Document) -> tuple[Session | None, list[Problem]]:
    """The session in the document, if its shape allows one, and all broken rules.

    Rules that look across sections (placeholders, images, attestation, versions) are judged once the shape is right.
    """
    session, problems = _shaped(document)
    if session is None:
        return None, problems
    assert isinstance(document.data, Mapping)
    data = dict(document.data)
    problems = [*_top_problems(session), *reference_problems(session)]
    # What does not even resolve is said once.
    problems += [] if problems else fitting_problems(session)
    return session, [*problems, *feature_problems(session, data)]


def _shaped(document: Document) -> tuple[Session | None, list[Problem]]:
    if not isinstance(document.data, Mapping):
        return None, [Problem(path=(), rule="a session description must be a map with name, version, services, …")]
    data = dict(document.data)
    try:
        return Session.model_validate(data, context={"name": _own_name(data)}), []
    except ValidationError as error:
        return None, with_suggestions(problems_of(error), Session)


def written_problems(session: Session) -> list[Problem]:
    """What a person must not write although CAS itself does: `creator`, and the markers of our own state."""
    found = marker_problems(session)
    if session.creator is not None:
        found.append(Problem(path=("creator",), rule="is filled in by CAS, never written by hand", fix="Remove it."))
    return found


def marker_problems(session: Session) -> list[Problem]:
    """Key markers, which have no meaning outside of our own state."""
    return [
        Problem(path=("services", name, "fspf_key"), rule="must be 32 bytes in hex (64 digits), or a placeholder")
        for name, service in session.services.items()
        if service.key_is_derived
    ]


def _own_name(data: Mapping[str, object]) -> str | None:
    try:
        name = session_name(data.get("name"))
    except ValueError:
        return None
    return None if has_hole(name) else name


def _top_problems(session: Session) -> list[Problem]:
    if session.predecessor is not None and session.namespace_hash is not None:
        rule = "namespace_hash and predecessor exclude each other: the first is for the first version only"
        return [Problem(path=("namespace_hash",), rule=rule)]
    return []


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


def secret_paths(canonical: Mapping[str, object]) -> list[tuple[str, ...]]:
    """The paths in a canonical form whose values are secrets: given values, file-system keys, tokens, passwords.

    Markers, placeholders and values that are not known yet are no secrets.
    """
    found = [
        (section, name, *path)
        for section, paths in _SECRET_PATHS.items()
        for name, entry in _entries_of(canonical, section)
        for path in paths
        if is_explicit_secret(_value_at(entry, path), path[-1])
    ]
    security = canonical.get("security")
    paths = (("service_access_token",), ("attestation", "one_time_password_shared_secret"))
    return [
        *found,
        *(("security", *path) for path in paths if is_explicit_secret(_value_at(security, path), path[-1])),
    ]


_SECRET_PATHS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "secrets": (("value",), ("value_json",), ("application_secret",), ("private_key",)),
    "services": (("fspf_key",), ("one_time_password_shared_secret",)),
    "volumes": (("fspf_key",),),
}


def _entries_of(canonical: Mapping[str, object], section: str) -> list[tuple[str, object]]:
    entries = canonical.get(section)
    return list(entries.items()) if isinstance(entries, Mapping) else []


def _value_at(tree: object, path: tuple[str, ...]) -> object:
    for step in path:
        tree = tree.get(step) if isinstance(tree, Mapping) else None
    return tree


def is_explicit_secret(value: object, key: str) -> bool:
    """True when a value that may stand under a key of `secret_paths` is a secret itself, and not a word for one."""
    if not isinstance(value, str):
        return False
    if key == "fspf_key":
        return re.fullmatch("[0-9a-fA-F]{64}", value) is not None
    if key == "private_key":
        return value.lstrip().startswith("-----")
    return key in ("value", "value_json") or not (is_reference(value) or has_hole(value))
