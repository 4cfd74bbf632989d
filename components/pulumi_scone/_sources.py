"""Manifests from files or from typed arguments, read relative to the program."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulumi_scone._values import Values
from scone_policy.errors import SconeError
from scone_policy.holes import has_hole
from scone_provider.image.reference import parse_reference
from scone_provider.manifest import Mesh, ServiceManifest, load_mesh, load_service

_LIMIT = 1 << 20


def read_mesh(
    file: str | None, content: Mapping[str, Any] | None, variables: Mapping[str, str], values: Values
) -> Mesh:
    """The Meshfile, from exactly one of `file` and `content`. Raises SconeError."""
    if (file is None) == (content is None):
        raise SconeError("give either mesh_file or mesh", fix="mesh_file is a path, mesh the same content in Python")
    if file is not None:
        return load_mesh(_text(file), file=file, variables=variables)
    return load_mesh(values.hide(content), file="<mesh>", variables=variables)


def read_manifest(
    file: str | None, content: Mapping[str, Any] | None, variables: Mapping[str, str], values: Values
) -> tuple[ServiceManifest, str]:
    """A service manifest and the folder that its `copy` is relative to, from exactly one of `file` and `content`."""
    if (file is None) == (content is None):
        raise SconeError(
            "give either manifest_file or manifest", fix="manifest_file is a path, manifest the same content in Python"
        )
    if file is not None:
        return load_service(_text(file), file=file, variables=variables), str(Path(file).parent)
    name = str((content or {}).get("build", {}).get("name", ""))
    return load_service(values.hide(content), file=f"<manifest {name}>", variables=variables), "."


def identity_of(to: str) -> str:
    """What names an image in key derivation: the repository path of `build.to` (docs/image-format.md, Keys)."""
    return parse_reference(to).repository


def hidden_identity(to: str, values: Values) -> str:
    """`identity_of`, also for a reference that is not known yet: then a hole."""
    return values.later(to, identity_of) if has_hole(to) else identity_of(to)


def _text(file: str) -> str:
    path = Path(file)
    try:
        if path.stat().st_size > _LIMIT:
            raise SconeError(f"the file is larger than {_LIMIT} bytes", where=file, fix="is it the right file?")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SconeError(
            f"the file cannot be read: {error.strerror}",
            where=file,
            fix="paths are relative to the folder of the Pulumi program",
        ) from None
    except UnicodeDecodeError:
        raise SconeError("the file is not UTF-8 text", where=file, fix="is it the right file?") from None
