"""Other spellings that the field uses for the same thing: where what a model names stands in the document.

A Meshfile's flat `env` is the section `global`, `build.host_path` is `build.host_paths`.
"""

from collections.abc import Mapping

from scone_policy.syntax.yaml_source import Document, Path
from scone_provider.manifest.mesh import EVERYONE, is_flat
from scone_provider.manifest.service import HOST_PATH

_HOST_PATHS: Path = ("build", "host_paths")


def moved_parts(document: Document) -> dict[Path, tuple[Document, Path]]:
    """Path in the model → the document and the path at which that part was written, for those that differ."""
    data = document.data
    if not isinstance(data, Mapping):
        return {}
    found: dict[Path, tuple[Document, Path]] = {}
    env, build = data.get("env"), data.get("build")
    for item in env if isinstance(env, list | tuple) else ():
        if is_flat(item):
            found["env", EVERYONE, "env", str(item["name"])] = (document, ("env", str(item["name"])))
    if isinstance(build, Mapping) and HOST_PATH in build and "host_paths" not in build:
        found[_HOST_PATHS] = (document, ("build", HOST_PATH))
    return found


def as_written(document: Document, path: Path) -> Path:
    """The path of a part of the model, as the document has it."""
    moved = moved_parts(document)
    for length in range(len(path), 0, -1):
        if path[:length] in moved:
            return (*moved[path[:length]][1], *path[length:])
    return path
