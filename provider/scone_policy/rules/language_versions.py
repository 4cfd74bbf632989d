"""Which version of the session language each feature needs: a stated 0.3.N refuses what is newer (section 11)."""

import re
from collections.abc import Iterator, Mapping

from scone_policy.model.access import Entry, Require, SessionSigner
from scone_policy.model.secret_kinds import RSA_KEYS
from scone_policy.model.secrets import Secret
from scone_policy.model.session import Session
from scone_policy.rules.placeholder_texts import texts
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.names import ROOT, is_relative
from scone_policy.syntax.placeholders import Placeholder, parts
from scone_policy.syntax.problems import MOST_PROBLEMS, Problem
from scone_policy.syntax.yaml_source import Path

Use = tuple[Path, str, int]
"""Where a feature is used, its name, and N of the 0.3.N that brought it."""

_KINDS = {"aad-token": 7, "config-fragment": 10, "pgp-key": 10, "public-key": 11, "jwt": 12}
_SUFFIXES = {
    ":base64": 6,
    ":pkcs12-with-private-key": 9,
    ":base64url": 10,
    ":base32": 10,
    ":base32nopad": 10,
}
_LOCAL = "local-attestation-trust-cas-tcb"


def feature_problems(session: Session, data: Mapping[str, object]) -> list[Problem]:
    """A problem for each feature newer than the version that the session states; none for a bare 0.3.

    `data` is the description as written: in its wire form old and new spellings of one meaning are told apart.
    """
    _, _, minor = session.version.partition("0.3.")
    if has_hole(session.version) or not minor:
        return []
    found: dict[tuple[Path, str], Problem] = {}
    for path, feature, needed in [*_uses(session), *_spellings(data)]:
        if int(minor) < needed:
            rule = f"{feature} needs version 0.3.{needed}, but this session states {session.version}"
            fix = f'Write version: "0.3.{needed}" or newer, or do without it.'
            found.setdefault((path, feature), Problem(path=path, rule=rule, fix=fix))
            if len(found) > MOST_PROBLEMS:
                break
    return list(found.values())


def oldest_version(session: Session, *, at_least: str) -> str:
    """The lowest 0.3.N, but not below `at_least`, that has every feature this session uses."""
    minors = [needed for _, _, needed in _uses(session)]
    return f"0.3.{max([int(at_least.removeprefix('0.3.')), *minors])}"


def _uses(session: Session) -> Iterator[Use]:
    if session.name == ROOT:
        yield ("name",), "the root namespace", 11
    elif "/" in session.name:
        yield ("name",), "a name in a namespace", 5
    if session.namespace_hash is not None:
        yield ("namespace_hash",), "namespace_hash", 11
    if session.salt is not None:
        yield ("salt",), "salt", 12
    for path, text in texts(session):
        yield from _in_text(path, text)
    for name, secret in session.secrets.items():
        yield from _of_secret(("secrets", name), secret)
    yield from _of_services(session)
    yield from _of_images_and_volumes(session)
    yield from _of_access(session)
    yield from _of_security(session)
    if session.secret_config.store_in is not None:
        yield ("secret_config",), "an Azure Key Vault as store", 10


def _in_text(path: Path, text: str) -> Iterator[Use]:
    try:
        pieces = parts(text)
    except ValueError:
        return
    for piece in pieces:
        if not isinstance(piece, Placeholder):
            continue
        if piece.suffix:
            yield path, f"the suffix {piece.suffix}", _SUFFIXES.get(piece.suffix, 5)
        if piece.escape_json:
            yield path, "escape(json)", 10
        section = _section(path)
        if section == "fspf_key":
            yield path, "an fspf_key taken from a secret", 7
        elif section is not None:
            yield path, f"a placeholder in {section}", 10


def _section(path: Path) -> str | None:
    """The part of the language that a text stands in, by position alone: names are the author's to choose."""
    if path[0] in ("access_policy", "security"):
        return None if path[-1] == "one_time_password_shared_secret" else str(path[0])
    if path[0] == "services" and path[2] in ("attestation", "platforms", "fspf_key"):
        return str(path[2])
    return "fspf_key" if path[0] == "volumes" else None


def _of_secret(path: Path, secret: Secret) -> Iterator[Use]:
    if secret.kind in _KINDS:
        yield (*path, "kind"), f"kind {secret.kind}", _KINDS[str(secret.kind)]
    if secret.import_akv is not None:
        yield (*path, "import_akv"), "import_akv", 7
        if _decrypts(secret.import_akv):
            yield (*path, "import_akv"), "decryption of what is imported", 11
    if secret.migrate:
        yield (*path, "migrate"), "migrate", 7
    if secret.key_type in RSA_KEYS:
        yield (*path, "key_type"), f"key_type {secret.key_type}", 7
    if secret.san:
        yield (*path, "san"), "san", 10
    if any(export.namespace is not None for export in secret.export):
        yield (*path, "export"), "an export to a namespace", 6


def _of_services(session: Session) -> Iterator[Use]:
    for name, service in session.services.items():
        path: Path = ("services", name)
        for argument in service.command or ():
            if re.fullmatch("@@[0-9]+", argument):
                yield (*path, "command"), "a host argument", 8
        if service.fspf_update_policy == "no_rollback_protection":
            yield (*path, "fspf_update_policy"), "fspf_update_policy", 11
        if service.one_time_password_shared_secret is not None:
            yield (*path, "one_time_password_shared_secret"), "a one-time password of one service", 10
        if len(service.attestation) > 1 or any(one.signer is not None for one in service.attestation):
            yield (*path, "attestation"), "the attestation section", 7


def _of_images_and_volumes(session: Session) -> Iterator[Use]:
    for name, image in session.images.items():
        if image.provide_secrets is not None:
            yield ("images", name, "provide_secrets"), "provide_secrets", 11
        for path, file in image.injection_files.items():
            if "permission" in file.canonical():
                yield ("images", name, "injection_files", path, "permission"), "permission", 10
    for name, volume in session.volumes.items():
        if volume.files is not None:
            yield ("volumes", name, "files"), "files", 11
        if any(export.volume_alias is not None for export in volume.export):
            yield ("volumes", name, "export"), "volume_alias", 10


def _of_access(session: Session) -> Iterator[Use]:
    policy = session.access_policy
    if policy.list_sessions is not None and policy.reference is None:
        yield ("access_policy", "list_sessions"), "list_sessions", 12
    for right in ("update", "create_sessions"):
        for entry in getattr(policy, right) or ():
            yield from _of_entry(("access_policy", right), entry)


def _of_entry(path: Path, entry: Entry) -> Iterator[Use]:
    if isinstance(entry, SessionSigner):
        yield path, "signer", 10
    elif isinstance(entry, Require):
        yield path, entry.word, 10
        for inner in entry.entries:
            yield from _of_entry(path, inner)


def _of_security(session: Session) -> Iterator[Use]:
    security = session.security
    if security.singleton_enclaves:
        yield ("security", "singleton_enclaves"), "singleton_enclaves", 9
    if security.service_access_token is not None:
        yield ("security", "service_access_token"), "service_access_token", 9
    attestation = security.attestation
    path: Path = ("security", "attestation")
    if attestation.one_time_password_shared_secret is not None:
        yield (*path, "one_time_password_shared_secret"), "a one-time password", 8
    if attestation.mode == "maa":
        yield (*path, "mode"), "mode maa", 7
    if _LOCAL in attestation.tolerate:
        yield (*path, "tolerate"), _LOCAL, 11
    if attestation.must_be_sgx_local:
        yield (*path, "must_be_sgx_local"), "must_be_sgx_local", 11


def _decrypts(tree: object) -> bool:
    """True when a part for decryption stands anywhere in an import_akv."""
    if isinstance(tree, Mapping):
        return any(str(key).startswith("decrypt") or _decrypts(value) for key, value in tree.items())
    return isinstance(tree, list) and any(map(_decrypts, tree))


def _spellings(data: Mapping[str, object]) -> Iterator[Use]:
    """Features that only the spelling shows: in the canonical form, a map, nothing of them is left."""
    on_paper = isinstance(data.get("services"), list | tuple)
    for path, service in _written(("services",), data.get("services")):
        if on_paper and isinstance(service.get("command"), list | tuple):
            yield (*path, "command"), "a command as a list", 5
        if on_paper and service.get("attestation") is not None:
            yield (*path, "attestation"), "the attestation section", 7
    for section in ("secrets", "volumes"):
        # As a map by name it is a program's: names are full ones by the time that a CAS reads them.
        entries = data.get(section)
        for path, entry in _written((section,), entries if isinstance(entries, list | tuple) else ()):
            if _has_relative(entry.get("export")) or _has_relative(entry.get("import")):
                yield path, "a relative name", 10
    yield from _defaults(data)


def _defaults(data: Mapping[str, object]) -> Iterator[Use]:
    """Keys that say no more than their default, which a CAS of an older version does not know all the same."""
    for path, service in _written(("services",), data.get("services")):
        yield from _stated(path, service, "fspf_update_policy", 11)
    for path, secret in _written(("secrets",), data.get("secrets")):
        yield from _stated(path, secret, "migrate", 7)
    for path, image in _written(("images",), data.get("images")):
        for place, file in _written((*path, "injection_files"), image.get("injection_files"), key="path"):
            yield from _stated(place, file, "permission", 10)
    security = data.get("security")
    if isinstance(security, Mapping):
        yield from _stated(("security",), security, "singleton_enclaves", 9)
        if isinstance(attestation := security.get("attestation"), Mapping):
            yield from _stated(("security", "attestation"), attestation, "must_be_sgx_local", 11)


def _stated(path: Path, entry: Mapping[str, object], key: str, needed: int) -> Iterator[Use]:
    if entry.get(key) is not None:
        yield (*path, key), key, needed


def _written(path: Path, entries: object, *, key: str = "name") -> Iterator[tuple[Path, Mapping[str, object]]]:
    """The entries of a section that are maps, in either form, each with its path."""
    if isinstance(entries, Mapping):
        found = list(entries.items())
    else:
        several = entries if isinstance(entries, list | tuple) else ()
        found = [(entry.get(key), entry) for entry in several if isinstance(entry, Mapping)]
    for name, entry in found:
        if isinstance(entry, Mapping):
            yield (*path, str(name)), entry


def _has_relative(tree: object) -> bool:
    if isinstance(tree, Mapping):
        return any(is_relative(tree.get(key)) for key in ("session", "namespace")) or _has_relative(tree.get("to"))
    if isinstance(tree, list | tuple):
        return any(_has_relative(item) or is_relative(item) for item in tree)
    return is_relative(tree)
