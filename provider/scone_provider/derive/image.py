"""Derives what an image is built from: the inputs of the image resource, in maps by name."""

import posixpath
from collections.abc import Mapping
from typing import Any

from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import ServiceManifest

DEFAULT_BASES = {"python": "python:3.11-slim"}
"""Base image by `build.kind`, where the manifest has no `from`."""
MEASURED = ("SCONE_HEAP", "SCONE_STACK", "SCONE_ALLOW_DLOPEN")
"""Container variables that enter the measurement."""


def encrypted_paths(manifest: ServiceManifest) -> tuple[str, ...]:
    """Directories of the image whose content is encrypted: `dirs`, and `pwd` when something is copied into it."""
    build = manifest.build
    found = set(build.dirs)
    if build.copy_ and build.pwd:
        found.add(build.pwd)
    return tuple(sorted(posixpath.normpath(path) for path in found))


def image_inputs(
    manifest: ServiceManifest, *, folder: str, environment: Mapping[str, str], identity: str, cas_key: str | None = None
) -> dict[str, Any]:
    """What the image is built from. Texts may be holes.

    `folder`: the manifest's folder, relative to the program. `environment`: the container's `SCONE_*` variables.
    `identity`: names the image in key derivation (docs/image-format.md).
    """
    build = manifest.build
    inputs: dict[str, Any] = {
        "name": build.name,
        "identity": identity,
        "to": build.to,
        "from": build.from_ or DEFAULT_BASES[build.kind],
        "command": build.command,
        "folder": folder,
        "copy": dict.fromkeys(build.copy_, True),
        "dirs": dict.fromkeys(encrypted_paths(manifest), True),
        "injected": dict.fromkeys(manifest.injection_files, True),
        "environment": {name: value for name, value in environment.items() if name in MEASURED},
    }
    if build.pwd:
        inputs["pwd"] = build.pwd
    if cas_key:
        inputs["cas_key"] = cas_key
    return inputs


def destination(mesh: Mesh, manifest: ServiceManifest) -> str:
    """Where an image is pushed: `build.to`, or its last part below `repo.destination`. Its keys stay those of `to`."""
    to = manifest.build.to
    if mesh.repo is None or not mesh.repo.push or not mesh.repo.destination:
        return to
    return f"{mesh.repo.destination.rstrip('/')}/{to.rpartition('/')[2]}"
