"""A session description as a value: parsed from either form, checked by every rule, written in either form."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, PlainValidator, ValidationError

from scone_policy import pem
from scone_policy.access import NONE, SIGNER, AccessPolicy
from scone_policy.canonical import ordered, present
from scone_policy.config import SecretConfig
from scone_policy.errors import RuleError
from scone_policy.features import feature_problems
from scone_policy.fitting import fitting_problems
from scone_policy.holes import has_hole
from scone_policy.images import Image
from scone_policy.names import SessionName, session_name
from scone_policy.placeholders import is_reference
from scone_policy.problems import Problem, problems_of, refuse
from scone_policy.references import reference_problems
from scone_policy.salvage import with_unknown, without_broken
from scone_policy.scalars import Bytes16, Bytes32, Model, Named, PrintableName, Segment, lower_hex, optional, text
from scone_policy.secrets import Secret
from scone_policy.security import Security
from scone_policy.services import KEY_FIX, KEY_RULE, Service
from scone_policy.source import NULLS, Document, load
from scone_policy.suggest import with_suggestions
from scone_policy.volumes import Volume
from scone_policy.wire import wire_text

VERSION = "0.3.10"
_MOST_ROUNDS = 5
"""Of leaving out what is broken: a section may hide its entries, an entry its keys."""

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

    Where the shape is broken, the rules that look across sections (placeholders, images, attestation, versions) are
    judged for what is left.
    """
    session, problems = _shaped(document)
    if session is not None:
        assert isinstance(document.data, Mapping)
        return session, _across(session, dict(document.data))
    return None, [*problems, *_of_the_rest(document, problems)]


def _across(session: Session, data: Mapping[str, object]) -> list[Problem]:
    problems = [*_top_problems(session), *reference_problems(session)]
    # What does not even resolve is said once.
    problems += [] if problems else fitting_problems(session)
    return [*problems, *feature_problems(session, data)]


def _of_the_rest(document: Document, problems: Sequence[Problem]) -> list[Problem]:
    """What is wrong across sections with the parts whose shape is right."""
    if not isinstance(document.data, Mapping):
        return []
    found: list[Problem] = []
    said = {problem.path[:2] for problem in problems}
    data, broken, ours = document.data, problems, list[Problem]()
    for _ in range(_MOST_ROUNDS):
        data = with_unknown(without_broken(data, broken), ours)
        session, broken = _shaped(Document(data=data))
        if session is not None:
            # A secret is one thing: what its keys mean together is judged once each of them is right.
            named = {path for path in said if path[0] == "secrets"} | {one.path for one in (*problems, *found)}
            rest = _across(session, dict(document.data))
            return [*found, *(one for one in rest if one.path not in named and one.path[:2] not in named)]
        # An entry that was not named before was hidden by what is left out now; another lacks what was left out of it.
        ours = [problem for problem in broken if problem.path[:2] in said]
        broken = [problem for problem in broken if problem.path[:2] not in said]
        found += broken
        said |= {problem.path[:2] for problem in broken}
    return found


def _shaped(document: Document) -> tuple[Session | None, list[Problem]]:
    if not isinstance(document.data, Mapping):
        rule = "a session description must be a map with name, version, services, …"
        return None, [Problem(path=(), rule=rule, fix="Begin it with `name: …` and `version: …`, each on a line.")]
    data = dict(document.data)
    try:
        return Session.model_validate(data, context={"name": _own_name(data)}), []
    except ValidationError as error:
        return None, with_suggestions(problems_of(error), Session)


def written_problems(session: Session) -> list[Problem]:
    """What a person must not write: the markers of our own state, and a creator."""
    creator = creator_problem(session)
    return [*marker_problems(session), *([] if creator is None else [creator])]


def creator_problem(session: Session) -> Problem | None:
    """The refusal of a creator that somebody wrote by hand; None without one, and for one that a CAS printed.

    That stands there when a session that was read is uploaded again: it is ignored, as CAS fills it in anew.
    """
    if session.creator is None or _is_printed(session.creator):
        return None
    fix = "Leave it out; access_policy says who may do what."
    return Problem(path=("creator",), rule="is filled in by CAS, never written by hand", fix=fix)


def _is_printed(creator: object) -> bool:
    """True for a certificate, or the public key of a signer, in PEM."""
    read, text = pem.certificates, creator
    if isinstance(creator, Mapping) and set(creator) == {SIGNER}:
        read, text = pem.public_key, creator[SIGNER]
    try:
        return isinstance(text, str) and bool(read(text))
    except ValueError:
        return False


def marker_problems(session: Session) -> list[Problem]:
    """Key markers, which have no meaning outside of our own state."""
    return [
        Problem(path=("services", name, "fspf_key"), rule=KEY_RULE, fix=KEY_FIX)
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
        return [Problem(path=("namespace_hash",), rule=rule, fix="Leave namespace_hash out.")]
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
