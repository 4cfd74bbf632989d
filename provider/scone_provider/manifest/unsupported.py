"""What the manifests can say and this version cannot do yet: refused by name, never ignored."""

import difflib
from collections.abc import Iterator
from typing import Literal

from scone_policy.syntax.problems import Problem
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import EMBEDDED_KINDS, ServiceManifest

Toolchain = Literal["embedded", "vendor"]
"""Who makes the confidential image: this package, or a builder command around the vendor's toolchain."""


def refuse_unsupported(manifest: ServiceManifest | Mesh, *, toolchain: Toolchain = "embedded") -> list[Problem]:
    """A problem for each thing that the manifest asks for and that is not supported."""
    return list(_of_service(manifest, toolchain) if isinstance(manifest, ServiceManifest) else _of_mesh(manifest))


def _not_yet(*path: str, fix: str = "") -> Problem:
    return Problem(path=path, rule=f"{path[-1]} is not supported yet", fix=fix)


def _of_service(manifest: ServiceManifest, toolchain: Toolchain) -> Iterator[Problem]:
    build = manifest.build
    if build.kind not in EMBEDDED_KINDS and toolchain != "vendor":
        near = difflib.get_close_matches(build.kind.lower(), EMBEDDED_KINDS, n=1, cutoff=0.7)
        guess = f"Did you mean {near[0]}? " if near else ""
        yield Problem(
            path=("build", "kind"),
            rule=f"kind {build.kind} needs the vendor's SCONE toolchain: this package builds "
            f"{' and '.join(EMBEDDED_KINDS)}",
            fix=f"{guess}Give a builder, a command that runs that toolchain: scone:builder of the stack, builder of "
            "the component, --builder of the commands (docs/vendor-toolchain.md); or wrap a native image: "
            "kind: sconify_image.",
        )
    if build.requirements and build.kind == "sconify_image":
        yield Problem(
            path=("build", "requirements"),
            rule=f"requirements are Python's, and the kind is {build.kind}",
            fix="Install what is needed in `run`, or in the image that `from` names.",
        )
    for index, volume in enumerate(build.volumes):
        if volume.path is None:
            place = ("build", "volumes", index)
            yield Problem(path=place, rule="the volume has no path", fix="Say where it is mounted: path: /data")
    if build.stable:
        yield Problem(
            path=("build", "stable"),
            rule="stable is not supported",
            fix="Leave it out: `rollout: overlap` keeps the last released image trusted until the new one is up.",
        )
    if build.gen_policy is not None and build.gen_policy.policy:
        yield Problem(
            path=("build", "gen_policy"),
            rule="gen_policy is not supported: the vendor reserves it",
            fix="Leave it out; a Meshfile gives a service a policy template of its own by `image_policy`.",
        )


def _of_mesh(mesh: Mesh) -> Iterator[Problem]:
    if mesh.extra_policies:
        yield Problem(
            path=("extra_policies",),
            rule="extra_policies is reserved by the vendor and has no meaning yet",
            fix="Write a SecurityPolicy resource beside the mesh.",
        )
    if mesh.repo is None:
        return
    if mesh.repo.squash:
        yield Problem(
            path=("repo", "squash"),
            rule="squash would make one layer out of the base and the confidential ones, and is not supported",
            fix="Leave it out: the base's layers are shared by all images that use it.",
        )
    for key in ("key_file", "config_id"):
        if getattr(mesh.repo, key):
            yield _not_yet("repo", key, fix="Sign the image where it is built: build.signature of its manifest.")
