"""Reads the Helm charts that a Meshfile names beside its services; their paths are relative to the Meshfile."""

import os
from pathlib import Path, PurePosixPath

from scone_provider.derive.pipeline import folder_of
from scone_provider.errors import ManifestError
from scone_provider.file_errors import file_errors
from scone_provider.manifest import Mesh

_MOST_FILES = 512
_LARGEST = 1 << 20


def own_charts(mesh: Mesh) -> dict[str, dict[str, bytes]]:
    """Service → files of its own Helm chart, by path in the chart. Raises ManifestError."""
    return {
        service: _chart(folder_of(mesh) / entry.helm_chart, where=mesh.where("services", service, "helm_chart"))
        for service, entry in mesh.services.items()
        if entry.helm_chart
    }


def _chart(folder: Path, *, where: str) -> dict[str, bytes]:
    with file_errors(f"the chart {folder} cannot be read", where=where, kind=ManifestError):
        return _chart_files(folder, where)


def _chart_files(folder: Path, where: str) -> dict[str, bytes]:
    if not (folder / "Chart.yaml").is_file():
        raise ManifestError(f"{folder} is no Helm chart: it has no Chart.yaml", where=where, fix="name its folder")
    found: dict[str, bytes] = {}
    for path, folders, files in os.walk(folder, onerror=_raise):
        folders.sort()
        for file in sorted(files):
            source = Path(path) / file
            if source.is_symlink() or source.stat().st_size > _LARGEST or len(found) >= _MOST_FILES:
                raise ManifestError(
                    f"{source} cannot be taken into the chart: a link, more than 1 MiB, or one of more than "
                    f"{_MOST_FILES} files",
                    where=where,
                )
            found[PurePosixPath(source.relative_to(folder)).as_posix()] = source.read_bytes()
    return found


def _raise(problem: OSError) -> None:
    raise problem  # or os.walk passes over a folder that it cannot read
