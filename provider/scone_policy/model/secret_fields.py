"""Fields of a secret, each read on its own: kinds, names, spans of time, places in a vault."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import PlainValidator

from scone_policy.errors import RuleError
from scone_policy.model import secret_kinds
from scone_policy.model.secret_kinds import KEY_TYPES, KINDS
from scone_policy.model.sets import members
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.problems import problem_at, refusal
from scone_policy.syntax.scalars import nearest, one_of, optional, text
from scone_policy.syntax.yaml_source import Path


def _kind(value: object) -> str:
    found = text(value)
    if has_hole(found) or found in KINDS:
        return found
    raise RuleError(f"must be one of {', '.join(sorted(KINDS))}", fix=nearest(found, KINDS))


def _akv(value: object) -> dict[str, object]:
    """The vendor's keys, which only a real CAS knows: any tree, its scalars as text."""
    if not isinstance(value, Mapping) or not value:
        raise RuleError(
            "must be a map of texts: the secret's place in an Azure Key Vault", fix="Write its keys one a line."
        )
    found = _tree(value, ())
    assert isinstance(found, dict)
    return found


def _tree(value: object, path: Path) -> object:
    if isinstance(value, Mapping):
        return {text(key): _tree(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tree(item, (*path, index)) for index, item in enumerate(value)]
    try:
        return text(value)
    except ValueError as error:
        raise refusal(problem_at(path, error)) from None


def _dns(value: object) -> tuple[str, ...]:
    """A list of DNS names; one name alone is a list of one, as in the vendor's schema."""
    return _listed_names([value] if isinstance(value, str) else value)


_listed_names = members(
    secret_kinds.dns, "must be a list of DNS names", fix="Write one name a line: `- api.example.com`."
)
Kind = Annotated[str | None, PlainValidator(optional(_kind), json_schema_input_type=str)]
KeyType = Annotated[str | None, PlainValidator(optional(one_of(*KEY_TYPES)), json_schema_input_type=str)]
Endpoint = Annotated[str | None, PlainValidator(optional(one_of("server", "client")), json_schema_input_type=str)]
Algorithm = Annotated[str | None, PlainValidator(optional(one_of("ES384")), json_schema_input_type=str)]
Duration = Annotated[str | None, PlainValidator(optional(secret_kinds.duration), json_schema_input_type=str)]
Uuid = Annotated[str | None, PlainValidator(optional(secret_kinds.uuid), json_schema_input_type=str)]
Thumbprint = Annotated[str | None, PlainValidator(optional(secret_kinds.thumbprint), json_schema_input_type=str)]
DnsNames = Annotated[
    tuple[str, ...],
    PlainValidator(_dns, json_schema_input_type=str | list[str]),
]
Sans = Annotated[
    tuple[str, ...],
    PlainValidator(
        members(secret_kinds.san, "must be a list of dns:… and ip:…", fix="Write one a line: `- dns:a.example`."),
        json_schema_input_type=list[str],
    ),
]
Payload = Annotated[dict[str, str] | None, PlainValidator(optional(secret_kinds.payload), json_schema_input_type=dict)]
CommonName = Annotated[str | None, PlainValidator(optional(secret_kinds.common_name), json_schema_input_type=str)]
Akv = Annotated[dict[str, object] | None, PlainValidator(optional(_akv), json_schema_input_type=dict)]
