r"""Replaces `$NAME` and `${NAME}`, as a shell would, in manifests that are YAML text.

A value always stays inside of the scalar in which its variable stands: it is put there after the YAML was read, so
that no quote, colon or line break in it can add a key. `$$` (and so `$$SCONE::x$$`), `$#`, `$1` are no variables and
stay; `\$NAME` and `\${NAME}` are the texts `$NAME` and `${NAME}`. `{{name}}` is kept for the mesh, with or without
quotes around it. Variables in comments need no value.
"""

import re
from collections.abc import Callable, Mapping

from scone_policy.holes import Holes
from scone_policy.problems import Problem
from scone_policy.source import Document, Path, load
from scone_provider.errors import ManifestError

IN_PROGRAM = 'variables={{"{name}": …}}'
"""How a program gives a variable, for errors: `hint` of `read`."""
ON_COMMAND_LINE = "--set {name}=…"
"""The same for the commands."""
MESH_NAME = r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_\-]*)[ \t]*\}\}"
"""A variable of the mesh; blanks beside its name mean nothing."""
MARK = "\ue000"
"""What stands for a variable while YAML is read; no text may hold it."""

_VARIABLE = re.compile(
    r"(?P<escaped>\$\$(?:SCONE::.*?\$\$)?)"
    r"|(?<!\\)\\(?P<literal>\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\}))"
    r"|\$(?:(?P<plain>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\})"
    rf"|(?P<mesh>{MESH_NAME})"
)
_MESH = re.compile(rf"(?P<mesh>{MESH_NAME})")
_TOKEN = re.compile(f"{MARK}([0-9]+){MARK}")


def read(
    text: str, *, file: str, variables: Mapping[str, str], hint: str = IN_PROGRAM
) -> tuple[Document, list[Problem]]:
    """The document with its variables replaced, and a problem for each variable that has no value.

    `hint` says how to give one. Raises ManifestError when the text is no YAML.
    """
    missing: list[Problem] = []
    holes = Holes()
    unknown: dict[str, str] = {}

    def meant(match: re.Match[str], path: Path) -> str:
        if match["mesh"] is not None:
            return re.sub(r"[ \t]", "", match["mesh"])
        if match["literal"] is not None:
            return match["literal"]
        name = match["plain"] or match["braced"]
        if name not in variables:
            missing.append(_missing(path, name, hint))
            # So that the rest can be judged all the same.
            return unknown.setdefault(name, holes.punch(name))
        return variables[name]

    return _read(text, file=file, pattern=_VARIABLE, meant=meant, problems=missing), missing


def read_inner(text: str) -> Document:
    """A text of a manifest that is YAML itself: its `$NAME` were replaced with the manifest's, `{{name}}` is kept.

    Raises ManifestError when it is no YAML.
    """
    return _read(text, file="", pattern=_MESH, meant=lambda match, _: re.sub(r"[ \t]", "", match[0]), problems=[])


def _read(
    text: str,
    *,
    file: str,
    pattern: re.Pattern[str],
    meant: Callable[[re.Match[str], Path], str],
    problems: list[Problem],
) -> Document:
    if MARK in text:
        raise ManifestError("the text holds U+E000, a character for private use", where=file, fix="Remove it.")
    found: list[re.Match[str]] = []

    def mark(match: re.Match[str]) -> str:
        if "escaped" in pattern.groupindex and match["escaped"] is not None:
            return match[0]
        found.append(match)
        return f"{MARK}{len(found) - 1}{MARK}"

    document = load(pattern.sub(mark, text), file=file or None, error=ManifestError)

    def fill(value: str, path: Path) -> str:
        return _TOKEN.sub(lambda match: meant(found[int(match[1])], path), value) if MARK in value else value

    lines = {
        tuple(fill(step, ()) if isinstance(step, str) else step for step in at): line
        for at, line in document.lines.items()
    }
    problems.clear()
    return Document(data=_walk(document.data, (), fill), file=document.file, lines=lines)


def _missing(path: Path, name: str, hint: str) -> Problem:
    return Problem(
        path=path,
        rule=f"the variable ${name} has no value",
        fix=rf"Give it: {hint.format(name=name)}. The text ${name} itself is written \${name}.",
    )


def _walk(tree: object, path: Path, fill: Callable[[str, Path], str]) -> object:
    if isinstance(tree, str):
        return fill(tree, path) if MARK in tree else tree
    if isinstance(tree, Mapping):
        filled = ((fill(key, path), value) for key, value in tree.items())
        return {key: _walk(value, (*path, key), fill) for key, value in filled}
    if isinstance(tree, list):
        return [_walk(value, (*path, number), fill) for number, value in enumerate(tree)]
    return tree
