"""What a preview warns about although a mesh is in order: risks that somebody took, values that have no effect."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from scone_policy.model.security import ALL_ADVISORIES, DEBUG_MODE
from scone_policy.syntax.nearest import nearest_word
from scone_provider.catalogue.entry import Description
from scone_provider.derive.cas_roles import FRAGMENTS
from scone_provider.derive.chart import is_simulated
from scone_provider.derive.curated_variables import CHART_VARIABLES
from scone_provider.manifest.mesh import CHARTS, EVERYONE, SIGNED, UPLOAD, Mesh
from scone_provider.manifest.service import ServiceManifest

KUBERNETES_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


def mesh_warnings(mesh: Mesh, services: Mapping[str, ServiceManifest], owners: Sequence[str]) -> Iterator[str]:
    """A sentence for each thing that is in order and that a person should decide on all the same."""
    if not owners and not mesh.policy.access_policy_name:
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
    if DEBUG_MODE in mesh.policy.tolerate:
        yield (
            "debug-mode is tolerated: whoever runs the node can read the services' memory "
            f"({mesh.where('policy', 'tolerate')})"
        )
    yield from _elsewhere(mesh, owners)
    for name, manifest in services.items():
        yield from _service_warnings(mesh, name, manifest)


def unused_variables(
    mesh: Mesh, services: Mapping[str, ServiceManifest], used: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """A sentence for each variable of a service's own section of `env` for which nothing of that service asks."""
    for name, asked in used.items():
        manifest = services[name]
        known = [*manifest.environment.global_, *CHART_VARIABLES]
        for variable in mesh.env[name].env if name in mesh.env else ():
            if variable in asked or variable in known or variable in manifest.environment.local:
                continue
            near = nearest_word(variable, known)
            guess = f": did you mean {near}?" if near else ""
            where = mesh.where("env", name, "env", variable)
            yield f"nothing of the service {name} uses the variable {variable}{guess} ({where})"


def unused_by_all(
    mesh: Mesh,
    services: Mapping[str, ServiceManifest],
    used: Collection[str],
    *,
    curated: Mapping[str, Description],
) -> Iterator[str]:
    """A sentence for each variable of the sections global and helm of `env` for which nothing of the mesh asks.

    `used`: what something asks for. `curated`: what the catalogue says of its services.
    """
    declared = {name for manifest in services.values() for name in manifest.environment.global_}
    known = {*declared, *CHART_VARIABLES, *(name for one in curated.values() for name in one.variables)}
    for section in (EVERYONE, CHARTS):
        for variable in mesh.env[section].env if section in mesh.env else ():
            if variable in used or variable in known:
                continue
            where = mesh.where("env", section, "env", variable)
            advice = next((one.advice[variable] for one in curated.values() if variable in one.advice), "")
            local = sorted(name for name, one in services.items() if variable in one.environment.local)
            near = nearest_word(variable, sorted(known), cutoff=0.8)
            if advice:
                yield f"{variable} has no effect: nothing of this mesh uses it; {advice} ({where})"
            elif local:
                whose = " and ".join(local)
                yield f"{variable} is local in the manifest of {whose}, so the Meshfile's value is not used ({where})"
            else:
                guess = f": did you mean {near}?" if near else ""
                yield f"nothing of this mesh uses the variable {variable}{guess} ({where})"


def _elsewhere(mesh: Mesh, owners: Sequence[str]) -> Iterator[str]:
    """What others decide or carry out."""
    for name, cas in mesh.cas.items():
        if cas.mode == SIGNED:
            yield (
                "SignedManifest: whoever reads Kubernetes objects reads the policies, with file-system keys and given "
                f"secrets; EncryptedManifest hides them ({mesh.where('cas', name, 'mode')})"
            )
    for role in FRAGMENTS:
        if session := getattr(mesh.policy, f"{role}_policy_name"):
            where = mesh.where("policy", f"{role}_policy_name")
            called = mesh.cas_name(role)
            yield (
                f"what {session} on the CAS {called} says counts, whoever changes it there: no preview shows it "
                f"({where})"
            )
    if not owners and (waiting := [name for name, cas in mesh.cas.items() if cas.mode != UPLOAD]):
        yield (
            f"policies for {' and '.join(waiting)} are uploaded by somebody else, who is then the creator: name this "
            "stack's key hash among the owners, or it cannot read which version the next one replaces"
        )


def _service_warnings(mesh: Mesh, name: str, manifest: ServiceManifest) -> Iterator[str]:
    if name not in mesh.services:
        return
    for path in manifest.injection_files:
        if path in KUBERNETES_FILES and is_simulated(mesh):
            yield (
                f"{path} belongs to Kubernetes: the software mode does not inject it into the service {name} "
                f"({manifest.where('injection_files', path)})"
            )
    for volume in manifest.build.volumes:
        if is_simulated(mesh):
            yield (
                f"the volume {volume.name} of the service {name} is not encrypted in software mode "
                f"({manifest.where('build', 'volumes')})"
            )
    for variable in manifest.environment.local:
        if name in mesh.env and variable in mesh.env[name].env:
            yield (
                f"{variable} is local in the manifest of {name}, so the Meshfile's value is not used "
                f"({mesh.where('env', name, 'env', variable)})"
            )
