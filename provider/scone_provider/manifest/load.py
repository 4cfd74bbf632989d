"""Loads a service manifest or a Meshfile from YAML text or from the same content in Python."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import ValidationError

from scone_policy.syntax.problems import Problem, problems_of
from scone_policy.syntax.suggestions import with_suggestions
from scone_policy.syntax.yaml_source import Document
from scone_provider.errors import ManifestError
from scone_provider.manifest.advice import advised, placed
from scone_provider.manifest.findings import stop
from scone_provider.manifest.foreign import KINDS, foreign, foreign_text
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.mesh_rules import mesh_problems
from scone_provider.manifest.partial import remainder
from scone_provider.manifest.provenance import Manifest
from scone_provider.manifest.rules import service_problems
from scone_provider.manifest.service import ServiceManifest
from scone_provider.manifest.spellings import as_written, moved_parts
from scone_provider.manifest.unsupported import Toolchain, refuse_unsupported
from scone_provider.manifest.variables import IN_PROGRAM, read

_KIND_OF: Mapping[type[Manifest], str] = {ServiceManifest: "genservice", Mesh: "mesh"}
_API_VERSION = "scone/5.8"
_Kind = TypeVar("_Kind", bound=Manifest)
_NO_VARIABLES: Mapping[str, str] = {}
Look = Callable[[Document], None]


def _at_nothing(_document: Document) -> None:
    """What looks at a document that anybody may have."""


def load_service(
    source: str | Mapping[str, Any],
    *,
    file: str,
    variables: Mapping[str, str] = _NO_VARIABLES,
    toolchain: Toolchain = "embedded",
    hint: str = IN_PROGRAM,
    look: Look = _at_nothing,
) -> ServiceManifest:
    """The service manifest in YAML text, or in a map with the same keys (there `apiVersion` and `kind` may be absent).

    `file` names the source in errors; `toolchain` is who builds the image: some kinds only the vendor can; `hint` says
    how a variable is given; `look` sees the document before a model judges it, and may refuse it. Raises ManifestError
    (ManifestErrors for several) with file, line and path.
    """
    document, missing = _document(source, kind="genservice", file=file, variables=variables, hint=hint)
    look(document)
    return judged(ServiceManifest, document, toolchain=toolchain, missing=missing)


def load_mesh(
    source: str | Mapping[str, Any],
    *,
    file: str,
    variables: Mapping[str, str] = _NO_VARIABLES,
    hint: str = IN_PROGRAM,
    look: Look = _at_nothing,
) -> Mesh:
    """The Meshfile in YAML text, or in a map with the same keys. Parameters and errors as for `load_service`."""
    document, missing = _document(source, kind="mesh", file=file, variables=variables, hint=hint)
    look(document)
    return judged(Mesh, document, missing=missing)


def judged(
    model: type[_Kind], document: Document, *, toolchain: Toolchain = "embedded", missing: Sequence[Problem] = ()
) -> _Kind:
    """The manifest in a document whose `$NAME` are replaced. `missing`: what was found wrong with these.

    Errors as for `load_service`.
    """
    kind = document.data.get("kind") if isinstance(document.data, Mapping) else None
    other = foreign(document.data)
    if other is not None and (kind or not other.ours):
        rule = f"must be {_KIND_OF[model]} in {KINDS[_KIND_OF[model]]}" if other.ours else other.what
        raise ManifestError(rule, where=document.where((other.key,)), fix=other.fix)
    if isinstance(kind, str) and kind in KINDS and kind != _KIND_OF[model]:
        rule = f"must be {_KIND_OF[model]} in {KINDS[_KIND_OF[model]]}"
        raise ManifestError(
            rule,
            where=document.where(("kind",)),
            fix=f"This is {KINDS[kind]}: a Meshfile is given as mesh_file, service manifests as manifest_files.",
        )
    try:
        manifest = model.model_validate(document.data)
    except ValidationError as error:
        problems = placed(with_suggestions(problems_of(error), model), model)
        rest = remainder(model, document, problems)
        if rest is not None:
            told = {problem.path for problem in problems}
            more = [one for one in _broken_rules(rest.manifest, toolchain) if rest.tells(one)]
            problems += [one for one in more if one.path not in told]
    else:
        problems = _broken_rules(manifest, toolchain)
        manifest.remember(document)
        manifest.remember_moved(moved_parts(document))
        if not problems and not missing:
            return manifest
    open_at = {problem.path for problem in missing}
    problems = [*missing, *(problem for problem in problems if problem.path not in open_at)]
    written = [replace(problem, path=as_written(document, problem.path)) for problem in problems]
    stop(advised(written), document)
    raise AssertionError("a model was refused without a problem")


def _broken_rules(manifest: Manifest, toolchain: Toolchain) -> list[Problem]:
    assert isinstance(manifest, ServiceManifest | Mesh)
    problems = mesh_problems(manifest) if isinstance(manifest, Mesh) else service_problems(manifest)
    return [*problems, *refuse_unsupported(manifest, toolchain=toolchain)]


def _document(
    source: str | Mapping[str, Any], *, kind: str, file: str, variables: Mapping[str, str], hint: str
) -> tuple[Document, list[Problem]]:
    """The document, and a problem for each variable in it that has no value."""
    if not isinstance(source, str):
        return Document(data={"apiVersion": _API_VERSION, "kind": kind, **source}, file=file), []
    try:
        return read(source, file=file, variables=variables, hint=hint)
    except ManifestError as error:
        other = foreign_text(source)
        if other is None:
            raise
        raise ManifestError(other.what, where=error.where, fix=other.fix) from None
