"""Replaces `{{name}}` in what a Meshfile and a service manifest say of images, paths and places, before it is used.

So that an image, its policy and its chart are made of the same values. What is filled is judged again, by the rules of
its document. Variables in values of `env`, in secrets, texts and `helm_extra_values` are replaced where those are used.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scone_policy.syntax.yaml_source import Document, Path
from scone_provider.derive.variables import Variables, mesh_variables
from scone_provider.manifest.fields import TaggedReference
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.load import judged
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import ServiceManifest

_LATER = ("env", "helm_extra_values")
_NO_KEYS: Mapping[str, str] = {}
_REFERENCE: TypeAdapter[str] = TypeAdapter(TaggedReference)


def filled_mesh(mesh: Mesh, *, release: str | None) -> Mesh:
    """The Meshfile with the variables of its sections global and helm in it, and `{{release}}` where that is known.

    Raises ManifestError (ManifestErrors) for one without a value, and for what breaks a rule then.
    """
    findings = Findings()
    variables = mesh_variables(mesh, release=release, cas_keys=_NO_KEYS, findings=findings)
    document = _filled(mesh.document, variables, lambda path: path[0] not in _LATER)
    findings.stop()
    if document is None:
        return mesh
    found = judged(Mesh, document)
    found.remember_asked(mesh.asked | variables.used)
    return found


def destination_filler(mesh: Mesh, *, release: str) -> Callable[[ServiceManifest], ServiceManifest]:
    """What fills `build.to` of a manifest as `image` of the Meshfile is: both name the same image. Errors as above.

    Which service it belongs to is told by that name alone, so no variable of a single service can stand in it.
    """
    variables = mesh_variables(mesh, release=release, cas_keys=_NO_KEYS, findings=Findings())
    return lambda manifest: _with_destination(manifest, variables.anew(Findings()))


def _with_destination(manifest: ServiceManifest, variables: Variables) -> ServiceManifest:
    document = _filled(manifest.document, variables, lambda path: path == ("build", "to"))
    variables.findings.stop()
    if document is None:
        return manifest
    try:
        to = _REFERENCE.validate_python(document.data["build"]["to"])  # type: ignore[index]
    except ValidationError:
        return judged(ServiceManifest, document, toolchain="vendor")  # raises, in its words
    found = manifest.model_copy(update={"build": manifest.build.model_copy(update={"to": to})})
    found.remember_filled(document)
    found.remember_asked(frozenset(variables.used))
    return found


def filled_service(manifest: ServiceManifest, variables: Variables) -> ServiceManifest:
    """The manifest with all keys of `build`, and the paths of `injection_files`, filled.

    A variable without a value is noted among the findings. Raises ManifestError for what breaks a rule then.
    """
    document = _filled(manifest.document, variables, _is_built)
    if document is None or variables.findings:
        return manifest  # what lacks a value is not judged: it would be told to be empty, too
    # Whether its kind can be built was judged before, with the toolchain that builds it.
    whole = judged(ServiceManifest, document, toolchain="vendor")
    found = manifest.model_copy(update={"build": whole.build, "injection_files": whole.injection_files})
    found.remember_filled(document)
    found.remember_asked(frozenset(variables.used))
    return found


def _is_built(path: Path) -> bool:
    return path[0] == "build" or (path[0] == "injection_files" and path[-1] != "content")


def _filled(document: Document, variables: Variables, wanted: Callable[[Path], bool]) -> Document | None:
    """The document with the texts at the wanted paths filled, None when no variable stands in them."""
    changed = []
    moved: dict[Path, Path] = {(): ()}

    def fill(text: str, path: Path) -> str:
        if "{{" not in text or not path or not wanted(path):
            return text
        changed.append(path)
        return variables.fill(text, where=document.where(_named(document.data, path)))

    def walk(tree: object, path: Path, new: Path) -> object:
        if isinstance(tree, str):
            return fill(tree, path)
        if isinstance(tree, Mapping):
            keys = {key: fill(key, (*path, key)) if isinstance(key, str) else key for key in tree}
            moved.update({(*path, key): (*new, name) for key, name in keys.items()})
            return {keys[key]: walk(value, (*path, key), (*new, keys[key])) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            moved.update({(*path, number): (*new, number) for number in range(len(tree))})
            return [walk(value, (*path, number), (*new, number)) for number, value in enumerate(tree)]
        return tree

    data = walk(document.data, (), ())
    if not changed:
        return None
    lines = {moved.get(path, path): line for path, line in document.lines.items()}
    return Document(data=data, file=document.file, lines=lines)


def _named(data: object, path: Path) -> Path:
    """The path with items of lists by their names, as other errors have it."""
    found: list[str | int] = []
    node: Any = data
    for step in path:
        node = node[step]
        name = node.get("name") if isinstance(step, int) and isinstance(node, Mapping) else None
        found.append(name if isinstance(name, str) else step)
    return tuple(found)
