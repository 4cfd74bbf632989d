"""Loads a service manifest or a Meshfile from YAML text or from the same content in Python."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from scone_policy.problems import problems_of
from scone_policy.source import Document
from scone_policy.suggest import with_suggestions
from scone_provider.manifest.mesh import Mesh, mesh_problems
from scone_provider.manifest.origin import Manifest
from scone_provider.manifest.problems import stop
from scone_provider.manifest.service import ServiceManifest
from scone_provider.manifest.unsupported import Toolchain, refuse_unsupported
from scone_provider.manifest.variables import read

_API_VERSION = "scone/5.8"
_Kind = TypeVar("_Kind", bound=Manifest)
_NO_VARIABLES: Mapping[str, str] = {}


def load_service(
    source: str | Mapping[str, Any],
    *,
    file: str,
    variables: Mapping[str, str] = _NO_VARIABLES,
    toolchain: Toolchain = "embedded",
) -> ServiceManifest:
    """The service manifest in YAML text, or in a map with the same keys (there `apiVersion` and `kind` may be absent).

    `file` names the source in errors; `toolchain` is who builds the image: some kinds only the vendor can.
    Raises ManifestError (ManifestErrors for several) with file, line and path.
    """
    return _load(ServiceManifest, source, kind="genservice", file=file, variables=variables, toolchain=toolchain)


def load_mesh(source: str | Mapping[str, Any], *, file: str, variables: Mapping[str, str] = _NO_VARIABLES) -> Mesh:
    """The Meshfile in YAML text, or in a map with the same keys. Parameters and errors as for `load_service`."""
    return _load(Mesh, source, kind="mesh", file=file, variables=variables)


def _load(
    model: type[_Kind],
    source: str | Mapping[str, Any],
    *,
    kind: str,
    file: str,
    variables: Mapping[str, str],
    toolchain: Toolchain = "embedded",
) -> _Kind:
    if isinstance(source, str):
        document, missing = read(source, file=file, variables=variables)
        stop(missing, document)
        data = document.data
    else:
        data = {"apiVersion": _API_VERSION, "kind": kind, **source}
        document = Document(data=data, file=file)
    try:
        manifest = model.model_validate(data)
    except ValidationError as error:
        problems = with_suggestions(problems_of(error), model)
    else:
        assert isinstance(manifest, ServiceManifest | Mesh)
        problems = mesh_problems(manifest) if isinstance(manifest, Mesh) else []
        problems += refuse_unsupported(manifest, toolchain=toolchain)
        manifest.remember(document)
        if not problems:
            return manifest
    stop(problems, document)
    raise AssertionError("a model was refused without a problem")
