"""Text that becomes something else where it is put into YAML, a template, a shell or a log without care."""

from collections.abc import Iterator, Mapping
from typing import Any

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: second}\nspec: {containers: [{name: a, image: b}]}"
TEXTS: tuple[str, ...] = (
    "a\n- name: B\n  value: c",
    "a\n  securityContext:\n    privileged: true",
    f"a\n---\n{POD}\n---\n",
    f"\r\n---\r\n{POD}",
    'a"\nb: c',
    "a'\nb: 'c",
    "{{ .Release.Name }}",
    "{{",
    "}}",
    '{{ fail "x" }}',
    '{{- include "scone.pod" . -}}',
    "${A}$(A)`id`",
    "---",
    "...",
    "\t",
    "a\tb: c",
    "a\x0bb\x0cc",
    "a\u2028b: c",
    "a\u2029- b",
    "a\x85b: c",
    "a\x00b",
    "\x1b[2J",
    "\x7f",
    "\x9f",
    "\ufeffa",
    "\uffff",
    "\U0001f600",
    "!!python/object/apply:os.system [id]",
    "!!binary aGFja2Vk",
    "&a [*a, *a]",
    "*a",
    "<<: {a: b}",
    "- a",
    "? a",
    "a: b",
    "{a: b}",
    "[a, b]",
    "a #b",
    "#a",
    "%YAML 1.1",
    "|\n  a",
    "> a",
    "'",
    '"',
    "\\",
    "\\x41\\n",
    "@a",
    "null",
    "~",
    "true",
    "no",
    "0x1f",
    "1e3",
    "-.inf",
    "2026-01-01",
    "12:30:45",
    "=",
    " a",
    "a ",
    "\n a\n\n  b\n",
    "a\n\n",
    "a" * 100_000,
)
MOST_TELLING = 5
"""The first of them, which are tried in every place also when there is little time."""
Path = tuple[str | int, ...]


def some(place: int, *, whole: bool) -> Iterator[str]:
    """The texts for a place: all, or the most telling and an eighth of the others, another one in each place."""
    for number, text in enumerate(TEXTS):
        if whole or number < MOST_TELLING or number % 8 == place % 8:
            yield text


def leaves(tree: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all scalars."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from leaves(value, (*path, number))
    else:
        yield path


def maps(tree: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all keys of maps."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield (*path, key)
            yield from maps(value, (*path, key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from maps(value, (*path, number))


def with_value(tree: Any, path: Path, value: object) -> Any:
    """The tree with another value there."""
    if not path:
        return value
    if isinstance(tree, Mapping):
        return {key: with_value(one, path[1:], value) if key == path[0] else one for key, one in tree.items()}
    return [with_value(one, path[1:], value) if number == path[0] else one for number, one in enumerate(tree)]


def with_key(tree: Any, path: Path, key: str) -> Any:
    """The tree with another key there, in the same place."""
    if len(path) == 1:
        return {key if old == path[0] else old: one for old, one in tree.items()}
    if isinstance(tree, Mapping):
        return {old: with_key(one, path[1:], key) if old == path[0] else one for old, one in tree.items()}
    return [with_key(one, path[1:], key) if number == path[0] else one for number, one in enumerate(tree)]


def shape(tree: Any, text: str) -> Any:
    """What is left when all texts are taken as one: keys, lengths of lists, types; `text` is a key like any other."""
    if isinstance(tree, Mapping):
        named = {"·" if key == text else str(key): shape(value, text) for key, value in tree.items()}
        return dict(sorted(named.items()))
    if isinstance(tree, list):
        return sorted((shape(value, text) for value in tree), key=repr)  # maps are written in the order of their keys
    return type(tree).__name__
