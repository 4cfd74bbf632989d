"""Turns what a model refused into one error that lists every problem with its place and its rule, and no value."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from scone_policy.errors import PolicyError, SconeError
from scone_policy.source import Document, Path

_WORDS = {
    "extra_forbidden": "unknown key",
    "missing": "the required key is missing",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "model_attributes_type": "must be a map",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
}
PLAIN_RULES = frozenset(_WORDS.values())
"""Rules in words in which nothing of the document stands."""
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
    """What a pydantic model refused, in words, in the order of the document."""
    return [
        Problem(
            path=_path(item["loc"]),
            rule=_rule(item["type"], item["msg"]),
            fix=str(item["ctx"]["fix"]) if item["type"] == _REFUSAL else "",
        )
        for item in error.errors(include_input=False, include_url=False)
    ]


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


def at(rule: str, *path: int | str) -> ValidationError:
    """What a validator raises to say at which key of its own field a rule is broken."""
    return refusal(Problem(path=path, rule=rule))


def refuse(
    problems: Sequence[Problem],
    document: Document,
    *,
    one: type[SconeError] = PolicyError,
    many: type[SconeError] = PolicyErrors,
) -> SconeError:
    """The error to raise: `one` for a single problem, else `many`, with a line for each in the document's order."""
    ordered = sorted(problems, key=lambda problem: document.line(problem.path) or 0)
    parts = tuple(one(problem.rule, where=document.where(problem.path), fix=problem.fix) for problem in ordered)
    if len(parts) == 1:
        return parts[0]
    lines = [f"{len(parts)} rules are broken", *(str(part).replace("\n  →", " →") for part in parts)]
    error = many("\n  ".join(lines))
    error.parts = parts
    return error


def _path(loc: tuple[int | str, ...]) -> Path:
    return tuple(step for step in loc if step != "[key]")


def _rule(kind: str, message: str) -> str:
    return _WORDS.get(kind, message.removeprefix("Value error, "))
