"""Replaces `$NAME` and `${NAME}`, as a shell would, in manifests that are YAML text.

A value always stays inside of the scalar in which its variable stands: it is put there after the YAML was read, so
that no quote, colon or line break in it can add a key. `$$` (and so `$$SCONE::x$$`), `$#`, `$1` are no variables and
stay. `{{name}}` is kept for the mesh, with or without quotes around it. Variables in comments need no value.
"""

import re
from collections.abc import Callable, Mapping

from scone_policy.problems import Problem
from scone_policy.source import Document, Path, load
from scone_provider.errors import ManifestError

_MARK = "\ue000"
_VARIABLE = re.compile(
    r"(?P<escaped>\$\$(?:SCONE::.*?\$\$)?)|\$(?:(?P<plain>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\})"
    r"|\{\{[ \t]*(?P<mesh>[A-Za-z_][A-Za-z0-9_\-]*)[ \t]*\}\}"
)
_TOKEN = re.compile(f"{_MARK}([0-9]+){_MARK}")


def read(text: str, *, file: str, variables: Mapping[str, str]) -> tuple[Document, list[Problem]]:
    """The document with its variables replaced, and a problem for each variable that has no value.

    Raises ManifestError when the text is no YAML.
    """
    if _MARK in text:
        raise ManifestError("the text holds U+E000, a character for private use", where=file, fix="Remove it.")
    found: list[tuple[str, str]] = []

    def mark(match: re.Match[str]) -> str:
        if match["escaped"] is not None:
            return match[0]
        name = match["plain"] or match["braced"]
        found.append(("variable", name) if name else ("mesh", match["mesh"]))
        return f"{_MARK}{len(found) - 1}{_MARK}"

    document = load(_VARIABLE.sub(mark, text), file=file, error=ManifestError)
    problems: list[Problem] = []

    def fill(value: str, path: Path) -> str:
        def one(match: re.Match[str]) -> str:
            sort, name = found[int(match[1])]
            if sort == "mesh":
                return "{{" + name + "}}"
            if name not in variables:
                problems.append(_missing(path, name))
            return variables.get(name, "")

        return _TOKEN.sub(one, value) if _MARK in value else value

    lines = {
        tuple(fill(step, ()) if isinstance(step, str) else step for step in at): line
        for at, line in document.lines.items()
    }
    problems.clear()
    data = _walk(document.data, (), fill)
    return Document(data=data, file=file, lines=lines), problems


def _missing(path: Path, name: str) -> Problem:
    return Problem(
        path=path,
        rule=f"the variable ${name} has no value",
        fix=f'Give it: variables={{"{name}": …}}.',
    )


def _walk(tree: object, path: Path, fill: Callable[[str, Path], str]) -> object:
    if isinstance(tree, str):
        return fill(tree, path) if _MARK in tree else tree
    if isinstance(tree, Mapping):
        return {fill(key, path): _walk(value, (*path, key), fill) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_walk(value, (*path, number), fill) for number, value in enumerate(tree)]
    return tree
