"""Sets of short texts: lists without order on the wire, maps in the canonical form."""

from collections.abc import Callable, Iterable, Mapping

from scone_policy.canonical import short_digest
from scone_policy.holes import has_hole
from scone_policy.placeholders import is_reference


def elements(value: object, rule: str) -> list[object]:
    """The elements of a list, or of the map form (`{element: true}`, or any key with the element as its value).

    One reference (`$$SCONE::x$$`) may stand for the whole list: lists splice into lists. Raises ValueError(rule).
    """
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [key if item is True else item for key, item in value.items()]
    if isinstance(value, str) and (is_reference(value) or has_hole(value)):
        return [value]
    if not isinstance(value, list | tuple):
        raise ValueError(rule)  # noqa: TRY004
    return list(value)


def members(read: Callable[[object], str], rule: str) -> Callable[[object], tuple[str, ...]]:
    """A reader of a set whose elements `read` checks: sorted, each once."""
    return lambda value: tuple(sorted({read(item) for item in elements(value, rule)}))


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
