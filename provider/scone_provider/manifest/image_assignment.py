"""Which service manifest builds the image of which service of a mesh."""

import difflib
from collections.abc import Mapping, Sequence

from scone_policy.syntax.holes import has_hole
from scone_provider.errors import ManifestError
from scone_provider.manifest.fields import with_tag
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import ServiceManifest

ONE_EACH = "Give each image one manifest."
"""What to do where two build one image."""


def assigned(mesh: Mesh, manifests: Sequence[ServiceManifest], *, one_each: str = ONE_EACH) -> dict[str, int]:
    """Service → position of the manifest that builds its image; a service without one is the catalogue's.

    `one_each`: what to do where two build one image.

    Raises ManifestError for two manifests of one image, and for a manifest that no service uses.
    """
    by_image: dict[str, int] = {}
    for number, manifest in enumerate(manifests):
        other = manifests[by_image.setdefault(manifest.build.to, number)]
        if other is not manifest:
            raise ManifestError(
                f"two manifests build {_shown(manifest.build.to)}: the other is {other.where('build', 'to')}",
                where=manifest.where("build", "to"),
                fix=one_each,
            )
    found = {}
    for service, wanted in mesh.services.items():
        number = next((number for to, number in by_image.items() if is_built_as(wanted.image, to)), -1)
        if number < 0:
            number = _named_alike(service, wanted.image, manifests)
        if number >= 0:
            found[service] = number
    for number, manifest in enumerate(manifests):
        if number not in found.values():
            raise _unused(mesh, manifest)
    return found


def _named_alike(service: str, image: str, manifests: Sequence[ServiceManifest]) -> int:
    """The manifest of two references that are not known yet: `build.name` tells; that they are one is checked later."""
    if not has_hole(image) or "@" in image:
        return -1
    builds = [(number, one.build) for number, one in enumerate(manifests)]
    return next((number for number, build in builds if build.name == service and has_hole(build.to)), -1)


def is_built_as(image: str, to: str) -> bool:
    """Whether a Meshfile's `image`, with or without a digest, is what a manifest builds as `to`."""
    named, digest = image.partition("@")[0], digest_of(image)
    tagged = ":" in named.rpartition("/")[2]
    if digest is None:
        return with_tag(named) == to
    return named == to or (not tagged and named == to.rpartition(":")[0])


def digest_of(image: str) -> str | None:
    """The digest that a Meshfile's `image` demands, if any."""
    return image.partition("@")[2] or None


def _unused(mesh: Mesh, manifest: ServiceManifest) -> ManifestError:
    to = manifest.build.to
    images: Mapping[str, str] = {service.image: name for name, service in mesh.services.items()}
    near = difflib.get_close_matches(to, images, n=1, cutoff=0.0)
    fix = "Leave the manifest out, or add a service with this image."
    if has_hole(to):
        fix = "Let image and build.to be one and the same Output, or give the service the name of the build."
    if near and not has_hole(to) and not has_hole(near[0]):
        fix = f"Make build.to and image equal (the nearest is {near[0]}, {mesh.where('services', images[near[0]])})."
    return ManifestError(
        f"no service of the mesh uses {_shown(to)}, which this manifest builds",
        where=manifest.where("build", "to"),
        fix=fix,
    )


def _shown(to: str) -> str:
    """A reference in an error; what is not known yet is a name there."""
    return "an image whose name is not known yet" if has_hole(to) else to
