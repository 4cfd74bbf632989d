"""Rules that look across the sections of a session: placeholders, names of secrets, images and volumes, attestation."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from scone_policy.model import one_time_password
from scone_policy.model.access import AccessPolicy
from scone_policy.model.secrets import Secret
from scone_policy.model.services import HOST_VARIABLE, Service
from scone_policy.model.session import Session
from scone_policy.rules.placeholder_texts import entry_texts, texts
from scone_policy.rules.secret_names import Kinds, Secrets, kinds_of, meant, naming_problems, nearest_among
from scone_policy.rules.secret_references import secret_problems
from scone_policy.syntax import config_fragments
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.placeholders import DANGLING, SELF, Placeholder, is_reference, parts, resolve
from scone_policy.syntax.problems import MOST_PROBLEMS, Problem, problem_at
from scone_policy.syntax.yaml_source import Path

_POSITION = re.compile(r"@@([0-9]+)")
_COUNTED = re.compile(r"[1-9][0-9]{0,2}")
_FILE_KEY_SIZE = 32
_PASSWORD_SIZE = 16
_FRAGMENT = "config-fragment"
_ENTRIES = ("ascii", "x509", "x509-ca", "public-key", _FRAGMENT)
"""Kinds of secrets that can name somebody."""


def reference_problems(session: Session) -> list[Problem]:
    """Every reference that leads nowhere, or to what can never stand there, and every service that nothing would
    attest, in the order of the document; no more than are told, and one, so that it is known that there are more.
    """
    return list(islice(_reference_problems(session), MOST_PROBLEMS + 1))


def _reference_problems(session: Session) -> Iterator[Problem]:
    kinds, secrets = kinds_of(session.secrets), session.secrets
    for path, text in texts(session):
        yield from (problem for problem in _judge(path, text, kinds) if not names_nobody(problem))
    for name, service in session.services.items():
        yield from _service_problems(session, name, service)
    for name, secret in secrets.items():
        yield from secret_problems(("secrets", name), secret, secrets)
    for name, volume in session.volumes.items():
        yield from _file_key(("volumes", name, "fspf_key"), volume.fspf_key, secrets)
    yield from _image_problems(session)
    yield from _access_problems(session.access_policy, secrets)
    yield from _security_problems(session)
    vault = session.secret_config.store_in
    if vault is not None:
        place: Path = ("secret_config", "store_in", "token")
        yield from naming_problems(place, vault.token, ("aad-token",), secrets, "token must name")


def _image_problems(session: Session) -> Iterator[Problem]:
    for name, image in session.images.items():
        here: Path = ("images", name)
        for path, mount in image.volumes.items():
            if mount.name not in session.volumes:
                rule = f"{mount.name} is no volume of this session"
                fix = nearest_among(mount.name, session.volumes, "volumes")
                yield Problem(path=(*here, "volumes", path), rule=rule, fix=fix)
        for secret_name in image.provide_secrets or ():
            if secret_name not in session.secrets and not has_hole(secret_name):
                rule = f"{secret_name} is no secret of this session"
                fix = nearest_among(secret_name, session.secrets, "secrets")
                yield Problem(path=(*here, "provide_secrets"), rule=rule, fix=fix)


def _service_problems(session: Session, name: str, service: Service) -> Iterator[Problem]:
    path: Path = ("services", name)
    image = service.image_name
    if image is not None and image not in session.images and not has_hole(image):
        fix = nearest_among(image, session.images, "images")
        yield Problem(path=(*path, "image_name"), rule="names no image of this session", fix=fix)
    if not service.attestation and session.security.needs_attestation:
        yield Problem(
            path=path,
            rule="needs at least one attestation variant: attestation is not off for this session",
            fix="Give attestation.mrenclave or attestation.signer.",
        )
    yield from _file_key((*path, "fspf_key"), service.fspf_key, session.secrets)
    yield from _positions((*path, "command"), service.command or ())
    yield from _host_variables((*path, "environment"), service.environment)
    key = "one_time_password_shared_secret"
    yield from _password((*path, key), service.one_time_password_shared_secret, session.secrets)
    for variant in service.attestation:
        yield from _fragment((*path, "attestation"), variant.reference, session.secrets)
        if variant.signer is not None:
            yield from _fragment((*path, "attestation", "signer"), variant.signer.reference, session.secrets)


def _security_problems(session: Session) -> Iterator[Problem]:
    attestation = session.security.attestation
    path: Path = ("security", "attestation")
    yield from _fragment(path[:1], session.security.reference, session.secrets)
    yield from _fragment(path, attestation.reference, session.secrets)
    key = "one_time_password_shared_secret"
    yield from _password((*path, key), attestation.one_time_password_shared_secret, session.secrets)


def _fragment(path: Path, reference: str | None, secrets: Secrets) -> Iterator[Problem]:
    """A whole section can come out of a config fragment only."""
    found = meant(reference, secrets) if reference is not None else None
    if found is not None and (kind := secrets[found[0]].kind) not in (_FRAGMENT, None):
        rule = f"{found[0]} is a secret of kind {kind}, and must be one of {_FRAGMENT}"
        yield Problem(path=path, rule=rule, fix=f"Make {found[0]} a {_FRAGMENT}, or write the section out.")


def _file_key(path: Path, key: str | None, secrets: Secrets) -> Iterator[Problem]:
    if key is None or not is_reference(key) or (found := meant(key, secrets)) is None:
        return
    secret = secrets[found[0]]
    if secret.kind not in ("binary", None) or _size(secret) not in (_FILE_KEY_SIZE, None):
        rule = f"{found[0]} must be a binary secret of {_FILE_KEY_SIZE} bytes"
        yield Problem(path=path, rule=rule, fix=f"Write kind: binary and size: {_FILE_KEY_SIZE} there.")


def _size(secret: Secret) -> int | None:
    """Bytes of a binary secret; None where they are not known here."""
    if isinstance(secret.value, str):
        return None if has_hole(secret.value) else len(secret.value) // 2
    return secret.size if isinstance(secret.size, int) else None


def _password(path: Path, written: str | None, secrets: Secrets) -> Iterator[Problem]:
    """What shares one-time passwords is base32 of at least 128 bits (section 7), wherever it comes from."""
    if written is None or not is_reference(written) or (found := meant(written, secrets)) is None:
        return
    name, suffix = found
    if not _is_password(secrets[name], suffix):
        yield Problem(
            path=path,
            rule=f"{name} can never share one-time passwords: it must give at least 128 bits in base32",
            fix="Take a binary secret of 16 bytes or more with :base32nopad, or an ascii secret whose value is base32.",
        )


def _is_password(secret: Secret, suffix: str) -> bool:
    """True unless it is known that the secret in this form is no shared secret."""
    if secret.kind == "binary":
        size = _size(secret)
        return suffix in (":base32", ":base32nopad") and (size is None or size >= _PASSWORD_SIZE)
    if secret.kind not in ("ascii", _FRAGMENT, None) or (secret.kind == "ascii" and secret.is_generated):
        return False
    if secret.value is None or has_hole(secret.value):
        return True
    value = config_fragments.load(secret.value) if secret.kind == _FRAGMENT else secret.value
    try:
        one_time_password.shared_secret(value)
    except ValueError:
        return False
    return not is_reference(value)


def _access_problems(policy: AccessPolicy, secrets: Secrets) -> Iterator[Problem]:
    """Placeholders whose secret could never name anybody."""
    if policy.reference is not None:
        yield from _fragment(("access_policy",), policy.reference, secrets)
        return
    for right in ("read", "update", "create_sessions", "list_sessions"):
        for text in entry_texts(getattr(policy, right) or ()):
            if not is_reference(text) or (found := meant(text, secrets)) is None:
                continue
            name, secret = found[0], secrets[found[0]]
            if secret.kind not in (*_ENTRIES, None):
                rule = f"{name} is a secret of kind {secret.kind}, and must be one of {', '.join(_ENTRIES)}"
                fix = "Name a person by key hash or certificate, or by a secret that holds one."
                yield Problem(path=("access_policy", right), rule=rule, fix=fix)
            elif secret.kind == "ascii" and secret.is_generated:
                rule = f"{name} is generated, and nobody is who a random text names"
                fix = f"Give {name} a value (a key hash), or import it."
                yield Problem(path=("access_policy", right), rule=rule, fix=fix)


def _positions(path: Path, command: Sequence[str]) -> Iterator[Problem]:
    """Host arguments are taken by position, each once; numbers may be left out (the host's argument is not used)."""
    written = [match[1] for argument in command if (match := _POSITION.fullmatch(argument))]
    for position, times in Counter(written).items():
        if not _COUNTED.fullmatch(position):
            rule = "host arguments begin with @@1, and end with @@999"
            yield Problem(path=path, rule=f"@@{position} is none: {rule}", fix="Count from @@1 on, without zeros.")
        elif times > 1:
            rule = f"the host argument @@{position} stands there twice"
            yield Problem(path=path, rule=rule, fix="Give each its own number, or leave one out.")


def _host_variables(path: Path, environment: Mapping[str, str]) -> Iterator[Problem]:
    """A variable comes from the host or from here, once."""
    found = Counter(match["name"] for name in environment if (match := HOST_VARIABLE.fullmatch(name)))
    for name, times in found.items():
        if times > 1 or name in environment:
            rule = f"{name} stands there twice: as a variable of the host (@@{name}), and once more"
            yield Problem(path=(*path, f"@@{name}"), rule=rule, fix="Keep one of them.")


def names_nobody(problem: Problem) -> bool:
    """True for an entry of the access policy whose secret does not exist: it counts for nobody, and is warned of."""
    return problem.path[0] == "access_policy" and len(problem.path) > 1 and DANGLING in problem.rule


def dangling_entries(session: Session) -> list[Problem]:
    """The entries of the access policy whose placeholder names no secret, as what to warn of."""
    kinds = kinds_of(session.secrets)
    found = (
        replace(problem, rule=f"{problem.rule}: the entry counts for nobody")
        for path, text in texts(session)
        if path[0] == "access_policy"
        for problem in _judge(path, text, kinds)
        if names_nobody(problem)
    )
    return list(islice(found, MOST_PROBLEMS))


def _judge(path: Path, text: str, kinds: Kinds) -> Iterator[Problem]:
    try:
        pieces = parts(text)
    except ValueError as error:
        yield problem_at(path, error)
        return
    for piece in pieces:
        if isinstance(piece, Placeholder) and not piece.is_open:
            if piece.name == SELF and path[0] == "secrets":
                continue
            try:
                resolve(piece, kinds)
            except ValueError as error:
                yield problem_at(path, error)
