"""The compatibility page of the session language against the models, the kinds, and what the embedded CAS serves."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from scone_cas.sessions import unsupported_features
from scone_policy.model.secret_kinds import KINDS
from scone_policy.model.session import Session
from scone_policy.syntax.placeholders import SUFFIXES

PAGE = Path(__file__).parents[3] / "docs" / "compatibility-language.md"
NO_KEYS = frozenset({"reference", "value_json"})
"""Fields that stand for something else than a key of a document."""
WORDS = ("taken", "never tried", "read over")


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def keys_of(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Every key of a document of this model, with its path."""
    for name, field in model.model_fields.items():
        if name in NO_KEYS:
            continue
        key = f"{path}{field.alias or name}"
        yield key
        for inner in models_in(field.annotation):
            yield from keys_of(inner, f"{key}.")


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading: the first column's name → the others."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| `([^`]+)` \|(.*)\|$", section, re.MULTILINE)
    assert len({name for name, _ in lines}) == len(lines)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in lines}


def test_every_key_is_told_of_and_no_other() -> None:
    """A key that the language gains must be judged here, and one that goes must go."""
    assert sorted(rows("Keys")) == sorted(set(keys_of(Session)))


def test_every_row_says_what_becomes_of_its_key() -> None:
    """Taken, never tried, or read over: in the second column, which the page explains."""
    for key, cells in rows("Keys").items():
        assert cells[0].startswith(WORDS), key
        assert len(cells) == 3, key


def test_what_was_never_tried_is_what_this_cas_does_not_serve() -> None:
    """Keys that the embedded CAS refuses by name are those, and all others of its sections it serves."""
    never = {key for key, cells in rows("Keys").items() if cells[0] == "never tried"}
    served = {
        "services": unsupported_features._SERVICE,
        "secrets": unsupported_features._SECRET,
        "images": unsupported_features._IMAGE,
        "volumes": unsupported_features._VOLUME,
        "security": unsupported_features._SECURITY,
    }
    for key, cells in rows("Keys").items():
        section, _, rest = key.partition(".")
        if section in served and rest and "." not in rest and not cells[0].startswith("read over"):
            assert (key in never) == (rest not in served[section] | {"mrenclaves"}), key


def test_every_kind_is_told_of() -> None:
    """With the suffixes that it takes, and whether a value may be given."""
    found = rows("Kinds of secrets")
    assert set(found) == set(KINDS)
    for kind, (_, given, suffixes) in found.items():
        takes_value = KINDS[kind].check is not None or kind == "config-fragment"
        assert given.startswith("yes") == takes_value, kind
        assert (suffixes == "none") == (SUFFIXES[kind] == {""}), kind
