"""Types of fields that both manifests use: options that may be empty, lists of names and values, references."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import PlainValidator

from scone_policy.model.services import HOST_VARIABLE
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.problems import Problem, refusal
from scone_policy.syntax.scalars import Model, OptionalText, Text, text

_API = re.compile(r"scone/([0-9]{1,4})\.([0-9]{1,4})(\.[0-9]{1,4})?")
_OLDEST = (5, 8)
_REPOSITORY = r"(?:[A-Za-z0-9.\-]+(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._\-/]+[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}"
_TAGGED = re.compile(f"{_REPOSITORY}:{_TAG}")
_IMAGE = re.compile(f"{_REPOSITORY}(?::{_TAG})?(?:@sha256:[0-9a-f]{{64}})?")
_FOLDER = re.compile(r"[A-Za-z0-9.\-]+(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._\-]+[a-z0-9]+)*)*/?")
_TEMPLATE = "{{"
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Names of variables as the chart's container has them (POSIX)."""
_DELIVERED_NAME = re.compile(rf"{VARIABLE_NAME.pattern}|{HOST_VARIABLE.pattern}")
_MESH_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*|volume_[A-Za-z0-9_\-.~]{1,128}_size")
LATEST = "latest"


def is_open(value: str) -> bool:
    """True when a part of the text is decided later: by an Output, or by a variable of the mesh."""
    return has_hole(value) or _TEMPLATE in value


def option(read: Callable[[object], object]) -> Callable[[object], object]:
    """A reader for an optional key, for which null and the empty text mean the same as leaving it out."""
    return lambda value: None if value is None or value == "" else read(value)


def _api_version(value: object) -> str:
    found = text(value)
    match = _API.fullmatch(found)
    if match is None or (int(match[1]), int(match[2])) < _OLDEST:
        raise ValueError("must be scone/5.8 or newer")
    return found


def _path(value: object) -> str:
    found = text(value)
    if not found.startswith("/") and not is_open(found):
        raise ValueError("must be an absolute path")
    return found


def with_tag(reference: str) -> str:
    """An image's name with the tag that every tool takes where none stands: `latest`. A digest, too, is enough."""
    last = reference.rpartition("/")[2]
    return reference if not last or is_open(last) or ":" in last or "@" in last else f"{reference}:{LATEST}"


def _tagged(value: object) -> str:
    found = with_tag(text(value))
    if not is_open(found) and not _TAGGED.fullmatch(found):
        raise ValueError("must be an image with a tag: [registry/]repository:tag, the repository in lower case")
    return found


def _image(value: object) -> str:
    found = text(value)
    if not is_open(found) and not _IMAGE.fullmatch(found):
        raise ValueError("must be an image: [registry/]repository[:tag][@sha256:…], the repository in lower case")
    return found


def _folder(value: object) -> str:
    found = text(value)
    if not is_open(found) and not _FOLDER.fullmatch(found):
        raise ValueError("must be a registry and a folder in it, without https:// and tag: registry.example/team")
    return found


def texts(value: object) -> tuple[str, ...]:
    """A list of texts; null is an empty one."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list")  # noqa: TRY004
    return tuple(text(item) for item in value)


def comma_list(value: object) -> tuple[str, ...]:
    """`"a, b"` as a tuple; a list is taken as well."""
    if value is None:
        return ()
    items = value if isinstance(value, list | tuple) else text(value).split(",")
    return tuple(found for item in items if (found := text(item).strip()))


def pairs(value: object, *, value_required: bool, named: re.Pattern[str] = _DELIVERED_NAME) -> dict[str, str | None]:
    """`[{name, value}]` as a map; numbers and booleans become text. Each name fits `named` and stands once."""
    if value is None:
        return {}
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of maps with name and value")  # noqa: TRY004
    return pairs_at(enumerate(value), value_required=value_required, named=named)


def pairs_at(
    items: Iterable[tuple[int, object]], *, value_required: bool, named: re.Pattern[str] = _MESH_NAME
) -> dict[str, str | None]:
    """The same for items of a list, each with its index there."""
    found: dict[str, str | None] = {}
    for index, item in items:
        name, given = _pair(item, index, named)
        if name in found:
            raise refusal(Problem(path=(index,), rule=f"{name} stands here twice", fix="Keep one of them."))
        if given is None and HOST_VARIABLE.fullmatch(name):
            given = ""  # the host gives the value: what stands here says nothing, and may be missing
        if given is None and value_required:
            rule = f"{name} has no value"
            raise refusal(Problem(path=(name,), rule=rule, fix='Give it a value; "" is the empty one.'))
        found[name] = given
    return found


def _pair(item: object, index: int, named: re.Pattern[str]) -> tuple[str, str | None]:
    if not isinstance(item, Mapping) or item.get("name") is None:
        fix = "Write name in place of key." if isinstance(item, Mapping) and "key" in item else ""
        raise refusal(Problem(path=(index,), rule="must be a map with name and value", fix=fix))
    name = text(item["name"])
    if unknown := sorted(str(key) for key in set(item) - {"name", "value"}):
        raise refusal(Problem(path=(index, unknown[0]), rule="unknown key", fix="Known here are name, value."))
    if not named.fullmatch(name):
        plain = name and "=" not in name and not is_open(name)
        rule = "a variable's name must " + (
            "be made of letters, digits and _, no digit first" if plain else "not be empty or hold = or a variable"
        )
        raise refusal(Problem(path=(index, "name"), rule=rule, fix="Write a plain name: API_USER"))
    try:
        return name, None if item.get("value") is None else text(item["value"])
    except ValueError as error:
        raise refusal(Problem(path=(name, "value"), rule=str(error))) from None


class Variable(Model):
    """A variable as it is written, for the schema."""

    name: Text
    value: OptionalText = None


def _given(value: object) -> dict[str, str | None]:
    return pairs(value, value_required=True)


def _given_by_mesh(value: object) -> dict[str, str | None]:
    return pairs(value, value_required=True, named=_MESH_NAME)


def _declared(value: object) -> dict[str, str | None]:
    return pairs(value, value_required=False)


def _plain(read: Callable[[object], object], schema: Any = str) -> PlainValidator:  # noqa: ANN401 - any type
    return PlainValidator(read, json_schema_input_type=schema)


ApiVersion = Annotated[str, _plain(_api_version)]
Option = Annotated[str | None, _plain(option(text))]
PathOption = Annotated[str | None, _plain(option(_path))]
ImageOption = Annotated[str | None, _plain(option(_image))]
ImageReference = Annotated[str, _plain(_image)]
RepositoryFolder = Annotated[str, _plain(_folder)]
TaggedReference = Annotated[str, _plain(_tagged)]
Texts = Annotated[tuple[str, ...], _plain(texts, list[str])]
GivenVariables = Annotated[dict[str, str], _plain(_given, list[Variable])]
MeshVariables = Annotated[dict[str, str], _plain(_given_by_mesh, list[Variable])]
DeclaredVariables = Annotated[dict[str, str | None], _plain(_declared, list[Variable])]
