"""Judges what is in order of a manifest that is not: so that broken references are told together with broken shapes."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from scone_policy.syntax.holes import Holes
from scone_policy.syntax.problems import Problem, problems_of
from scone_policy.syntax.yaml_source import Document, Path
from scone_provider.manifest.mesh import Mesh, name_of_image
from scone_provider.manifest.provenance import Manifest
from scone_provider.manifest.rules import PATH_KEYS
from scone_provider.manifest.service import ServiceManifest
from scone_provider.manifest.spellings import as_written

_Kind = TypeVar("_Kind", bound=Manifest)
_ROUNDS = 6
_WORDS: Mapping[Path, object] = {
    ("apiVersion",): "scone/5.8",
    ("build", "kind"): "python",
    ("environment",): {},
    ("env",): [],
    ("policy",): {"namespace": "x"},
}
"""Keys that take no value that is not known yet, and what stands for a wrong or a missing one."""
_MISSING = "the required key is missing"
_UNKNOWN = "unknown key"


class Remainder:
    """A manifest without its broken parts, and which parts those are."""

    def __init__(self, manifest: Manifest, broken: frozenset[Path]) -> None:
        self.manifest, self._broken = manifest, broken

    def tells(self, problem: Problem) -> bool:
        """Whether a problem of the remainder is one of the whole: nothing that it rests on was left out."""
        sections = {path[0] for path in self._broken if path}
        path = problem.path
        if path[:1] == ("cas",) and "cas" in sections:
            return False  # a role may be filled by what is broken
        if path[:1] in {("env",), ("services",)} and "services" in sections:
            return False  # and a service be meant that is
        if path[:2] in self._broken or path in self._broken:
            return False
        # A relative path is below `pwd`.
        return not (path[:1] == ("build",) and path[1] in PATH_KEYS and ("build", "pwd") in self._broken)


def remainder(model: type[_Kind], document: Document, problems: Sequence[Problem]) -> Remainder | None:
    """What is left when everything that `problems` name is not known; None where that is no whole manifest."""
    holes = Holes()
    data: Any = copy.deepcopy(_plain(document.data))
    broken: set[Path] = set()
    for _ in range(_ROUNDS):
        for problem in problems:
            path = as_written(document, problem.path)
            if not path or not _mend(data, path, problem, holes, again=problem.path in broken):
                return None
            broken.add(problem.path)
        try:
            found = model.model_validate(data)
        except ValidationError as error:
            problems = problems_of(error)
        else:
            assert isinstance(found, ServiceManifest | Mesh)
            found.remember(Document(data=data, file=document.file, lines=document.lines))
            return Remainder(found, frozenset(broken))
    return None


def _mend(data: Any, path: Path, problem: Problem, holes: Holes, *, again: bool) -> bool:  # noqa: ANN401 - JSON-like
    """Put something in order in the place of what is broken, or take it away; False where neither can be done."""
    node, last = data, path[-1]
    for step in path[:-1]:
        node = _below(node, step)
    if isinstance(node, list):
        place = _index(node, last)
        if place is None:
            return False
        del node[place]
        return True
    if not isinstance(node, dict):
        return False
    if problem.rule == _UNKNOWN or (again and problem.rule != _MISSING):
        return node.pop(last, None) is not None
    node[last] = copy.copy(_WORDS[path]) if path in _WORDS else holes.punch(None)
    return path != ("kind",)


def _below(node: object, step: str | int) -> object:
    if isinstance(node, list):
        place = _index(node, step)
        return None if place is None else node[place]
    return node.get(step) if isinstance(node, Mapping) else None


def _index(items: list[Any], step: str | int) -> int | None:
    """The position of an item of a list by its number, or by what names it."""
    if isinstance(step, int):
        return step if step < len(items) else None
    for index, item in enumerate(items):
        named = (item.get("name"), item.get("path"), item.get("service")) if isinstance(item, Mapping) else (item,)
        if step in named or (isinstance(item, Mapping) and name_of_image(str(item.get("image"))) == step):
            return index
    return 0 if len(items) == 1 else None


def _plain(tree: object) -> object:
    """The same tree of dicts and lists alone, which may be changed."""
    if isinstance(tree, Mapping):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    return tree
