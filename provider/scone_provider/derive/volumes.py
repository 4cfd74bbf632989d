"""The volumes of a service: what its policy says about them, and what the chart mounts."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scone_policy.syntax.holes import has_hole
from scone_provider.derive.variables import Variables
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.mesh import CHARTS, EVERYONE, Mesh
from scone_provider.manifest.service import ServiceManifest

_SIZED = re.compile("volume_(?P<volume>.+)_size")
_SIZE = re.compile(r"[1-9][0-9]{0,8}(Ki|Mi|Gi|Ti|k|M|G|T)?")
_SEGMENT = re.compile(r"[A-Za-z0-9_\-.~]{1,128}")


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One volume: its name, its path in the container, its entry in the session, its size where it shall be kept."""

    name: str
    path: str
    definition: Mapping[str, Any] = field(default_factory=dict)
    size: str | None = None

    @property
    def chart(self) -> dict[str, str]:
        """What the chart needs to mount it."""
        return {"path": self.path, **({"size": self.size} if self.size else {})}


def volumes_of(manifest: ServiceManifest, variables: Variables) -> Sequence[Volume]:
    """The manifest's volumes, by name. Notes a finding for one that Kubernetes or CAS could not use.

    The variable `volume_<name>_size` asks for one that outlives its pod (a claim of that size); without it a volume
    lives as long as its pod.
    """
    found: dict[str, Volume] = {}
    for number, entry in enumerate(manifest.build.volumes):
        where = manifest.where("build", "volumes", number)
        name, path = entry.name or "", entry.path or ""
        path = posixpath.normpath(variables.fill(path, where=where)) if path else path
        if not _SEGMENT.fullmatch(name) or not path.startswith("/"):
            variables.findings.add(
                "a volume needs a name and an absolute path", where=where, fix="Write {name: data, path: /data}."
            )
        definition = {
            key: _filled(value, variables, where)
            for key, value in (("export", entry.export), ("import", entry.import_))
            if value
        }
        found[name] = Volume(name=name, path=path, definition=definition, size=size_of(name, variables))
    return [found[name] for name in sorted(found)]


def check_sizes(mesh: Mesh, volumes: Mapping[str, Sequence[Volume]], findings: Findings) -> None:
    """Notes a finding for each `volume_<name>_size` whose volume no service that could see it has (by service)."""
    mounted = {service: {volume.name for volume in some} for service, some in volumes.items()}
    for section, given in mesh.env.items():
        is_shared = section in (EVERYONE, CHARTS)
        known = set().union(*mounted.values()) if is_shared else mounted.get(section, set())
        for variable in given.env:
            match = _SIZED.fullmatch(variable)
            if match is None or match["volume"] in known:
                continue
            whose = "no service" if is_shared else f"not the service {section}"
            names = ", ".join(sorted(name for name in known if name))
            findings.add(
                f"{variable} asks for room for the volume {match['volume']}, which {whose} has",
                where=mesh.where("env", section, "env", variable),
                fix=f"Volumes here are {names}." if names else "Name it in build.volumes of the manifest.",
            )


def size_of(name: str, variables: Variables) -> str | None:
    """The size that the variable `volume_<name>_size` asks for. Notes a finding for one that Kubernetes cannot read."""
    value = variables.get(f"volume_{name}_size")
    if value is None or not value.text:
        return None
    if not has_hole(value.text) and not _SIZE.fullmatch(value.text):
        variables.findings.add(
            "the size of a volume is written like 512Mi or 10Gi",
            where=value.where,
            fix="Write digits and Mi or Gi.",
        )
    return value.text


def _filled(tree: Any, variables: Variables, where: str) -> Any:  # noqa: ANN401 - JSON-like
    if isinstance(tree, str):
        return variables.fill(tree, where=where)
    if isinstance(tree, Mapping):
        return {key: _filled(value, variables, where) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_filled(value, variables, where) for value in tree]
    return tree
