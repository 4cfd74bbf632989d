"""What the manifests can say and this version cannot do yet: refused by name, never ignored."""

from collections.abc import Iterator
from typing import Literal

from scone_policy.problems import Problem
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import ServiceManifest

_VENDOR_KINDS = frozenset({"java", "java15", "java8", "java17"})
Toolchain = Literal["embedded", "vendor"]
"""Who makes the confidential image: this package, or a builder command around the vendor's toolchain."""
_SERVICE = ("image_secrets", "image_policy", "env", "helm_chart")
_POLICY = ("image_policy_namespace", "access_policy_name", "attestation_policy_name", "security_policy_name")


def refuse_unsupported(manifest: ServiceManifest | Mesh, *, toolchain: Toolchain = "embedded") -> list[Problem]:
    """A problem for each thing that the manifest asks for and that is not supported."""
    return list(_of_service(manifest, toolchain) if isinstance(manifest, ServiceManifest) else _of_mesh(manifest))


def _not_yet(*path: str, fix: str = "") -> Problem:
    return Problem(path=path, rule=f"{path[-1]} is not supported yet", fix=fix)


def _of_service(manifest: ServiceManifest, toolchain: Toolchain) -> Iterator[Problem]:
    build = manifest.build
    if build.kind in _VENDOR_KINDS and toolchain != "vendor":
        yield Problem(
            path=("build", "kind"),
            rule=f"kind {build.kind} needs the vendor's SCONE toolchain",
            fix="Set scone:builder to a command that runs it (docs/vendor-toolchain.md), or wrap a native image: "
            "kind: sconify_image.",
        )
    if build.requirements and build.kind not in {"python", *_VENDOR_KINDS}:
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
