"""The Helm chart that is shipped in the package, and how it gets into a project.

`pulumi_kubernetes` compares `chart` as a string and looks at a local chart's version only: so the chart has a path
relative to the project and a version that names its templates (docs/architecture.md, The chart).
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

from scone_provider.errors import DeployError
from scone_provider.file_errors import file_errors

CHART_FOLDER = ".pulumi-scone/chart"
"""Where the chart stands in a project, relative to it; git-ignored."""


Charts = Mapping[str, Mapping[str, bytes]]
"""Own charts of services: Kubernetes name → path in the chart → content."""
_NO_CHARTS: Charts = {}
_SAME_OBJECTS: Mapping[str, str] = {"7448ff3d14a4": "689d4b27a5c7"}
"""Digest of templates → that of earlier ones which make the same objects of whatever the earlier ones made any of.

They keep the earlier version: a release that stands has nothing to change (docs/adr/023-text-in-the-chart.md).
"""
_NAME = re.compile(rb"^name[ \t]*:.*$", re.MULTILINE)


def chart_files(own: Charts = _NO_CHARTS) -> dict[str, bytes]:
    """The packaged chart: relative path → content, with the version completed by a digest of all templates.

    Each of `own` becomes a sub-chart that is named like its service, which is where Helm looks for its values.
    """
    files = dict(_walk(resources.files(__package__) / "template", ""))
    for service, content in own.items():
        for path, data in content.items():
            files[f"charts/{service}/{path}"] = data if path != "Chart.yaml" else _renamed(data, service)
    digest = hashlib.sha256()
    for path, data in sorted(files.items()):
        digest.update(f"{path}\0{len(data)}\0".encode() + data)
    told = digest.hexdigest()[:12]
    lines = files["Chart.yaml"].decode().splitlines()
    lines = [f"{line}+{_SAME_OBJECTS.get(told, told)}" if line.startswith("version: ") else line for line in lines]
    return files | {"Chart.yaml": ("\n".join(lines) + "\n").encode()}


def lay_out(project: Path, own: Charts = _NO_CHARTS, release: str = "") -> str:
    """Write the chart into the project's folder and return its path relative to it.

    With services' `own` charts it is the chart of one `release`, and stands apart. Files that are right already are
    left alone, others are replaced atomically, strangers are removed: two programs that run at once both find a whole
    chart. Raises DeployError.
    """
    place = f"{CHART_FOLDER}-{release}" if own else CHART_FOLDER
    with file_errors("the chart cannot be written", where=project / place, kind=DeployError):
        _lay_out(project / place, chart_files(own))
    return f"./{place}"


def chart_text(folder: Path) -> str:
    """`Chart.yaml` of a chart that was laid out. Raises DeployError."""
    with file_errors("the chart cannot be read", where=folder, kind=DeployError):
        return (folder / "Chart.yaml").read_text(encoding="utf-8")


def _lay_out(folder: Path, wanted: Mapping[str, bytes]) -> None:
    for path, content in wanted.items():
        target = folder / path
        if target.is_file() and target.read_bytes() == content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(target)
    for found in sorted(folder.rglob("*")):
        if (
            found.is_file()
            and found.relative_to(folder).as_posix() not in wanted
            and not found.name.startswith(".new-")
        ):
            found.unlink(missing_ok=True)
    ignore = folder.parent / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def _renamed(chart: bytes, service: str) -> bytes:
    plain = yaml.safe_load(service) == service  # `on` and `null` are names, too
    line = (f"name: {service}" if plain else f'name: "{service}"').encode()
    return _NAME.sub(line, chart, count=1) if _NAME.search(chart) else line + b"\n" + chart


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for item in folder.iterdir():
        path = f"{prefix}{item.name}"
        if item.is_dir():
            found += _walk(item, f"{path}/")
        else:
            found.append((path, item.read_bytes()))
    return found
