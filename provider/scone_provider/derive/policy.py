"""The policies of a mesh: one session for each service, and the namespace's own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scone_policy import PolicyError, parse
from scone_policy.access import CREATOR
from scone_policy.command import split
from scone_policy.placeholders import Placeholder, parts, resolve
from scone_policy.services import MARKER
from scone_policy.session import VERSION
from scone_provider.derive.environment import ServiceVariables
from scone_provider.derive.facts import ImageFacts
from scone_provider.derive.secrets import Definition
from scone_provider.derive.variables import Value, Variables
from scone_provider.errors import ManifestError
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import ServiceManifest

Canonical = dict[str, Any]


def namespace_policy(mesh: Mesh, *, owners: Sequence[str], secrets: Mapping[str, Definition]) -> Canonical:
    """The namespace's own session: its owners may read and update it and create sessions in it; no services."""
    return _canonical(
        {
            "name": mesh.policy.namespace,
            "version": VERSION,
            "access_policy": _access(owners),
            "secrets": dict(secrets),
        },
        where=mesh.where("policy"),
    )


def service_policy(
    mesh: Mesh,
    manifest: ServiceManifest,
    *,
    image: ImageFacts,
    environment: ServiceVariables,
    secrets: Mapping[str, Definition],
    variables: Variables,
    owners: Sequence[str],
) -> Canonical:
    """The session of one service, named like the service; notes a finding for each placeholder without a secret."""
    name = variables.service
    command_at = manifest.where("build", "command")
    command = Value(text=variables.fill(manifest.build.command, where=command_at), where=command_at)
    files = dict(_files(manifest, variables))
    texts = [command, *environment.delivered.values(), *files.values()]
    _check_placeholders(texts, secrets, variables)
    service: dict[str, Any] = {
        "command": _arguments(command, variables),
        "environment": {key: value.text for key, value in environment.delivered.items()},
        "pwd": _pwd(manifest, variables),
        "fspf_key": image.key or f"{MARKER}{image.identity}",
        "fspf_tag": image.fspf_tag,
        "attestation": {"mrenclave": image.measurement},
    }
    if files:
        service["image_name"] = name
    variables.findings.stop()
    session = {
        "name": f"{mesh.policy.namespace}/{name}",
        "version": VERSION,
        "access_policy": _access(owners),
        "security": {"attestation": _attestation(mesh)},
        "services": {name: service},
        "secrets": dict(secrets),
        "images": {name: {"injection_files": {path: {"content": file.text} for path, file in files.items()}}}
        if files
        else {},
    }
    return _canonical(session, where=manifest.where())


def _canonical(session: Mapping[str, Any], *, where: str) -> Canonical:
    try:
        return parse(session).canonical()
    except PolicyError as error:
        raise ManifestError(f"the derived policy {session['name']} breaks a rule: {error}", where=where) from None


def _access(owners: Sequence[str]) -> dict[str, list[str]]:
    entries = list(owners) or [CREATOR]
    return {"read": entries, "update": entries}


def _attestation(mesh: Mesh) -> dict[str, Any]:
    policy = mesh.policy
    found: dict[str, Any] = {"tolerate": list(policy.tolerate), "ignore_advisories": list(policy.ignore_advisories)}
    return found | {"mode": "maa", "url": policy.maa} if policy.maa else found


def _pwd(manifest: ServiceManifest, variables: Variables) -> str | None:
    pwd = manifest.build.pwd
    return None if pwd is None else variables.fill(pwd, where=manifest.where("build", "pwd"))


def _files(manifest: ServiceManifest, variables: Variables) -> Iterator[tuple[str, Value]]:
    for path, file in manifest.injection_files.items():
        where = manifest.where("injection_files", path, "content")
        yield path, Value(text=variables.fill(file.content, where=where), where=where)


def _arguments(command: Value, variables: Variables) -> list[str]:
    try:
        return list(split(command.text))
    except ValueError as error:
        variables.findings.add(str(error), where=command.where)
        return []


def _check_placeholders(texts: Sequence[Value], secrets: Mapping[str, Definition], variables: Variables) -> None:
    kinds = {name: definition.get("kind") for name, definition in secrets.items()}
    for value in texts:
        try:
            for piece in parts(value.text):
                if isinstance(piece, Placeholder):
                    resolve(piece, kinds)
        except ValueError as error:
            variables.findings.add(
                str(error).replace("of this session", f"of the service {variables.service}"),
                where=value.where,
                fix="Define it under secrets.local or secrets.global, or import it from the service that does.",
            )
