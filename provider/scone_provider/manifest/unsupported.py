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
_SERVICE = ("image_secrets", "image_policy", "env", "helm_chart")
_POLICY = ("image_policy_namespace", "access_policy_name", "attestation_policy_name", "security_policy_name")


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
    for name, cas in mesh.cas.items():
        if cas.mode != "Upload":
            yield Problem(
                path=("cas", name, "mode"), rule=f"mode {cas.mode} is not supported yet", fix="Use mode: Upload."
            )
    if len(mesh.cas) > 1:
        yield Problem(path=("cas",), rule="more than one CAS is not supported yet", fix="Give one CAS all five roles.")
    for key in _POLICY:
        if getattr(mesh.policy, key):
            yield _not_yet("policy", key)
    services = mesh.services.items()
    yield from (_not_yet("services", name, key) for name, one in services for key in _SERVICE if getattr(one, key))
    if mesh.repo is not None:
        yield _not_yet("repo")
    if mesh.extra_policies:
        yield _not_yet("extra_policies")
