"""What a service's final policy lays into its container: the image has to be made for it, and the chart to mount it."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.yaml_source import Document, Path
from scone_provider.derive.variables import Variables
from scone_provider.derive.volumes import Volume, size_of
from scone_provider.manifest.service import ServiceManifest


@dataclass(frozen=True, kw_only=True)
class Container:
    """Files that CAS injects and volumes that are mounted: path → the place that asks for it."""

    files: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)


def container_of(
    policy: Mapping[str, Any], manifest: ServiceManifest, *, template: Document | None, variables: Variables
) -> tuple[Container, Sequence[Volume]]:
    """The container of a derived policy's service, and its volumes as the chart mounts them, by name.

    Notes a finding for a path that is not known yet, and for a volume that is mounted twice.
    """
    service = variables.service
    image = policy.get("images", {}).get(service, {})
    files, mounts = image.get("injection_files", {}), image.get("volumes", {})
    own = {
        posixpath.normpath(variables.fill(volume.path, where=manifest.where("build", "volumes", number))): number
        for number, volume in enumerate(manifest.build.volumes)
        if volume.path
    }
    container = Container(
        files={
            path: manifest.where("injection_files", path)
            if path in manifest.injection_files
            else asked(template, ("images", service, "injection_files", path))
            for path in files
        },
        volumes={
            path: manifest.where("build", "volumes", own[path])
            if path in own
            else asked(template, ("images", service, "volumes", path))
            for path in mounts
        },
    )
    for path, where in {**container.files, **container.volumes}.items():
        if has_hole(path):
            variables.findings.add(
                "an Output cannot stand in a path of the image",
                where=where,
                fix="Write the path out, or give it as a variable with a plain value.",
            )
    found: dict[str, Volume] = {}
    for path, mount in sorted(mounts.items(), key=lambda one: (one[0] not in own, one[0])):
        name = mount["name"]
        if name in found:
            variables.findings.add(
                f"the volume {name} of the service {service} is mounted twice, at {found[name].path} and at {path}",
                where=container.volumes[path],
                fix="Mount it once, or give a second volume.",
            )
        found[name] = Volume(name=name, path=path, size=size_of(name, variables))
    return container, [found[name] for name in sorted(found)]


def asked(template: Document | None, path: Path) -> str:
    """Where a policy template says this."""
    return "" if template is None else template.where(path)
