"""Derives everything that a mesh becomes from its manifests and the facts about its images: a pure function."""

from collections.abc import Iterator, Mapping, Sequence

from scone_policy.security import ALL_ADVISORIES
from scone_provider.derive.chart import (
    extra_values,
    is_simulated,
    kubernetes_names,
    service_values,
)
from scone_provider.derive.environment import environment_of
from scone_provider.derive.facts import ImageFacts, MeshPlan
from scone_provider.derive.policy import namespace_policy, service_policy
from scone_provider.derive.secrets import plan_secrets
from scone_provider.derive.variables import variables_of
from scone_provider.manifest.fields import is_open
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.problems import Findings
from scone_provider.manifest.service import ServiceManifest

KUBERNETES_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_NO_DIGESTS: Mapping[str, str] = {}


def derive(
    mesh: Mesh,
    services: Mapping[str, ServiceManifest],
    images: Mapping[str, ImageFacts],
    *,
    release: str,
    owners: Sequence[str] = (),
    policy_digests: Mapping[str, str] = _NO_DIGESTS,
) -> MeshPlan:
    """The policies and the chart's values of a mesh.

    `services`, `images` and `policy_digests` are by the mesh's service names; a digest that is not given is left empty.
    `owners`: key hashes that may read and update the policies, the creator's if there are none. `release`: the name of
    the Helm release. Raises ManifestError, or ManifestErrors for several, with file and line of the manifests.
    """
    findings, warnings = Findings(), list(_warnings(mesh, services, owners))
    _check_services(mesh, services, findings)
    findings.stop()
    manifests = {name: services[name] for name in mesh.services}
    variables = {
        name: variables_of(mesh, name, manifest, release=release, findings=findings)
        for name, manifest in manifests.items()
    }
    environments = {name: environment_of(manifest, variables[name]) for name, manifest in manifests.items()}
    secrets = plan_secrets(mesh.policy.namespace, manifests, variables, findings)
    names = kubernetes_names(mesh, findings, warnings)
    findings.stop()
    policies = {}
    charts = {}
    for name, manifest in manifests.items():
        policies[name] = service_policy(
            mesh,
            manifest,
            image=images[name],
            environment=environments[name],
            secrets=secrets.by_service[name],
            variables=variables[name],
            owners=owners,
        )
        charts[names[name]], more = service_values(
            mesh,
            image=images[name],
            environment=environments[name],
            variables=variables[name],
            policy_digest=policy_digests.get(name, ""),
        )
        warnings += more
    findings.stop()
    return MeshPlan(
        namespace=mesh.policy.namespace,
        namespace_policy=namespace_policy(mesh, owners=owners, secrets=secrets.shared),
        policies=policies,
        imports={name: _imports(policy) for name, policy in policies.items()},
        chart={"services": dict(sorted(charts.items())), "extra": extra_values(mesh)},
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _imports(policy: Mapping[str, object]) -> tuple[str, ...]:
    secrets = policy.get("secrets")
    found = set()
    for definition in secrets.values() if isinstance(secrets, Mapping) else ():
        if "import" in definition:
            found.add(definition["import"]["session"])
    return tuple(sorted(found))


def _check_services(mesh: Mesh, services: Mapping[str, ServiceManifest], findings: Findings) -> None:
    for name, service in mesh.services.items():
        where = mesh.where("services", name)
        manifest = services.get(name)
        if manifest is None:
            findings.add(
                f"the service {name} has no service manifest: images that bring their own policy are not supported yet",
                where=where,
                fix=f"Give the service manifest whose build.to is {service.image}.",
            )
        elif manifest.build.to != service.image and not is_open(manifest.build.to) and not is_open(service.image):
            findings.add(
                f"the service {name} uses {service.image}, but its manifest builds {manifest.build.to}",
                where=mesh.where("services", name, "image"),
                fix=f"Make image and build.to equal ({manifest.where('build', 'to')}).",
            )


def _warnings(mesh: Mesh, services: Mapping[str, ServiceManifest], owners: Sequence[str]) -> Iterator[str]:
    if not owners:
        yield (
            "no owners are named: only the key that creates the policies can update them; name the key hashes of "
            "people and CI as owners, so that they can, too"
        )
    for name, cas in mesh.cas.items():
        where = mesh.where("cas", name, "tolerance")
        for switch in (cas.tolerance or "").split():
            if switch.startswith("--only_for_testing"):
                yield f"{switch} is for testing: a CAS that was tampered with would be trusted ({where})"
    if ALL_ADVISORIES in mesh.policy.ignore_advisories:
        yield (
            "ignore_advisories is *: platforms with any known vulnerability are trusted "
            f"({mesh.where('policy', 'ignore_advisories')})"
        )
    if "debug-mode" in mesh.policy.tolerate:
        yield (
            "debug-mode is tolerated: whoever runs the node can read the services' memory "
            f"({mesh.where('policy', 'tolerate')})"
        )
    for name, manifest in services.items():
        yield from _service_warnings(mesh, name, manifest)


def _service_warnings(mesh: Mesh, name: str, manifest: ServiceManifest) -> Iterator[str]:
    if name not in mesh.services:
        return
    for path in manifest.injection_files:
        if path in KUBERNETES_FILES and is_simulated(mesh):
            yield (
                f"{path} belongs to Kubernetes: the software mode does not inject it into the service {name} "
                f"({manifest.where('injection_files', path)})"
            )
    for variable in manifest.environment.local:
        if name in mesh.env and variable in mesh.env[name].env:
            yield (
                f"{variable} is local in the manifest of {name}, so the Meshfile's value is not used "
                f"({mesh.where('env', name, 'env', variable)})"
            )
