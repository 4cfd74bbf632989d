"""The policies of a mesh: one session for each service, and the namespace's own."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from scone_policy.forms.canonical import present
from scone_policy.model.access import CREATOR
from scone_policy.model.services import MARKER
from scone_policy.model.session import VERSION, Session
from scone_policy.rules.check import check
from scone_policy.rules.language_versions import oldest_version
from scone_policy.syntax.command_line import split
from scone_policy.syntax.placeholders import Placeholder, parts, resolve
from scone_policy.syntax.yaml_source import Document
from scone_provider.derive.cas_roles import FRAGMENTS, Roles
from scone_provider.derive.environment import ServiceVariables
from scone_provider.derive.facts import ImageFacts
from scone_provider.derive.policy_template import filled, laid_over, sections_of, template_texts
from scone_provider.derive.secret_placement import Definition, SecretPlan
from scone_provider.derive.source_map import Sources, at, only, refused, service_sources
from scone_provider.derive.variables import Value, Variables
from scone_provider.derive.volumes import volumes_of
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import ServiceManifest

NEWEST = "0.3.12"
ACCESS = FRAGMENTS["access"]
Canonical = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What CAS gives to one service. `texts` are all of them, for the placeholders in them."""

    command: Value
    files: Mapping[str, Value]
    environment: Mapping[str, Value]
    template: Document | None
    texts: Sequence[Value]


def delivered(
    manifest: ServiceManifest, *, environment: ServiceVariables, template: Document | None, variables: Variables
) -> Delivered:
    """Command, files, environment and policy template with the variables of the mesh replaced."""
    command_at = manifest.where("build", "command")
    command = Value(text=variables.fill(manifest.build.command, where=command_at), where=command_at)
    files = dict(_files(manifest, variables))
    whole = None if template is None else filled(template, variables)
    more = [] if whole is None else template_texts(whole)
    return Delivered(
        command=command,
        files=files,
        environment=environment.delivered,
        template=whole,
        texts=[command, *environment.delivered.values(), *files.values(), *more],
    )


def namespace_policy(
    mesh: Mesh, *, name: str, own: bool, owners: Sequence[str], roles: Roles, secrets: SecretPlan | None
) -> Canonical:
    """The session of a namespace: its owners may read and update it and create sessions in it; no services.

    `secrets`: those that services share, where this is the session that holds them. An access policy that is taken from
    elsewhere stands in the application's own namespace (`own`) and below it.
    """
    access = roles.refer(ACCESS) if own else None
    return _canonical(
        {
            "name": name,
            "version": VERSION,
            "access_policy": access or _access(owners),
            "secrets": roles.secrets(secrets.shared if secrets else {}, only=(ACCESS,) if own else ()),
        },
        sources={
            (): only(mesh.where("policy")),
            ("access_policy",): only("owners"),
            **_fragment_sources(mesh),
            **{("secrets", one): where for one, where in (secrets.shared_sources if secrets else {}).items()},
        },
    )


def service_policy(
    mesh: Mesh,
    manifest: ServiceManifest,
    *,
    image: ImageFacts,
    given: Delivered,
    secrets: SecretPlan,
    roles: Roles,
    variables: Variables,
    owners: Sequence[str],
) -> Canonical:
    """The session of one service, named like the service; notes a finding for each placeholder without a secret."""
    name = variables.service
    sections = {} if given.template is None else sections_of(given.template, service=name)
    own = {**secrets.by_service[name], **sections.get("secrets", {})}
    every = roles.secrets(own)
    for clash in sorted(set(roles.fragments) & set(own)):
        variables.findings.add(
            f"the secret {clash} has the name of a section that the mesh takes from elsewhere",
            where=manifest.where("secrets"),
            fix="Give the secret another name.",
        )
    _check_placeholders(given.texts, every, variables)
    service: dict[str, Any] = {
        "command": _arguments(given.command, variables),
        "environment": {key: value.text for key, value in given.environment.items()},
        "pwd": _pwd(manifest, variables),
        "fspf_key": image.key or f"{MARKER}{image.identity}",
        "fspf_tag": image.fspf_tag,
        "attestation": {"mrenclave": image.measurement},
    }
    mounted = volumes_of(manifest, variables)
    container = present(
        injection_files={path: {"content": file.text} for path, file in given.files.items()},
        volumes={volume.path: {"name": volume.name} for volume in mounted},
    )
    if container or name in sections.get("images", {}):
        service["image_name"] = name
    variables.findings.stop()
    session = {
        "name": f"{mesh.policy.namespace}/{name}",
        "version": VERSION,
        "access_policy": roles.refer(ACCESS) or _access(owners),
        "security": _security(mesh, roles),
        "services": {name: service},
        "secrets": every,
        "volumes": {volume.name: volume.definition for volume in mounted},
        "images": {name: container} if container else {},
    }
    environment = {key: value.where for key, value in given.environment.items()}
    sources: Sources = {
        **service_sources(mesh, manifest, name=name, environment=environment),
        **_fragment_sources(mesh),
        **{("secrets", one): where for one, where in secrets.service_sources[name].items()},
    }
    return _canonical(laid_over(session, sections), sources=sources, template=given.template, sections=sections)


def _fragment_sources(mesh: Mesh) -> Sources:
    return {("secrets", name): at(mesh, "policy", f"{role}_policy_name") for role, name in FRAGMENTS.items()}


def _canonical(
    session: Mapping[str, Any],
    *,
    sources: Sources,
    template: Document | None = None,
    sections: Mapping[str, Any] = MappingProxyType({}),
) -> Canonical:
    """The one spelling, under the lowest version of the language that has every feature used.

    Raises ManifestError (ManifestErrors) at the lines of the manifests, or of the template that says `sections`.
    """
    found, problems = check(Document(data={**session, "version": NEWEST}))
    refused(problems, policy=session["name"], sources=sources, template=template, sections=sections).stop()
    assert isinstance(found, Session)
    return {**found.canonical(), "version": oldest_version(found, at_least=VERSION)}


def _access(owners: Sequence[str]) -> dict[str, dict[str, bool]]:
    entries = dict.fromkeys(owners or [CREATOR], True)
    return {"read": entries, "update": entries}


def _security(mesh: Mesh, roles: Roles) -> dict[str, Any] | str:
    whole, attestation = roles.refer("security"), roles.refer("attestation")
    if whole or attestation:
        return whole or {"attestation": attestation}
    policy = mesh.policy
    found: dict[str, Any] = {
        "tolerate": dict.fromkeys(policy.tolerate, True),
        "ignore_advisories": dict.fromkeys(policy.ignore_advisories, True),
    }
    return {"attestation": found | {"mode": "maa", "url": policy.maa} if policy.maa else found}


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
        variables.findings.add(str(error), where=command.where, fix="Write it as a shell would read it.")
        return []


def _check_placeholders(texts: Sequence[Value], secrets: Mapping[str, Definition], variables: Variables) -> None:
    kinds = {name: definition.get("kind") for name, definition in secrets.items()}
    known = {name.lower(): name for name in secrets}
    for value in texts:
        near: list[str] = []
        try:
            for piece in parts(value.text):
                if isinstance(piece, Placeholder) and not piece.is_open:
                    near = difflib.get_close_matches(piece.name.lower(), known, n=1)
                    resolve(piece, kinds)
        except ValueError as error:
            guess = f" Did you mean {known[near[0]]}?" if near and known[near[0]] not in value.text else ""
            variables.findings.add(
                str(error).replace("of this session", f"of the service {variables.service}"),
                where=value.where,
                fix="Define it under secrets.local or secrets.global, or import it from the service that does." + guess,
            )
