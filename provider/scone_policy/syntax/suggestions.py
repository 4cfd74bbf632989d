"""What to do about a key that a document does not know: the nearest one that it does, or all of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from pydantic import BaseModel

from scone_policy.syntax.nearest import nearest_word
from scone_policy.syntax.problems import UNKNOWN_KEY, Problem

_INTERNAL = frozenset({"reference"})
"""Fields of the models that are no keys of a document."""
_OLD = {
    ("Session", "digest"): "It belongs to language 0.1: predecessor says which version this one replaces.",
    ("Image", "mrenclaves"): "It belongs to language 0.1: the service says what is attested.",
    ("Image", "tags"): "It belongs to language 0.1.",
}
"""Keys of versions before 0.3, by the model that knew them."""


_FORM = "Write it as docs/policies.md has it."
"""For what the models' library refuses in words of its own: nothing of ours should come so far."""


def of_session(problems: Sequence[Problem], model: type[BaseModel]) -> list[Problem]:
    """`problems` of a session, or of a part of one: each with a next step."""
    return [one if one.fix else replace(one, fix=_FORM) for one in with_suggestions(problems, model)]


def with_suggestions(problems: Sequence[Problem], model: type[BaseModel]) -> list[Problem]:
    """`problems` of a document of this model; those about unknown keys say which keys there are."""
    return [
        replace(problem, fix=_fix(problem, model)) if problem.rule == UNKNOWN_KEY and not problem.fix else problem
        for problem in problems
    ]


def _fix(problem: Problem, model: type[BaseModel]) -> str:
    owner: type[BaseModel] | None = model
    for step in problem.path[:-1]:
        if owner is None:
            break
        fields = {field.alias or name: field for name, field in owner.model_fields.items()}
        # A step that is no field is the name or number of an item: the model of the items stays.
        owner = _model_in(fields[step].annotation) if step in fields else owner
    if owner is None:
        return "Leave it out."
    key = str(problem.path[-1])
    if (owner.__name__, key) in _OLD:
        return _OLD[owner.__name__, key]
    known = sorted(
        field.alias or name for name, field in owner.model_fields.items() if name not in _INTERNAL and not field.exclude
    )
    near = nearest_word(key, known)
    return f"Did you mean {near}?" if near is not None else f"Known here are {', '.join(known)}."


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The model that an annotation is, or whose items it holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
