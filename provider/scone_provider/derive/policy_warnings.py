"""What a preview warns about, or refuses, because a policy template says it: Meshfile and manifest do not show it."""

from collections.abc import Iterator, Mapping
from typing import Any

from scone_policy.model.security import ALL_ADVISORIES, DEBUG_MODE
from scone_policy.syntax.yaml_source import Document, Path
from scone_provider.derive.chart import is_simulated
from scone_provider.derive.container import asked
from scone_provider.derive.facts import ImageFacts
from scone_provider.derive.mesh_warnings import KUBERNETES_FILES
from scone_provider.derive.variables import Variables
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import ServiceManifest

_ATTESTATION = ("security", "attestation")


def policy_warnings(
    mesh: Mesh,
    manifest: ServiceManifest,
    policy: Mapping[str, Any],
    *,
    template: Document | None,
    image: ImageFacts,
    variables: Variables,
) -> Iterator[str]:
    """A sentence for each risk in a service's final policy that its template takes.

    Notes a finding for an injection file that the launcher of software mode could not fill in.
    """
    if template is None:
        return
    service = variables.service
    security = policy.get("security")
    attestation = security.get("attestation") if isinstance(security, Mapping) else None
    if isinstance(attestation, Mapping):
        for key, risk in _risks(mesh, attestation):
            yield f"{risk} of the service {service} ({asked(template, (*_ATTESTATION, key))})"
    container = policy.get("images", {}).get(service, {})
    for path, file in container.get("injection_files", {}).items():
        at: Path = ("images", service, "injection_files", path)
        if "content" not in file and image.key is None:
            variables.findings.add(
                f"the injection file {path} has no content, and no file of the image is filled in by the launcher",
                where=asked(template, at),
                fix="Give its content.",
            )
        if path in KUBERNETES_FILES and path not in manifest.injection_files and is_simulated(mesh):
            yield (
                f"{path} belongs to Kubernetes: the software mode does not inject it into the service {service} "
                f"({asked(template, at)})"
            )
    named = {volume.name for volume in manifest.build.volumes}
    for path, mount in container.get("volumes", {}).items():
        if mount["name"] not in named and is_simulated(mesh):
            yield (
                f"the volume {mount['name']} of the service {service} is not encrypted in software mode "
                f"({asked(template, ('images', service, 'volumes', path))})"
            )


def _risks(mesh: Mesh, attestation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if attestation.get("mode") == "none":
        yield "mode", "attestation is off (mode none): whoever reaches CAS gets the secrets"
    if DEBUG_MODE in attestation.get("tolerate", {}) and DEBUG_MODE not in mesh.policy.tolerate:
        yield "tolerate", "debug-mode is tolerated: whoever runs the node can read the memory"
    everything = ALL_ADVISORIES in attestation.get("ignore_advisories", {})
    if everything and ALL_ADVISORIES not in mesh.policy.ignore_advisories:
        yield "ignore_advisories", "ignore_advisories is *, so platforms with any known vulnerability may run instances"
