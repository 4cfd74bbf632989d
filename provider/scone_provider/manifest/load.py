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
from scone_provider.manifest.rules import service_problems
from scone_provider.manifest.service import ServiceManifest
from scone_provider.manifest.unsupported import Toolchain, refuse_unsupported
from scone_provider.manifest.variables import IN_PROGRAM, read

_API_VERSION = "scone/5.8"
_Kind = TypeVar("_Kind", bound=Manifest)
_NO_VARIABLES: Mapping[str, str] = {}


def load_service(
    source: str | Mapping[str, Any],
    *,
    file: str,
    variables: Mapping[str, str] = _NO_VARIABLES,
    toolchain: Toolchain = "embedded",
    hint: str = IN_PROGRAM,
) -> ServiceManifest:
    """The service manifest in YAML text, or in a map with the same keys (there `apiVersion` and `kind` may be absent).

    `file` names the source in errors; `toolchain` is who builds the image: some kinds only the vendor can; `hint` says
    how a variable is given. Raises ManifestError (ManifestErrors for several) with file, line and path.
    """
    document = _document(source, kind="genservice", file=file, variables=variables, hint=hint)
    return judged(ServiceManifest, document, toolchain=toolchain)


def load_mesh(
    source: str | Mapping[str, Any],
    *,
    file: str,
    variables: Mapping[str, str] = _NO_VARIABLES,
    hint: str = IN_PROGRAM,
) -> Mesh:
    """The Meshfile in YAML text, or in a map with the same keys. Parameters and errors as for `load_service`."""
    return judged(Mesh, _document(source, kind="mesh", file=file, variables=variables, hint=hint))


def judged(model: type[_Kind], document: Document, *, toolchain: Toolchain = "embedded") -> _Kind:
    """The manifest in a document whose `$NAME` are replaced. Errors as for `load_service`."""
    try:
        manifest = model.model_validate(document.data)
    except ValidationError as error:
        problems = with_suggestions(problems_of(error), model)
    else:
        assert isinstance(manifest, ServiceManifest | Mesh)
        problems = mesh_problems(manifest) if isinstance(manifest, Mesh) else service_problems(manifest)
        problems += refuse_unsupported(manifest, toolchain=toolchain)
        manifest.remember(document)
        if not problems:
            return manifest
    stop(problems, document)
    raise AssertionError("a model was refused without a problem")


def _document(
    source: str | Mapping[str, Any], *, kind: str, file: str, variables: Mapping[str, str], hint: str
) -> Document:
    if not isinstance(source, str):
        return Document(data={"apiVersion": _API_VERSION, "kind": kind, **source}, file=file)
    document, missing = read(source, file=file, variables=variables, hint=hint)
    stop(missing, document)
    return document
