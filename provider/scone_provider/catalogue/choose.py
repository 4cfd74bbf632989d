"""Finds the entry of the catalogue for each service of a mesh that has no manifest, and fits it to that service."""

import difflib
from collections.abc import Mapping, Sequence

from scone_provider.catalogue.entry import Curated, Entry
from scone_provider.catalogue.load import MANIFEST, POLICY, VALUES
from scone_provider.derive.chart import kubernetes_name
from scone_provider.manifest.load import load_service
from scone_provider.manifest.mesh import Mesh, name_of_image
from scone_provider.manifest.overrides import read_override
from scone_provider.manifest.problems import Findings
from scone_provider.manifest.service import ServiceManifest


def curate(mesh: Mesh, manifests: Mapping[str, ServiceManifest], catalogue: Sequence[Entry]) -> dict[str, Curated]:
    """Service → its curated form, for each service of the mesh that none of `manifests` (by service) builds.

    Raises ManifestError (ManifestErrors), with file and line of the Meshfile, for an image that the catalogue does not
    have, and where it is not clear to which repository the confidential image goes.
    """
    findings = Findings()
    found = {}
    for service, wanted in mesh.services.items():
        if service in manifests:
            continue
        where = mesh.where("services", service, "image")
        entry = _entry(wanted.image, catalogue, where, findings)
        if entry is None:
            continue
        folder = _repository(mesh, manifests)
        if folder is None:
            findings.add(
                f"nothing says where the confidential image of the service {service} is pushed to",
                where=where,
                fix="Give repo.destination: registry and folder, such as registry.example/team.",
            )
            continue
        image = f"{folder}/{kubernetes_name(service)}:{_tag(wanted.image)}"
        if image == wanted.image.partition("@")[0]:
            findings.add(
                f"the confidential image of the service {service} would take the place of its native one, {image}",
                where=where,
                fix="Give another repo.destination, or the service another name.",
            )
            continue
        found[service] = _fitted(entry, service, native=wanted.image, image=image)
    findings.stop()
    return found


def _entry(image: str, catalogue: Sequence[Entry], where: str, findings: Findings) -> Entry | None:
    name, tag = name_of_image(image), _tag(image)
    for entry in catalogue:
        if tag and entry.suits(image=name, tag=tag):
            return entry
    known = sorted({entry.description.image for entry in catalogue})
    tags = [pattern for entry in catalogue if entry.description.image == name for pattern in entry.description.tags]
    if not tag and tags:
        findings.add(
            f"the image {image} of the catalogue needs a tag",
            where=where,
            fix=f"It has {name}:{f', {name}:'.join(tags)}.",
        )
    elif tags:
        findings.add(
            f"the catalogue's {name} is for {', '.join(tags)}, not for {tag}",
            where=where,
            fix=f"Name one of these, or give an entry of your own for {name}:{tag} (docs/curated-services.md).",
        )
    else:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        guess = f"Did you mean {near[0]}? " if near else ""
        findings.add(
            f"no service manifest builds {image}, and the catalogue has no {name}",
            where=where,
            fix=f"{guess}Give the service manifest whose build.to is {image}; "
            f"images that need none are {', '.join(known)}.",
        )
    return None


def _tag(image: str) -> str:
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def _repository(mesh: Mesh, manifests: Mapping[str, ServiceManifest]) -> str | None:
    """`repo.destination`, else the one folder to which all images of the mesh's own manifests go."""
    if mesh.repo is not None and mesh.repo.destination:
        return mesh.repo.destination.rstrip("/")
    folders = {manifest.build.to.rpartition("/")[0] for manifest in manifests.values()}
    return folders.pop() or None if len(folders) == 1 else None


def _fitted(entry: Entry, service: str, *, native: str, image: str) -> Curated:
    # `{{service}}` also stands in names, and so is replaced in the text: a service's name cannot leave its scalar.
    words = {"{{service}}": service, "{{host}}": "{{release}}-" + kubernetes_name(service)}

    def named(text: str) -> str:
        for word, meant in words.items():
            text = text.replace(word, meant)
        return text

    description = entry.description
    fitted = description.model_copy(
        update={
            "variables": {
                named(name): one.model_copy(
                    update={
                        "default": named(one.default),
                        "choices": {
                            choice: {named(more): named(text) for more, text in texts.items()}
                            for choice, texts in one.choices.items()
                        },
                    }
                )
                for name, one in description.variables.items()
            },
            "fixed": {named(name): named(text) for name, text in description.fixed.items()},
        }
    )
    manifest = load_service(
        named(entry.manifest), file=f"{entry.files}/{MANIFEST}", variables={"NATIVE": native, "IMAGE": image}
    )
    files = {POLICY: entry.policy, VALUES: entry.values}
    documents = {
        file: None if text is None else read_override(named(text), file=f"{entry.files}/{file}", variables={})
        for file, text in files.items()
    }
    return Curated(
        manifest=manifest,
        folder=entry.folder,
        description=fitted,
        policy=documents[POLICY],
        values=documents[VALUES],
    )
