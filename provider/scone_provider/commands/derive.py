"""`pulumi-scone derive`: prints the sessions that a mesh would upload, with marks for what only a built image knows."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scone_policy.errors import SconeError
from scone_policy.forms.wire import wire_text
from scone_policy.syntax.holes import Holes
from scone_provider.catalogue.load import load_catalogue
from scone_provider.commands.files import UsageError, assignments, command_words, text_of
from scone_provider.derive import ImageFacts, PlanRequest, derive
from scone_provider.derive.image import encrypted_paths
from scone_provider.derive.pipeline import Source, Surroundings, assign, complete, fill
from scone_provider.derive.variable_substitution import destination_filler, filled_mesh
from scone_provider.errors import ManifestError
from scone_provider.file_errors import file_reason
from scone_provider.image.oci.reference import parse_reference
from scone_provider.manifest import Mesh, ServiceManifest, load_mesh, load_service
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.image_assignment import ONE_EACH, is_built_as
from scone_provider.manifest.unsupported import Toolchain
from scone_provider.manifest.variables import ON_COMMAND_LINE, ReadVariables

_SERVICE = re.compile(r"""^["']?kind["']?[ \t]*:[ \t]*["']?genservice\b""", re.MULTILINE)
_MOST_FILES = 1000


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
    builder: str | None = None,
) -> int:
    """Print the namespace's session and that of every service, as YAML documents. Raises SconeError, UsageError.

    `builder`: the command of another toolchain that builds the images; it is not run. Without `manifest_files` the
    service manifests beside the Meshfile are taken, of which no two may build one image.
    """
    given = ReadVariables(assignments(variables))
    toolchain: Toolchain = "vendor" if command_words(builder) else "embedded"
    mesh = filled_mesh(
        load_mesh(text_of(mesh_file), file=mesh_file, variables=given, hint=ON_COMMAND_LINE), release=release
    )
    own = _own_services(mesh, manifest_files, given, toolchain=toolchain, release=release)
    around = Surroundings(
        read=_text, catalogue=lambda: load_catalogue(catalogue), variables=given, hint=ON_COMMAND_LINE
    )
    holes = Holes()
    cas_keys = {name: holes.punch(f"[attested key of {name}]") for name, cas in mesh.cas.items() if not cas.cas_key}
    filled = fill(complete(mesh, own, around, release=release), cas_keys=cas_keys)
    images = {name: _unbuilt(manifest, holes, toolchain) for name, manifest in filled.manifests.items()}
    plan = derive(PlanRequest(mesh=filled, images=images, owners=tuple(owners)))
    for warning in (*given.unread(ON_COMMAND_LINE), *plan.warnings):
        warn(f"warning: {warning}")
    documents = [("cas", plan.namespace_policy)]
    documents += [("image", plan.shared_policy)] if plan.shared_policy is not None else []
    documents += [("cas", policy) for _, policy in sorted(plan.policies.items())]
    for role, policy in documents:
        cas = f"# for the CAS {mesh.cas_name(role)}: {mesh.cas_of(role).cas_url}\n" if len(mesh.cas) > 1 else ""
        tell(f"---\n{cas}" + _shown(policy, holes).rstrip("\n"))
    return 0


def _own_services(
    mesh: Mesh, manifest_files: Sequence[str], given: Mapping[str, str], *, toolchain: Toolchain, release: str
) -> dict[str, Source]:
    """The services whose manifests are named, or lie beside the Meshfile."""
    named = destination_filler(mesh, release=release)
    found: list[Source] = []
    strange: list[SconeError] = []
    for file, text in _texts(mesh.file, manifest_files).items():
        try:
            manifest = load_service(text, file=file, variables=given, hint=ON_COMMAND_LINE, toolchain=toolchain)
            found.append(Source(manifest=named(manifest)))
        except SconeError as error:
            strange.append(error)
    if not manifest_files:
        used = [service.image for service in mesh.services.values()]
        found = [one for one in found if any(is_built_as(image, one.manifest.build.to) for image in used)]
    fix = ONE_EACH if manifest_files else "Name the one that is meant: --manifest FILE"
    services = assign(mesh, found, one_each=fix)
    if strange and (manifest_files or set(services) != set(mesh.services)):
        raise _together(strange)  # else it lies beside the Meshfile by chance
    return services


def _together(errors: Sequence[SconeError]) -> SconeError:
    """All that is wrong with several manifests, as one error."""
    findings = Findings()
    for one in (part for error in errors for part in error.parts or (error,)):
        findings.add(one.what, where=one.where, fix=one.fix)
    try:
        findings.stop()
    except ManifestError as error:
        return error
    return errors[0]


def _texts(mesh_file: str, manifest_files: Sequence[str]) -> dict[str, str]:
    """Text by file: of the files that are named, else of what looks like a service manifest beside the Meshfile."""
    if manifest_files:
        return {file: text_of(file) for file in manifest_files}
    folder = Path(mesh_file).parent
    try:
        beside = sorted(file for file in folder.iterdir() if file.suffix in (".yaml", ".yml") and file.is_file())
    except (OSError, ValueError) as problem:
        raise UsageError(f"{folder}: the folder cannot be read: {file_reason(problem)}") from None
    if len(beside) > _MOST_FILES:
        raise UsageError(f"{folder} holds more than {_MOST_FILES} YAML files: name the service manifests by --manifest")
    texts = {str(file): text for file in beside if (text := _readable(file)) is not None}
    return {file: text for file, text in texts.items() if _SERVICE.search(text)}


def _readable(file: Path) -> str | None:
    try:
        return text_of(str(file))
    except UsageError:
        return None


def _text(file: str) -> str:
    try:
        return text_of(file)
    except UsageError as error:
        raise SconeError(str(error).removeprefix(f"{file}: "), where=file) from None


def _unbuilt(manifest: ServiceManifest, holes: Holes, toolchain: Toolchain) -> ImageFacts:
    """What only a build knows, as marks; a builder also says the key, and decrypts as it likes."""
    to, is_built_elsewhere = manifest.build.to, toolchain == "vendor"
    return ImageFacts(
        reference=holes.punch(f"[built: {to}]"),
        measurement=holes.punch(f"[measurement of {to}]"),
        fspf_tag=holes.punch(f"[fspf_tag of {to}]"),
        identity=parse_reference(to).repository,
        encrypted_paths=() if is_built_elsewhere else encrypted_paths(manifest),
        key=holes.punch(f"key of {to}, by the builder") if is_built_elsewhere else None,
    )


def _shown(policy: Mapping[str, Any], holes: Holes) -> str:
    canonical: Any = holes.fill(policy, lambda parts: "".join(map(str, parts)))
    services = {
        name: {**entry, "fspf_key": f"[{entry['fspf_key']}]"} if "fspf_key" in entry else entry
        for name, entry in canonical.get("services", {}).items()
    }
    return wire_text(canonical | ({"services": services} if services else {}), predecessor=None, fspf_keys={})
