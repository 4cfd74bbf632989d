"""`pulumi-scone derive`: prints the sessions that a mesh would upload, with marks for what only a built image knows."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scone_policy.holes import Holes
from scone_policy.wire import wire_text
from scone_provider.catalogue.choose import curate
from scone_provider.catalogue.load import load_catalogue
from scone_provider.commands.files import UsageError, assignments, text_of
from scone_provider.derive import ImageFacts, derive
from scone_provider.derive.image import encrypted_paths
from scone_provider.errors import ManifestError
from scone_provider.image.reference import parse_reference
from scone_provider.manifest import Mesh, ServiceManifest, load_mesh, load_service
from scone_provider.manifest.assign import assigned
from scone_provider.manifest.overrides import FILES, ServiceFiles, overridden, read_override


def run(
    mesh_file: str,
    *,
    manifest_files: Sequence[str],
    catalogue: Sequence[str],
    variables: Sequence[str],
    owners: Sequence[str],
    release: str,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Print the namespace's session and that of every service, as YAML documents. Raises SconeError, UsageError."""
    given = assignments(variables)
    mesh = load_mesh(text_of(mesh_file), file=mesh_file, variables=given)
    manifests = [load_service(text_of(file), file=file, variables=given) for file in manifest_files]
    services = {name: manifests[number] for name, number in assigned(mesh, manifests).items()}
    curated = curate(mesh, services, load_catalogue(catalogue)) if set(services) != set(mesh.services) else {}
    services |= {name: one.manifest for name, one in curated.items()}
    files = {name: _files(mesh, name, given) for name in services}
    services = {name: overridden(manifest, files[name]) for name, manifest in services.items()}
    templates = {name: one.policy for name, one in curated.items() if one.policy is not None}
    templates |= {name: one.image_policy for name, one in files.items() if one.image_policy is not None}
    holes = Holes()
    facts = {name: _unbuilt(manifest, holes) for name, manifest in services.items()}
    plan = derive(
        mesh,
        services,
        facts,
        owners=tuple(owners),
        release=release,
        cas_keys={name: holes.punch(f"[attested key of {name}]") for name, cas in mesh.cas.items() if not cas.cas_key},
        templates=templates,
        curated=curated,
    )
    for warning in plan.warnings:
        warn(f"warning: {warning}")
    shared = [plan.shared_policy] if plan.shared_policy is not None else []
    documents = [plan.namespace_policy, *shared, *(policy for _, policy in sorted(plan.policies.items()))]
    for policy in documents:
        tell("---\n" + _shown(policy, holes).rstrip("\n"))
    return 0


def _files(mesh: Mesh, service: str, variables: Mapping[str, str]) -> ServiceFiles:
    """What the Meshfile's files, beside it, say about a service."""
    entry, folder = mesh.services[service], Path(mesh.file).parent
    paths = {key: str(folder / path) for key in FILES if (path := getattr(entry, key))}
    found = {}
    for key, file in paths.items():
        try:
            text = text_of(file)
        except UsageError as error:
            raise ManifestError(
                str(error), where=mesh.where("services", service, key), fix="Paths are relative to the Meshfile."
            ) from None
        found[key] = read_override(text, file=file, variables=variables)
    return ServiceFiles(**found)


def _unbuilt(manifest: ServiceManifest, holes: Holes) -> ImageFacts:
    to = manifest.build.to
    return ImageFacts(
        reference=holes.punch(f"[built: {to}]"),
        measurement=holes.punch(f"[measurement of {to}]"),
        fspf_tag=holes.punch(f"[fspf_tag of {to}]"),
        identity=parse_reference(to).repository,
        encrypted_paths=encrypted_paths(manifest),
    )


def _shown(policy: Mapping[str, Any], holes: Holes) -> str:
    canonical: Any = holes.fill(policy, lambda parts: "".join(map(str, parts)))
    services = {
        name: {**entry, "fspf_key": f"[{entry['fspf_key']}]"} if "fspf_key" in entry else entry
        for name, entry in canonical.get("services", {}).items()
    }
    return wire_text(canonical | ({"services": services} if services else {}), predecessor=None, fspf_keys={})
