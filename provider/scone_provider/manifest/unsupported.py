"""What the manifests can say and this version cannot do yet: refused by name, never ignored."""

from collections.abc import Iterator

from scone_policy.problems import Problem
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import ServiceManifest

_VENDOR_KINDS = frozenset({"java", "java15", "java8", "java17"})
_BUILD = (
    "requirements",
    "run",
    "fs_dirs",
    "fs_files",
    "plains",
    "plain_files",
    "host_paths",
    "binaries",
    "volumes",
    "stable",
)


def refuse_unsupported(manifest: ServiceManifest | Mesh) -> list[Problem]:
    """A problem for each thing that the manifest asks for and that is not supported yet."""
    return list(_of_service(manifest) if isinstance(manifest, ServiceManifest) else _of_mesh(manifest))


def _not_yet(*path: str, fix: str = "") -> Problem:
    return Problem(path=path, rule=f"{path[-1]} is not supported yet", fix=fix)


def _of_service(manifest: ServiceManifest) -> Iterator[Problem]:
    build = manifest.build
    if build.kind in _VENDOR_KINDS:
        yield Problem(
            path=("build", "kind"),
            rule=f"kind {build.kind} needs the vendor's SCONE toolchain, which is not supported yet",
            fix="Use kind: python.",
        )
    if build.kind == "sconify_image":
        yield Problem(path=("build", "kind"), rule="kind sconify_image is not supported yet", fix="Use kind: python.")
    for key in _BUILD:
        if getattr(build, key):
            yield _not_yet("build", key)
    if build.signature is not None and build.signature.sign:
        yield _not_yet("build", "signature", fix="Leave it out: images are pushed and used by digest.")
    if build.gen_policy is not None and build.gen_policy.policy:
        yield _not_yet("build", "gen_policy")


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
