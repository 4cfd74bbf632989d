"""Derives everything that a mesh becomes from its manifests and the facts about its images: a pure function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scone_policy.syntax.holes import Later, at_once
from scone_provider.derive.cas_roles import Roles, check_owners, roles_of, shares_elsewhere
from scone_provider.derive.chart import kubernetes_names, service_values
from scone_provider.derive.container import Container, container_of
from scone_provider.derive.curated_variables import chart_values, known_as, unused
from scone_provider.derive.environment import ServiceVariables, environment_of
from scone_provider.derive.extra_values import extra_values
from scone_provider.derive.facts import ImageFacts, MeshPlan, policy_key
from scone_provider.derive.image import destination
from scone_provider.derive.mesh_warnings import mesh_warnings, unused_by_all, unused_variables
from scone_provider.derive.pipeline import FilledMesh, WrittenMesh
from scone_provider.derive.policy import Delivered, delivered, namespace_policy, service_policy
from scone_provider.derive.policy_template import merged
from scone_provider.derive.policy_warnings import policy_warnings
from scone_provider.derive.secret_placement import SecretPlan, plan_secrets
from scone_provider.derive.variables import Variables, mesh_variables
from scone_provider.derive.volumes import Volume, check_sizes
from scone_provider.manifest.cautions import sentences
from scone_provider.manifest.fields import is_open
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.image_assignment import is_built_as
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import ServiceManifest


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What a plan is made of. `images`, `policy_digests` and `revisions` are by the mesh's service names.

    A digest that is not given is left empty. `owners`: key hashes that may read and update the policies, the creator's
    if there are none. `revisions`: a service's name at CAS, for services whose rollouts overlap.
    """

    mesh: FilledMesh
    images: Mapping[str, ImageFacts]
    owners: Sequence[str] = ()
    policy_digests: Mapping[str, str] = field(default_factory=dict)
    revisions: Mapping[str, str] = field(default_factory=dict)
    later: Later = at_once


def derive(request: PlanRequest) -> MeshPlan:
    """The policies and the chart's values of a mesh.

    Raises ManifestError, or ManifestErrors for several, with file and line of the manifests.
    """
    written, mesh = request.mesh.written, request.mesh.written.mesh
    check_owners(mesh, request.owners)
    findings, warnings = Findings(), list(mesh_warnings(mesh, written.services, request.owners))
    warnings += [
        text for name, one in written.services.items() if name not in written.curated for text in sentences(one)
    ]
    _check_services(written, findings)
    findings.stop()
    roles = roles_of(mesh, cas_keys=request.mesh.cas_keys, findings=findings)
    parts = _parts(request.mesh, findings, warnings)
    secrets = plan_secrets(
        namespace=mesh.policy.namespace,
        home=roles.home,
        manifests={name: one.manifest for name, one in parts.items()},
        variables={name: one.variables for name, one in parts.items()},
        texts={name: one.given.texts for name, one in parts.items()},
        findings=findings,
        known_as=known_as(written.curated),
    )
    names = kubernetes_names(mesh, release=written.release, findings=findings, warnings=warnings)
    findings.stop()
    planned = {name: _service(request, name, part, roles, secrets) for name, part in parts.items()}
    warnings += [text for one in planned.values() for text in one.warnings]
    check_sizes(mesh, {name: one.mounted for name, one in planned.items()}, findings)
    extra = _extra(request, parts, names, findings, warnings)
    policies = {name: one.policy for name, one in planned.items()}
    charts = {names[name]: one.chart for name, one in planned.items()}
    return MeshPlan(
        namespace=mesh.policy.namespace,
        **_namespace_policies(mesh, request.owners, roles, secrets),
        policies=policies,
        imports={name: _imports(policy) for name, policy in policies.items()},
        chart={"services": dict(sorted(charts.items())), "extra": extra},
        warnings=tuple(dict.fromkeys(warnings)),
        containers={name: one.container for name, one in planned.items()},
    )


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What is known of one service before its secrets have their places."""

    manifest: ServiceManifest
    variables: Variables
    environment: ServiceVariables
    given: Delivered


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """What one service becomes."""

    policy: Mapping[str, Any]
    container: Container
    mounted: Sequence[Volume]
    chart: Mapping[str, Any]
    warnings: Sequence[str]


def _parts(filled: FilledMesh, findings: Findings, warnings: list[str]) -> dict[str, _Part]:
    written, mesh = filled.written, filled.written.mesh
    manifests = {name: filled.manifests[name] for name in mesh.services}
    variables = {name: filled.variables[name].anew(findings) for name in mesh.services}
    for name, one in written.curated.items():
        warnings += one.warnings
        template = written.templates.get(name)
        warnings += unused(one, mesh, variables[name], manifest=written.services[name], template=template)
    _check_destinations(mesh, manifests, findings)
    environments = {name: environment_of(manifest, variables[name]) for name, manifest in manifests.items()}
    return {
        name: _Part(
            manifest=manifest,
            variables=variables[name],
            environment=environments[name],
            given=delivered(
                manifest,
                environment=environments[name],
                template=written.templates.get(name),
                variables=variables[name],
            ),
        )
        for name, manifest in manifests.items()
    }


def _service(request: PlanRequest, name: str, part: _Part, roles: Roles, secrets: SecretPlan) -> _Planned:
    """Policy, container and chart values of one service."""
    mesh, image, variables = request.mesh.written.mesh, request.images[name], part.variables
    policy = service_policy(
        mesh,
        part.manifest,
        image=image,
        given=part.given,
        secrets=secrets,
        roles=roles,
        variables=variables,
        owners=request.owners,
    )
    container, mounted = container_of(policy, part.manifest, template=part.given.template, variables=variables)
    chart, warnings = service_values(
        mesh,
        image=image,
        environment=part.environment,
        volumes=mounted,
        variables=variables,
        policy_digest=request.policy_digests.get(name, ""),
        revision=request.revisions.get(name),
        later=request.later,
    )
    more = policy_warnings(mesh, part.manifest, policy, template=part.given.template, image=image, variables=variables)
    curated = request.mesh.written.curated.get(name)
    if curated is not None:
        chart = merged(chart, chart_values(curated, variables, later=request.later))
    return _Planned(policy=policy, container=container, mounted=mounted, chart=chart, warnings=[*warnings, *more])


def _extra(
    request: PlanRequest,
    parts: Mapping[str, _Part],
    names: Mapping[str, str],
    findings: Findings,
    warnings: list[str],
) -> Mapping[str, Any]:
    """`helm_extra_values`, and a warning for each variable that nothing in the whole mesh uses. Stops for findings."""
    written, mesh = request.mesh.written, request.mesh.written.mesh
    whole = mesh_variables(mesh, release=written.release, cas_keys=request.mesh.cas_keys, findings=findings)
    extra = extra_values(mesh, whole, names=names, warnings=warnings, later=request.later)
    findings.stop()
    manifests = {name: one.manifest for name, one in parts.items()}
    used = {name: one.variables.used | one.manifest.asked for name, one in parts.items()}
    own = {name: one for name, one in used.items() if name not in written.curated}
    warnings += unused_variables(mesh, manifests, own)
    described = {name: one.description for name, one in written.curated.items()}
    warnings += unused_by_all(mesh, manifests, mesh.asked.union(whole.used, *used.values()), curated=described)
    return extra


def _namespace_policies(mesh: Mesh, owners: Sequence[str], roles: Roles, secrets: SecretPlan) -> dict[str, Any]:
    """The namespace's own policy, and the one that holds what services share where that is another."""
    home = roles.home
    here: SecretPlan | None = secrets
    shared: Mapping[str, Any] | None = None
    if shares_elsewhere(mesh):
        here = None
        shared = namespace_policy(mesh, name=home.session, owners=owners, roles=roles, secrets=secrets, own=False)
    return {
        "namespace_policy": namespace_policy(
            mesh, name=mesh.policy.namespace, owners=owners, roles=roles, secrets=here, own=True
        ),
        "shared_policy": shared,
        "shared_key": policy_key(home.session, home.cas_url),
    }


def _imports(policy: Mapping[str, object]) -> tuple[str, ...]:
    secrets = policy.get("secrets")
    found = set()
    for definition in secrets.values() if isinstance(secrets, Mapping) else ():
        if "import" in definition:
            found.add(policy_key(definition["import"]["session"], definition["import"].get("cas_url")))
    return tuple(sorted(found))


def _check_destinations(mesh: Mesh, manifests: Mapping[str, ServiceManifest], findings: Findings) -> None:
    """Two images of one name would take each other's place where they are pushed."""
    taken: dict[str, ServiceManifest] = {}
    for manifest in manifests.values():
        to = destination(mesh, manifest)  # one that is not known yet is told by its tokens
        other = taken.setdefault(to, manifest)
        if other.build.to != manifest.build.to:
            findings.add(
                f"{manifest.build.to} and {other.build.to} would both be pushed to {to}",
                where=manifest.where("build", "to"),
                fix=f"Give one of them another name or tag (the other: {other.where('build', 'to')}).",
            )


def _check_services(written: WrittenMesh, findings: Findings) -> None:
    mesh = written.mesh
    for name, service in mesh.services.items():
        where = mesh.where("services", name)
        manifest = written.services.get(name)
        if name in written.curated:
            continue  # its image is the native one, from which the catalogue's manifest builds
        if manifest is None:
            findings.add(
                f"the service {name} has no service manifest",
                where=where,
                fix=f"Give the service manifest whose build.to is {service.image}.",
            )
        elif (
            not is_built_as(service.image, manifest.build.to)
            and not is_open(manifest.build.to)
            and not is_open(service.image)
        ):
            findings.add(
                f"the service {name} uses {service.image}, but its manifest builds {manifest.build.to}",
                where=mesh.where("services", name, "image"),
                fix=f"Make image and build.to equal ({manifest.where('build', 'to')}).",
            )
