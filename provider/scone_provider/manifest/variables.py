r"""Replaces `$NAME` and `${NAME}`, as a shell would, in manifests that are YAML text.

A value always stays inside of the scalar in which its variable stands: it is put there after the YAML was read, so
that no quote, colon or line break in it can add a key. `$$`, `$#`, `$1` are no variables and stay, and so does the
frame of `$$SCONE::x$$`, in which variables are replaced; `\$NAME` and `\${NAME}` are the texts `$NAME` and `${NAME}`.
`{{name}}` is kept for the mesh, with or without quotes around it. Variables in comments need no value.
"""

import re
from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from dataclasses import replace

from scone_policy.errors import SconeError
from scone_policy.syntax.holes import Holes
from scone_policy.syntax.problems import Problem, refuse
from scone_policy.syntax.yaml_source import NO_YAML, Document, Path, load
from scone_provider.errors import ManifestError

IN_PROGRAM = 'variables={{"{name}": …}}'
"""How a program gives a variable, for errors: `hint` of `read`."""
ON_COMMAND_LINE = "--set {name}=…"
"""The same for the commands."""
MESH_NAME = r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_\-]*)[ \t]*\}\}"
"""A variable of the mesh; blanks beside its name mean nothing."""
_MOST_NAMED = 10
MARK = "\ue000"
"""What stands for a variable while YAML is read; no text may hold it."""

_VARIABLE = re.compile(
    r"(?P<escaped>\$\$)"
    r"|(?<!\\)\\(?P<literal>\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\}))"
    r"|\$(?:(?P<plain>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\})"
    rf"|(?P<mesh>{MESH_NAME})"
)
_MESH = re.compile(rf"(?P<mesh>{MESH_NAME})")
_MOST_NAMED = 5
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

    def items(self) -> ItemsView[str, str]:
        """All of them. Who looks at all asks for none."""
        return self._given.items()

    def values(self) -> ValuesView[str]:
        """As `items`."""
        return self._given.values()

    def unread(self, hint: str = IN_PROGRAM) -> list[str]:
        """A sentence for each value that no document asked for. `hint`: how it was given."""
        used = sorted(self._read & set(self._given))
        return [_unread(name, used, hint) for name in self._given if name not in self._read]


def _unread(name: str, used: Sequence[str], hint: str) -> str:
    known = f"${', $'.join(used)}" if used else "none"
    return f"{hint.format(name=name)} has no effect: no document that is read here holds ${name}; used are {known}"


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
        document = _read(text, file=file, pattern=_VARIABLE, meant=meant, problems=missing)
    except ManifestError as error:
        raise _with_names(error, text, variables, hint) from None
    return document, missing


def load_unfilled(text: str, *, file: str, hint: str = IN_PROGRAM) -> Document:
    """The document as it stands, for which no variables are given.

    Raises SconeError when it is no YAML: where it would be with its variables, an error for each of them.
    """
    try:
        return load(text, file=file)
    except SconeError as error:
        document, missing = read(text, file=file, variables={}, hint=hint)
        if missing:
            raise refuse(missing, document) from None
        raise _with_names(error, text, {}, hint) from None


def name_left(problems: Sequence[Problem], document: Document, hint: str) -> list[Problem]:
    """The problems, of which those with a variable in what is wrong say how it is given."""
    return [
        replace(problem, fix=_give(names[0], hint))
        if (names := names_left(_at(document.data, problem.path)))
        else problem
        for problem in problems
    ]


def left(document: Document, hint: str) -> list[Problem]:
    """What to warn of in a document whose variables nobody gave: each text in which one stands as it is."""
    found: list[Problem] = []

    def note(text: str, path: Path) -> None:
        found.extend(
            Problem(path=path, rule=f"${name} stands here as it is: no variables are given", fix=_give(name, hint))
            for name in names_left(text)
        )

    _every(document.data, (), note)
    return found


def names_left(text: object) -> list[str]:
    """The names of the variables in a text, each once, in their order."""
    found = [match["plain"] or match["braced"] for match in _VARIABLE.finditer(text)] if isinstance(text, str) else []
    return list(dict.fromkeys(name for name in found if name))


def _with_names(error: SconeError, text: str, variables: Mapping[str, str], hint: str) -> SconeError:
    """What is wrong with the YAML; where variables stand in it they may be what is missing."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    given = set(variables)
    names = [name for name in names_left("\n".join(lines)) if name not in given]
    if not error.what.startswith(NO_YAML) or not names_left("\n".join(lines)):
        return error
    give = ", ".join(hint.format(name=name) for name in names[:_MOST_NAMED])
    fix = f"Give its variables ({give}). " if names else ""
    fix += "A variable stands for one value: fill in what is more, such as a section, before (envsubst)."
    return ManifestError(error.what, where=error.where, fix=fix)


def _at(tree: object, path: Path) -> object:
    """What stands at a path, in which items of lists may be given by name."""
    for step in path:
        if isinstance(tree, list) and isinstance(step, str):
            names = [item.get("name", item.get("path")) if isinstance(item, Mapping) else item for item in tree]
            tree = tree[names.index(step)] if step in names else None
        elif isinstance(step, int):  # one value may stand for a list of one
            tree = tree if not isinstance(tree, list) else tree[step] if step < len(tree) else None
        else:
            tree = tree.get(step) if isinstance(tree, Mapping) else tree
    return tree


def _every(tree: object, path: Path, see: Callable[[str, Path], None]) -> None:
    if isinstance(tree, str):
        see(tree, path)
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            _every(value, (*path, key), see)
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            _every(value, (*path, number), see)


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
        fix=_give(name, hint),
    )


def _give(name: str, hint: str) -> str:
    return rf"Give it: {hint.format(name=name)}. The text ${name} itself is written \${name}."


def _walk(tree: object, path: Path, fill: Callable[[str, Path], str]) -> object:
    if isinstance(tree, str):
        return fill(tree, path) if MARK in tree else tree
    if isinstance(tree, Mapping):
        filled = ((fill(key, path), value) for key, value in tree.items())
        return {key: _walk(value, (*path, key), fill) for key, value in filled}
    if isinstance(tree, list):
        return [_walk(value, (*path, number), fill) for number, value in enumerate(tree)]
    return tree
