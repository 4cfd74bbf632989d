"""Turns what a model refused into one error that lists every problem with its place and its rule, and no value."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from scone_policy.errors import PolicyError, SconeError
from scone_policy.syntax.yaml_source import Document, Path

UNKNOWN_KEY = "unknown key"
"""Its next step is which keys there are: `suggest` knows them."""
_MAP = ("must be a map", "Write keys below it, one a line: `key: value`.")
_LIST = ("must be a list", "Write one item a line: `- item`.")
_TEXT = ("must be text", "Write one value, in quotes where it is no plain word.")
_SWITCH = ("must be true or false", "Write true or false, without quotes.")
_WHOLE = ("must be a whole number", "Write digits alone, such as 20.")
_WORDS = {
    "extra_forbidden": (UNKNOWN_KEY, ""),
    "missing": ("the required key is missing", "Add it."),
    "dict_type": _MAP,
    "model_type": _MAP,
    "model_attributes_type": _MAP,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "string_type": _TEXT,
    "bool_type": _SWITCH,
    "bool_parsing": _SWITCH,
    "int_parsing": _WHOLE,
    "int_type": _WHOLE,
}
PLAIN_RULES = frozenset(rule for rule, _ in _WORDS.values())
"""Rules in words in which nothing of the document stands."""
MOST_PROBLEMS = 50
"""So many problems of a document are told; that there are more is said. A person mends them in rounds anyway."""
_REFUSAL = "refusal"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One broken rule: where it is broken, the rule in words, what to do."""

    path: Path
    rule: str
    fix: str = ""


class PolicyErrors(PolicyError):  # noqa: N818 - it is several of them
    """Several rules of the session language are broken; the text lists each on a line of its own."""


def problems_of(error: ValidationError) -> list[Problem]:
    """What a pydantic model refused, in words, in the order of the document.

    The next step is empty where the rule names none: the reader of the document knows which page tells its form.
    """
    found = []
    for item in error.errors(include_input=False, include_url=False):
        rule, fix = _WORDS.get(item["type"], (item["msg"].removeprefix("Value error, "), ""))
        context = item.get("ctx", {})
        fix = str(context.get("fix", getattr(context.get("error"), "fix", fix)))
        found.append(Problem(path=_path(item["loc"]), rule=rule, fix=fix))
    return found


def problem_at(path: Path, error: ValueError) -> Problem:
    """What a reader of one value refused, as a problem at this place."""
    return Problem(path=path, rule=str(error), fix=getattr(error, "fix", ""))


def refusal(*problems: Problem) -> ValidationError:
    """What a validator raises to say at which place below its own field each rule is broken."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError(_REFUSAL, "{rule}", {"rule": problem.rule, "fix": problem.fix}),
            loc=problem.path,
            input=None,
        )
        for problem in problems
    ]
    return ValidationError.from_exception_data("refusal", details, hide_input=True)


def at(rule: str, *path: int | str, fix: str) -> ValidationError:
    """What a validator raises to say at which key of its own field a rule is broken, and what to do."""
    return refusal(Problem(path=path, rule=rule, fix=fix))


def refuse(
    problems: Sequence[Problem],
    document: Document,
    *,
    one: type[SconeError] = PolicyError,
    many: type[SconeError] = PolicyErrors,
) -> SconeError:
    """The error to raise: `one` for a single problem, else `many`, with a line for each in the document's order.

    Only the first 50 are told, and that there are more.
    """
    ordered = sorted(problems[:MOST_PROBLEMS], key=lambda problem: document.line(problem.path) or 0)
    parts = tuple(one(problem.rule, where=document.where(problem.path), fix=problem.fix) for problem in ordered)
    if len(problems) == 1:
        return parts[0]
    is_cut = len(problems) > MOST_PROBLEMS
    head = (
        f"more than {MOST_PROBLEMS} rules are broken, these among them" if is_cut else f"{len(parts)} rules are broken"
    )
    error = many("\n  ".join([head, *(str(part).replace("\n  →", " →") for part in parts)]))
    error.parts = parts
    return error


def _path(loc: tuple[int | str, ...]) -> Path:
    return tuple(step for step in loc if step != "[key]")
