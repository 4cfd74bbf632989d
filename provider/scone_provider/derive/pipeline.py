"""The way from manifests to a mesh that can be planned: each document is named, assigned, completed and filled once.

Whoever goes it reads the documents, and says what is not known yet: a program has Outputs there, a command marks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scone_policy.errors import SconeError
from scone_policy.syntax.yaml_source import Document
from scone_provider.catalogue.entry import Curated, Entry
from scone_provider.catalogue.matching import curate
from scone_provider.derive.curated_variables import settled
from scone_provider.derive.variable_substitution import filled_service
from scone_provider.derive.variables import Variables, variables_of
from scone_provider.errors import ManifestError
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.image_assignment import ONE_EACH, assigned
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.overrides import FILES, ServiceFiles, overridden, read_override
from scone_provider.manifest.service import ServiceManifest
from scone_provider.manifest.variables import IN_PROGRAM

IN_PYTHON = "<mesh>"
"""The file of a Meshfile that a program wrote as a map."""
_RELATIVE = "paths in a Meshfile are relative to the Meshfile"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A service manifest whose `build.to` is filled (`destination_filler`), and what its `copy` is relative to."""

    manifest: ServiceManifest
    folder: str = "."


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What stands around a Meshfile. `read` gives the text of a file, or raises SconeError.

    `variables` replace `$NAME` in such texts; `hint` says in errors how one is given.
    """

    read: Callable[[str], str]
    catalogue: Callable[[], Sequence[Entry]]
    variables: Mapping[str, str]
    hint: str = IN_PROGRAM


@dataclass(frozen=True, kw_only=True)
class WrittenMesh:
    """A filled Meshfile and, by its services' names, what people wrote of them; their manifests are not filled yet.

    `curated`: what the catalogue says of services that it gave a manifest; `templates`: policy templates. `release`:
    the name of the Helm release.
    """

    mesh: Mesh
    release: str
    services: Mapping[str, ServiceManifest]
    folders: Mapping[str, str] = field(default_factory=dict)
    curated: Mapping[str, Curated] = field(default_factory=dict)
    templates: Mapping[str, Document] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FilledMesh:
    """A mesh whose services' manifests are filled, with the variables of each service.

    `cas_keys`: key hashes of CASes that the mesh does not pin, by their names.
    """

    written: WrittenMesh
    cas_keys: Mapping[str, str]
    variables: Mapping[str, Variables]
    manifests: Mapping[str, ServiceManifest]


def assign(mesh: Mesh, sources: Sequence[Source], *, one_each: str = ONE_EACH) -> dict[str, Source]:
    """Service → the source whose manifest builds its image. Parameters and errors as of `assigned`."""
    found = assigned(mesh, [source.manifest for source in sources], one_each=one_each)
    return {service: sources[number] for service, number in found.items()}


def complete(mesh: Mesh, own: Mapping[str, Source], around: Surroundings, *, release: str) -> WrittenMesh:
    """The mesh with the catalogue's services, and with what the Meshfile's files say in place of a manifest's parts.

    Raises SconeError for what the catalogue does not have, and for a file that cannot be read or is not what it should.
    """
    manifests, curated = {service: source.manifest for service, source in own.items()}, dict[str, Curated]()
    if set(own) != set(mesh.services):
        curated = curate(mesh, manifests, around.catalogue())
        every = manifests | {service: one.manifest for service, one in curated.items()}
        manifests = {service: every[service] for service in mesh.services}
    files = {service: _files(mesh, service, around) for service in manifests}
    templates = {service: one.policy for service, one in curated.items() if one.policy is not None}
    templates |= {service: one.image_policy for service, one in files.items() if one.image_policy is not None}
    return WrittenMesh(
        mesh=mesh,
        release=release,
        services={service: overridden(one, files[service]) for service, one in manifests.items()},
        folders={service: source.folder for service, source in own.items()}
        | {service: one.folder for service, one in curated.items()},
        curated=curated,
        templates=templates,
    )


def fill(written: WrittenMesh, *, cas_keys: Mapping[str, str]) -> FilledMesh:
    """The mesh with each service's variables, and its manifest filled with them.

    Raises ManifestError (ManifestErrors) for a variable without a value, and for what breaks a rule then.
    """
    findings = Findings()
    variables, manifests = {}, {}
    for service, manifest in written.services.items():
        found = variables_of(
            written.mesh, service, manifest, release=written.release, cas_keys=cas_keys, findings=findings
        )
        if service in written.curated:
            found = settled(written.curated[service], written.mesh, found)
        variables[service], manifests[service] = found, filled_service(manifest, found)
    findings.stop()
    return FilledMesh(written=written, cas_keys=cas_keys, variables=variables, manifests=manifests)


def folder_of(mesh: Mesh) -> Path:
    """What paths in a Meshfile are relative to: its folder, for one that a program wrote the program's."""
    return Path() if mesh.file == IN_PYTHON else Path(mesh.file).parent


def _files(mesh: Mesh, service: str, around: Surroundings) -> ServiceFiles:
    """What the Meshfile's files say of one service."""
    found = {}
    for key in FILES:
        path = getattr(mesh.services[service], key)
        if path:
            file = str(folder_of(mesh) / path)
            try:
                text = around.read(file)
            except SconeError as error:
                where = mesh.where("services", service, key)
                raise ManifestError(f"{file}: {error.what}", where=where, fix=_RELATIVE) from None
            found[key] = read_override(text, file=file, variables=around.variables, hint=around.hint)
    return ServiceFiles(**found)
