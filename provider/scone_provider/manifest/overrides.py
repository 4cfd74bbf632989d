"""Files that a Meshfile names beside a service: variables, secrets and policy in place of what its image carries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from scone_policy.syntax.problems import Problem, problems_of
from scone_policy.syntax.yaml_source import Document, Path
from scone_provider.errors import ManifestError
from scone_provider.manifest.advice import advised
from scone_provider.manifest.findings import stop
from scone_provider.manifest.rules import environment_problems
from scone_provider.manifest.service import ManifestEnvironment, ManifestSecrets, ServiceManifest
from scone_provider.manifest.variables import IN_PROGRAM, read

FILES = ("env", "image_secrets", "image_policy")
"""Keys of a service of a Meshfile that name a file of this sort, relative to the Meshfile."""

_SECTIONS = ("local", "global")


@dataclass(frozen=True, kw_only=True)
class ServiceFiles:
    """What a Meshfile's files say about one service; None where it names no such file."""

    env: Document | None = None
    image_secrets: Document | None = None
    image_policy: Document | None = None


def read_override(text: str, *, file: str, variables: Mapping[str, str], hint: str = IN_PROGRAM) -> Document:
    """The document in such a file: `$NAME` replaced, `{{name}}` kept. Raises ManifestError with file and line."""
    document, missing = read(text, file=file, variables=variables, hint=hint)
    stop(missing, document)
    return document


def judge_alone(document: Document) -> bool:
    """Judge a file beside a service by what it looks like, without that service; False for what is no such file.

    Raises ManifestError for a list of secrets, or of variables, that is none.
    """
    data = document.data
    if isinstance(data, Mapping) and data and set(data) <= set(_SECTIONS):
        _environment(document)
        return True
    items: list[Any] = data if isinstance(data, list) and data else [None]
    if not all(isinstance(item, Mapping) and "name" in item for item in items):
        return False
    if any("kind" in item for item in items):
        _secrets(document)
    else:
        _environment(document)
    return True


def overridden(manifest: ServiceManifest, files: ServiceFiles) -> ServiceManifest:
    """The manifest with its variables and secrets replaced, by name, or extended, by what the files say.

    Raises ManifestError for a file that is not shaped like the section, and for a secret that the manifest keeps
    local: those no Meshfile changes.
    """
    found = manifest
    moved: dict[Path, tuple[Document, Path]] = {}
    if files.env is not None:
        environment = _environment(files.env)
        parts = {section: _section(environment, section) for section in _SECTIONS}
        whole = {
            "local": {
                **{name: text for name, text in manifest.environment.local.items() if name not in parts["global"]},
                **parts["local"],
            },
            "global_": {
                **{name: text for name, text in manifest.environment.global_.items() if name not in parts["local"]},
                **parts["global"],
            },
        }
        found = found.model_copy(update={"environment": manifest.environment.model_copy(update=whole)})
        moved |= _moved("environment", parts, files.env)
    if files.image_secrets is not None:
        secrets = _secrets(files.image_secrets)
        stop([_fixed(name) for name in secrets if name in manifest.secrets.local], files.image_secrets)
        update = {"global_": {**manifest.secrets.global_, **secrets}}
        found = found.model_copy(update={"secrets": manifest.secrets.model_copy(update=update)})
        moved |= _moved("secrets", {"global": secrets}, files.image_secrets)
    if found is not manifest:
        found.remember_moved(moved)
    return found


def _environment(document: Document) -> ManifestEnvironment:
    """Section `environment` of a manifest, or its list of global variables alone."""
    data = document.data
    try:
        found = ManifestEnvironment.model_validate({"global": data} if isinstance(data, list) else data)
    except ValidationError as error:
        stop(advised(_unprefixed(problems_of(error), data)), document)
        raise AssertionError("a model was refused without a problem") from None
    stop(advised(_unprefixed(list(environment_problems(found)), data)), document)
    return found


def _secrets(document: Document) -> Mapping[str, Mapping[str, object]]:
    """A list of secrets."""
    if not isinstance(document.data, list):
        raise ManifestError(
            "must be a list of secrets, each with name and kind",
            where=document.where(()),
            fix="Write - {name: password, kind: ascii, size: 20} for each of them.",
        )
    try:
        return ManifestSecrets.model_validate({"global": document.data}).global_
    except ValidationError as error:
        stop(advised(_unprefixed(problems_of(error), document.data)), document)
        raise AssertionError("a model was refused without a problem") from None


def _unprefixed(problems: list[Problem], data: object) -> list[Problem]:
    """Paths as the file has them: a bare list has no section in front."""
    cut = 1 if isinstance(data, list) else 0
    return [Problem(path=problem.path[cut:], rule=problem.rule, fix=problem.fix) for problem in problems]


def _section(environment: ManifestEnvironment, section: str) -> Mapping[str, str | None]:
    return environment.local if section == "local" else environment.global_


def _moved(
    key: str, parts: Mapping[str, Mapping[str, object]], document: Document
) -> dict[Path, tuple[Document, Path]]:
    is_list = isinstance(document.data, list)
    return {
        (key, section, name): (document, (name,) if is_list else (section, name))
        for section, names in parts.items()
        for name in names
    }


def _fixed(name: str) -> Problem:
    return Problem(
        path=(name,),
        rule=f"the secret {name} is local in the service's manifest, and no Meshfile changes those",
        fix="Leave it out, or move it to secrets.global of the manifest.",
    )
