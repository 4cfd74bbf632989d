"""Finds the entry of the catalogue for each service of a mesh that has no manifest, and fits it to that service."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.nearest import nearest_word
from scone_provider.catalogue.entry import Curated, Entry
from scone_provider.catalogue.load import MANIFEST, POLICY, VALUES
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.load import load_service
from scone_provider.manifest.mesh import Mesh, name_of_image
from scone_provider.manifest.names import kubernetes_name
from scone_provider.manifest.overrides import read_override
from scone_provider.manifest.service import ServiceManifest

_LATEST = "latest"
_VENDOR = "registry.scontain.com"
"""Where the images are from which the vendor's tutorials make their meshes."""


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
        if image == _tagged(wanted.image).partition("@")[0]:
            findings.add(
                f"the confidential image of the service {service} would take the place of its native one, {image}",
                where=where,
                fix="Give another repo.destination, or the service another name.",
            )
            continue
        fitted = _fitted(entry, service, native=_tagged(wanted.image), image=image)
        found[service] = replace(fitted, warnings=tuple(_doubts(entry, wanted.image, where)))
    findings.stop()
    return found


def _entry(image: str, catalogue: Sequence[Entry], where: str, findings: Findings) -> Entry | None:
    name, tag = name_of_image(image), _tag(image)
    named = [entry for entry in catalogue if entry.description.image == name]
    for entry in named:
        if entry.suits(image=name, tag=tag) and entry.unfit(tag) is None:
            return entry
    if "{{" in tag:
        fix = "Use a variable of the program instead: $NAME."
        findings.add(f"the tag of {image} is only known when it is too late", where=where, fix=fix)
        return None
    for entry in named:
        if entry.unfit(tag) is None:
            return entry
    if named:
        findings.add(
            f"the catalogue's {name} cannot be {tag}: {named[0].unfit(tag)}",
            where=where,
            fix=f"Name one of {', '.join(named[0].description.tags)}, or give an entry of your own for {name}:{tag} "
            "(docs/curated-services.md).",
        )
        return None
    known = sorted({entry.description.image for entry in catalogue})
    near = nearest_word(name, known, cutoff=0.7)
    guess = f"Did you mean {near}? " if near else ""
    findings.add(
        f"no service manifest builds {image}, and the catalogue has no {name}",
        where=where,
        fix=f"{guess}Give the service manifest whose build.to is {image}; "
        f"images that need none are {', '.join(known)}.",
    )
    return None


def _doubts(entry: Entry, image: str, where: str) -> Iterator[str]:
    """What nobody knows about the version of an image."""
    name, tag, made_for = name_of_image(image), _tag(image), ", ".join(entry.description.tags)
    if has_hole(tag):
        return
    if image.startswith(_VENDOR):
        yield (
            f"{image.partition('@')[0]} is a confidential image of the vendor's, and the catalogue makes one of a "
            f"native image: name that, such as {name}:{_newest(entry)} ({where})"
        )
    if "@" in image:
        if not entry.suits(image=name, tag=tag):
            yield f"the digest of {name} tells no version: the catalogue's entry was made for {made_for} ({where})"
    elif not any(character.isdigit() for character in tag):
        yield (
            f"{name}:{tag} is another image every few weeks: it is locked to the digest that it has when it is first "
            f"seen, and moves only with refresh_base; the catalogue's entry was made for {made_for} ({where})"
        )
    elif not entry.suits(image=name, tag=tag):
        yield (
            f"{name}:{tag} is taken for a native image of {name}, of a version that was not tried: "
            f"the catalogue's entry was made for {made_for} ({where})"
        )


def _newest(entry: Entry) -> str:
    """A plain tag that the entry was made for."""
    return max((tag for tag in entry.description.tags if tag.isdigit()), key=int, default=_LATEST)


def _tag(image: str) -> str:
    """The tag; without one, what a registry would take, or a name made of the digest."""
    named, _, digest = image.partition("@")
    return named.rpartition("/")[2].partition(":")[2] or (f"sha256-{digest[7:19]}" if digest else _LATEST)


def _tagged(image: str) -> str:
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:{_LATEST}"


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
                        "given": {named(more): named(text) for more, text in one.given.items()},
                        "meaning": named(one.meaning),
                    }
                )
                for name, one in description.variables.items()
            },
            "fixed": {named(name): named(text) for name, text in description.fixed.items()},
            "secrets": {name: named(text) for name, text in description.secrets.items()},
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
