r"""Replaces `$NAME` and `${NAME}`, as a shell would, in manifests that are YAML text.

A value always stays inside of the scalar in which its variable stands: it is put there after the YAML was read, so
that no quote, colon or line break in it can add a key. `$$` (and so `$$SCONE::x$$`), `$#`, `$1` are no variables and
stay; `\$NAME` and `\${NAME}` are the texts `$NAME` and `${NAME}`. `{{name}}` is kept for the mesh, with or without
quotes around it. Variables in comments need no value.
"""

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

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
_MOST_NAMED = 10
_NO_YAML = "Look at this line and the one above: quotes, colons and indentation."
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


class ReadVariables(Mapping[str, str]):
    """Values of variables, which remember the ones that a document asked for."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self._read.add(name)
        return self._given[name]

    def __contains__(self, name: object) -> bool:
        return name in self._given

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def unread(self, hint: str = IN_PROGRAM) -> list[str]:
        """A sentence for each value that no document asked for. `hint`: how it was given."""
        used = sorted(self._read & set(self._given))
        return [_unread(name, used, hint) for name in self._given if name not in self._read]


def _unread(name: str, used: Sequence[str], hint: str) -> str:
    known = f"${', $'.join(used)}" if used else "none"
    return f"{hint.format(name=name)} has no effect: no document that is read here holds ${name}; used are {known}"


def ways_to_give(text: str, given: Container[str], hint: str) -> str:
    """How the variables of a text that have no value are given; empty where it has none."""
    names = dict.fromkeys(match["plain"] or match["braced"] for match in _VARIABLE.finditer(text))
    missing = [hint.format(name=name) for name in names if name and name not in given]
    more = " …" if len(missing) > _MOST_NAMED else ""
    return f"Give its variables: {' '.join(missing[:_MOST_NAMED])}{more}." if missing else ""


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

    try:
        return _read(text, file=file, pattern=_VARIABLE, meant=meant, problems=missing), missing
    except ManifestError as error:
        # A value is put where its variable stands, so what is no YAML before it stays none: say what is open, too.
        more = ways_to_give(text, variables, hint)
        raise ManifestError(error.what, where=error.where, fix=f"{error.fix} {more}".strip() or _NO_YAML) from None


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
