"""Derives everything that a mesh becomes from its manifests and the facts about its images: a pure function."""

from collections.abc import Mapping, Sequence

from scone_policy.syntax.holes import Later, at_once
from scone_policy.syntax.yaml_source import Document
from scone_provider.catalogue.entry import Curated
from scone_provider.derive.cas_roles import check_owners, roles_of, shares_elsewhere
from scone_provider.derive.chart import extra_values, kubernetes_names, service_values
from scone_provider.derive.container import container_of
from scone_provider.derive.curated_variables import chart_values, known_as, settled, unused
from scone_provider.derive.environment import environment_of
from scone_provider.derive.facts import ImageFacts, MeshPlan, policy_key
from scone_provider.derive.image import destination
from scone_provider.derive.mesh_warnings import mesh_warnings, unused_by_all, unused_variables
from scone_provider.derive.policy import delivered, namespace_policy, service_policy
from scone_provider.derive.policy_template import merged
from scone_provider.derive.policy_warnings import policy_warnings
from scone_provider.derive.secret_placement import plan_secrets
from scone_provider.derive.variable_substitution import filled_mesh, filled_service
from scone_provider.derive.variables import mesh_variables, variables_of
from scone_provider.derive.volumes import check_sizes
from scone_provider.manifest.cautions import sentences
from scone_provider.manifest.fields import is_open
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.image_assignment import is_built_as
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import ServiceManifest

_NONE: Mapping[str, str] = {}
_NO_TEMPLATES: Mapping[str, Document] = {}
_NONE_CURATED: Mapping[str, Curated] = {}


def derive(
    mesh: Mesh,
    services: Mapping[str, ServiceManifest],
    images: Mapping[str, ImageFacts],
    *,
    release: str,
    owners: Sequence[str] = (),
    policy_digests: Mapping[str, str] = _NONE,
    cas_keys: Mapping[str, str] = _NONE,
    templates: Mapping[str, Document] = _NO_TEMPLATES,
    curated: Mapping[str, Curated] = _NONE_CURATED,
    revisions: Mapping[str, str] = _NONE,
    later: Later = at_once,
) -> MeshPlan:
    """The policies and the chart's values of a mesh.

    `services`, `images`, `policy_digests`, `templates` (policy templates) and `curated` (what the catalogue says of
    services that it gave a manifest) are by the mesh's service names; a digest that is not given is left empty.
    `owners`: key hashes that may read and update the policies, the creator's if there are none. `release`: the name of
    the Helm release. `cas_keys`: key hashes of CASes that the mesh does not pin, by their names. `revisions`: service →
    its name at CAS, for services whose rollouts overlap. Raises ManifestError, or ManifestErrors for several, with file
    and line of the manifests.
    """
    mesh = filled_mesh(mesh, release=release)
    check_owners(mesh, owners)
    findings, warnings = Findings(), list(mesh_warnings(mesh, services, owners))
    warnings += [text for name, one in services.items() if name not in curated for text in sentences(one)]
    _check_services(mesh, services, findings, curated=curated)
    findings.stop()
    manifests = {name: services[name] for name in mesh.services}
    roles = roles_of(mesh, cas_keys=cas_keys, findings=findings)
    variables = {
        name: variables_of(mesh, name, manifest, release=release, cas_keys=cas_keys, findings=findings)
        for name, manifest in manifests.items()
    }
    variables |= {name: settled(one, mesh, variables[name]) for name, one in curated.items()}
    for name, one in curated.items():
        warnings += one.warnings
        warnings += unused(one, mesh, variables[name], manifest=manifests[name], template=templates.get(name))
    manifests = {name: filled_service(manifest, variables[name]) for name, manifest in manifests.items()}
    _check_destinations(mesh, manifests, findings)
    environments = {name: environment_of(manifest, variables[name]) for name, manifest in manifests.items()}
    given = {
        name: delivered(
            manifest, environment=environments[name], template=templates.get(name), variables=variables[name]
        )
        for name, manifest in manifests.items()
    }
    texts = {name: one.texts for name, one in given.items()}
    secrets = plan_secrets(
        namespace=mesh.policy.namespace,
        home=roles.home,
        manifests=manifests,
        variables=variables,
        texts=texts,
        findings=findings,
        known_as=known_as(curated),
    )
    names = kubernetes_names(mesh, release=release, findings=findings, warnings=warnings)
    findings.stop()
    policies = {}
    charts = {}
    containers = {}
    mounted = {}
    for name, manifest in manifests.items():
        policies[name] = service_policy(
            mesh,
            manifest,
            image=images[name],
            given=given[name],
            secrets=secrets,
            roles=roles,
            variables=variables[name],
            owners=owners,
        )
        containers[name], mounted[name] = container_of(
            policies[name], manifest, template=given[name].template, variables=variables[name]
        )
        charts[names[name]], more = service_values(
            mesh,
            image=images[name],
            environment=environments[name],
            volumes=mounted[name],
            variables=variables[name],
            policy_digest=policy_digests.get(name, ""),
            revision=revisions.get(name),
            later=later,
        )
        warnings += more
        warnings += policy_warnings(
            mesh, manifest, policies[name], template=given[name].template, image=images[name], variables=variables[name]
        )
        if name in curated:
            charts[names[name]] = merged(charts[names[name]], chart_values(curated[name], variables[name], later=later))
    check_sizes(mesh, mounted, findings)
    whole = mesh_variables(mesh, release=release, cas_keys=cas_keys, findings=findings)
    extra = extra_values(mesh, whole, names=names, warnings=warnings, later=later)
    findings.stop()
    used = {name: variables[name].used | manifests[name].asked for name in manifests}
    warnings += unused_variables(mesh, manifests, {name: one for name, one in used.items() if name not in curated})
    every = mesh.asked.union(whole.used, *used.values())
    warnings += unused_by_all(mesh, manifests, every, curated={name: one.description for name, one in curated.items()})
    elsewhere = shares_elsewhere(mesh)
    here = None if elsewhere else secrets
    home = roles.home
    return MeshPlan(
        namespace=mesh.policy.namespace,
        namespace_policy=namespace_policy(
            mesh, name=mesh.policy.namespace, owners=owners, roles=roles, secrets=here, own=True
        ),
        shared_policy=namespace_policy(mesh, name=home.session, owners=owners, roles=roles, secrets=secrets, own=False)
        if elsewhere
        else None,
        shared_key=policy_key(home.session, home.cas_url),
        policies=policies,
        imports={name: _imports(policy) for name, policy in policies.items()},
        chart={"services": dict(sorted(charts.items())), "extra": extra},
        warnings=tuple(dict.fromkeys(warnings)),
        containers=containers,
    )


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


def _check_services(
    mesh: Mesh, services: Mapping[str, ServiceManifest], findings: Findings, *, curated: Mapping[str, Curated]
) -> None:
    for name, service in mesh.services.items():
        where = mesh.where("services", name)
        manifest = services.get(name)
        if name in curated:
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
