"""Derives what an image is built from: the inputs of the image resource, in maps by name."""

import posixpath
from collections.abc import Mapping
from typing import Any

from scone_policy.syntax.holes import Later, at_once, has_hole
from scone_provider.derive.container import Container
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.rules import absolute
from scone_provider.manifest.service import Build, ServiceManifest

DEFAULT_BASES = {"python": "python:3.11-slim"}
"""Base image by `build.kind`, where the manifest has no `from`."""
MEASURED = ("SCONE_HEAP", "SCONE_STACK", "SCONE_ALLOW_DLOPEN")
"""Container variables that enter the measurement."""
_PATH_KEYS = ("fs_dirs", "fs_files", "plains", "plain_files", "host_paths")


def encrypted_paths(manifest: ServiceManifest) -> tuple[str, ...]:
    """Directories of the image whose content is encrypted: `dirs`; for `kind: python` also `pwd` when something is
    copied into it, unless `fs_dirs` or `plains` names it as one that is not confidential.
    """
    build = manifest.build
    found = {_absolute(path, build) for path in build.dirs}
    if build.kind == "python" and build.copy_ and build.pwd:
        pwd = posixpath.normpath(build.pwd)
        clear = {_absolute(path, build) for path in (*build.fs_dirs, *build.plains)}
        if not any(pwd == folder or pwd.startswith(f"{folder}/") for folder in clear):
            found.add(pwd)
    # One that lies in another is part of it: the launcher expects one mount for both.
    return tuple(path for path in sorted(found) if not any(path.startswith(f"{other}/") for other in found))


def image_inputs(
    manifest: ServiceManifest,
    *,
    folder: str,
    environment: Mapping[str, str],
    identity: str,
    cas_key: str | None = None,
    container: Container | None = None,
) -> dict[str, Any]:
    """What the image is built from. Texts may be holes; no variable of the mesh stands in them any more (`fill`).

    `folder`: the manifest's folder, relative to the program. `environment`: the container's `SCONE_*` variables.
    `identity`: names the image in key derivation (docs/image-format.md). `container`: what the policy lays into it, by
    default what the manifest alone says. Two entries are not for the image resource
    as they stand: `native` (`run`, `requirements`) is the native stage's, whose result takes the place of `from`, and
    `document` is what a builder of another toolchain gets. `from` is absent where nothing names a base.
    """
    build = manifest.build
    laid = container or _own(manifest)
    inputs: dict[str, Any] = {
        "name": build.name,
        "identity": identity,
        "to": build.to,
        "command": build.command,
        "folder": folder,
        "copy": dict.fromkeys(build.copy_, True),
        "dirs": dict.fromkeys(encrypted_paths(manifest), True),
        "injected": dict.fromkeys(laid.files, True),
        "environment": {name: value for name, value in environment.items() if name in MEASURED},
        "where": _places(manifest, laid),
        "document": _document(manifest, environment),
    }
    # Only what is named: an image whose manifest says nothing of it has the inputs that it always had.
    named: dict[str, object] = {
        "kind": build.kind if build.kind != "python" else None,
        "pwd": build.pwd,
        "cas_key": cas_key,
        "from": build.from_ or DEFAULT_BASES.get(build.kind),
        "native": {key: value for key in ("run", "requirements") if (value := getattr(build, key))},
        "binaries": dict.fromkeys(build.binaries, True),
        "volumes": dict.fromkeys(laid.volumes, True),
        **{key: {_absolute(path, build): True for path in getattr(build, key)} for key in _PATH_KEYS},
    }
    if build.signature is not None and build.signature.sign:
        named["signature"] = {"sign": True, **({"key": build.signature.key} if build.signature.key else {})}
    return inputs | {key: value for key, value in named.items() if value}


def _document(manifest: ServiceManifest, environment: Mapping[str, str]) -> dict[str, Any]:
    """The part of a manifest that says how to build, with the container's variables; no secret is part of that."""
    return {
        "apiVersion": manifest.apiVersion,
        "kind": manifest.kind,
        "build": manifest.build.model_dump(mode="json", by_alias=True, exclude_defaults=True, warnings=False),
        "environment": {"local": [{"name": name, "value": environment[name]} for name in sorted(environment)]},
    }


def _absolute(path: str, build: Build) -> str:
    return absolute(path, build.pwd)


def _own(manifest: ServiceManifest) -> Container:
    """What the manifest alone lays into the container: for an image outside of a mesh, which has no policy yet."""
    volumes = enumerate(manifest.build.volumes)
    return Container(
        files={path: manifest.where("injection_files", path) for path in manifest.injection_files},
        volumes={
            posixpath.normpath(volume.path): manifest.where("build", "volumes", number)
            for number, volume in volumes
            if volume.path
        },
    )


def _places(manifest: ServiceManifest, laid: Container) -> dict[str, str]:
    """Where the manifest names each key of an image, and each item of it: `Places` of `scone_provider.image`."""
    build = manifest.build
    found = {
        key: manifest.where("build", key) for key in ("kind", "from", "command", "pwd", "requirements", "signature")
    }
    for key in ("copy", "dirs", "binaries", *_PATH_KEYS):
        items = getattr(build, "copy_" if key == "copy" else key)
        for index, item in enumerate(items):
            named = item if key in {"copy", "binaries"} else _absolute(item, build)
            found[f"{key} {named}"] = manifest.where("build", key, index)
        if items:
            found[key] = manifest.where("build", key)
    found |= {f"volumes {path}": where for path, where in laid.volumes.items()}
    found |= {f"injection_files {path}": where for path, where in laid.files.items()}
    return found


def destination(mesh: Mesh, manifest: ServiceManifest, *, later: Later = at_once) -> str:
    """Where an image is pushed: `build.to`, or its last part below `repo.destination`. Its keys stay those of `to`."""
    to = manifest.build.to
    if mesh.repo is None or not mesh.repo.push or not mesh.repo.destination:
        return to
    last = to.rpartition("/")[2]
    if has_hole(mesh.repo.destination) or has_hole(last):
        return later(f"{mesh.repo.destination}\n{last}", _below)  # neither holds a line break
    return _below(f"{mesh.repo.destination}\n{last}")


def _below(both: str) -> str:
    folder, _, to = both.partition("\n")
    return f"{folder.rstrip('/')}/{to.rpartition('/')[2]}"
