"""Sets of short texts: lists without order on the wire, maps in the canonical form."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from pydantic import ValidationError

from scone_policy.errors import RuleError
from scone_policy.forms.canonical import short_digest
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.placeholders import is_reference
from scone_policy.syntax.problems import Problem, problem_at, problems_of, refusal
from scone_policy.syntax.yaml_source import Path

_T = TypeVar("_T")


def elements(value: object, read: Callable[[object], _T], rule: str, *, fix: str) -> list[_T]:
    """What `read` makes of each element of a list, or of the map form (`{element: true}`, or a key for each element).

    One reference (`$$SCONE::x$$`) may stand for the whole list: lists splice into lists. Raises RuleError(rule, fix)
    for what is no list, and names each element that `read` refuses.
    """
    found: list[_T] = []
    problems: list[Problem] = []
    for place, item in _placed(value, RuleError(rule, fix=fix)):
        try:
            found.append(read(item))
        except ValidationError as error:
            problems += [replace(problem, path=(*place, *problem.path)) for problem in problems_of(error)]
        except ValueError as error:
            problems.append(problem_at(place, error))
    if problems:
        raise refusal(*problems)
    return found


def _placed(value: object, refused: RuleError) -> list[tuple[Path, object]]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [((str(key),), key if item is True else item) for key, item in value.items()]
    if isinstance(value, str) and (is_reference(value) or has_hole(value)):
        return [((), value)]
    if not isinstance(value, list | tuple):
        raise refused
    return [((index,), item) for index, item in enumerate(value)]


def members(read: Callable[[object], str], rule: str, *, fix: str) -> Callable[[object], tuple[str, ...]]:
    """A reader of a set whose elements `read` checks: sorted, each once. One text is a set of one."""

    def read_one(item: object) -> str:
        try:
            return read(item)
        except ValueError:
            if isinstance(item, str) and "," in item:
                raise RuleError("several entries stand in one text, with commas between them", fix=fix) from None
            raise

    def read_all(value: object) -> tuple[str, ...]:
        return tuple(sorted(set(elements([value] if isinstance(value, str) else value, read_one, rule, fix=fix))))

    return read_all


def member_map(entries: Iterable[str]) -> dict[str, object]:
    """The map form of a set: elements as keys; by short digest where they are long, numbered where not known yet."""
    found: dict[str, object] = {}
    for number, entry in enumerate(entries):
        if has_hole(entry):
            found[f"unknown-{number}"] = entry
        elif "\n" in entry:
            found[short_digest(entry)] = entry
        else:
            found[entry] = True
    return found
