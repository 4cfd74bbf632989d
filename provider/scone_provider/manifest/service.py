"""The service manifest (`kind: genservice`): how one confidential image is built and what its service needs."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from scone_policy.model.secrets import Secret
from scone_policy.syntax import command_line as command
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.names import is_segment
from scone_policy.syntax.problems import Problem, problems_of, refusal
from scone_policy.syntax.scalars import Model, Named, OptionalText, Segment, Switch, Text, by_name, text
from scone_policy.syntax.suggestions import with_suggestions
from scone_policy.syntax.yaml_source import Number
from scone_provider.manifest.fields import (
    ApiVersion,
    DeclaredVariables,
    GivenVariables,
    ImageOption,
    Option,
    PathOption,
    TaggedReference,
    Texts,
    texts,
)
from scone_provider.manifest.provenance import Manifest
from scone_provider.manifest.variable_masking import VariableMask

HOST_PATH = "host_path"
EMBEDDED_KINDS = ("python", "sconify_image")
"""What this package builds; every other kind is a builder's (docs/vendor-toolchain.md)."""
_BUILD_KIND = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _kind(value: object) -> str:
    found = text(value)
    if found != "genservice":
        raise ValueError("must be genservice in a service manifest")
    return found


def _build_kind(value: object) -> str:
    found = text(value)
    if not _BUILD_KIND.fullmatch(found):
        rule = "must be a word, such as python or java17, that is known when the manifest is read"
        raise refusal(Problem(path=(), rule=rule, fix=f"This package builds {' and '.join(EMBEDDED_KINDS)}."))
    return found


def _command(value: object) -> str:
    found = text(value)
    if not command.split(found):
        raise ValueError("must name a program")
    return found


def secret_with_variables(definition: object) -> dict[str, object]:
    """One secret in canonical form, checked but for the variables of the mesh in it. Raises ValueError."""
    veil = VariableMask()
    try:
        secret = Secret.model_validate(veil.hide(definition))
    except ValidationError as error:
        problems = with_suggestions(problems_of(error), Secret)
        raise refusal(*(replace(problem, rule=veil.shown(problem.rule)) for problem in problems)) from None
    found = veil.show(secret.canonical())
    assert isinstance(found, dict)
    return found


def _imports(value: object) -> tuple[str, ...]:
    found = texts(value)
    for index, name in enumerate(found):
        if not has_hole(name) and not is_segment(name):
            rule = "must be a secret's name: 1 to 128 letters, digits, or _ - . ~"
            raise refusal(Problem(path=(index,), rule=rule))
    return found


def _exports(value: object) -> object:
    if isinstance(value, bool | int | float | Number):
        raise ValueError("must be a session, or a list of sessions or of maps with `to`")  # noqa: TRY004 - pydantic
    return value


_Secret = Annotated[dict[str, Any], PlainValidator(secret_with_variables, json_schema_input_type=Secret)]
Secrets = Annotated[dict[Segment, _Secret], Named]


class Signature(Model):
    """Whether and with which key file the image is signed."""

    sign: Switch = False
    key: Option = None


class GenPolicy(Model):
    """A policy template in place of the standard one (reserved by the vendor)."""

    policy: Option = None


class Volume(Model):
    """A volume that the service defines, exports or imports."""

    name: OptionalText = None
    path: PathOption = None
    export: Annotated[Any, BeforeValidator(_exports)] = None
    import_: Any = Field(default=None, alias="import")


def _as_written_elsewhere(value: object) -> object:
    """`host_path`, as the vendor's tutorial for Java has it, is `host_paths`."""
    if not isinstance(value, Mapping) or HOST_PATH not in value or "host_paths" in value:
        return value
    return {("host_paths" if key == HOST_PATH else key): item for key, item in value.items()}


def _with_other_spellings(schema: dict[str, Any]) -> None:
    schema["properties"][HOST_PATH] = schema["properties"]["host_paths"]


class Build(Model):
    """Section `build`: the image. `to` is where it is pushed, `from_` its base, None for the default of its kind."""

    model_config = ConfigDict(json_schema_extra=_with_other_spellings)
    _spellings = model_validator(mode="before")(_as_written_elsewhere)

    name: Segment
    kind: Annotated[str, PlainValidator(_build_kind, json_schema_input_type=str)]
    to: TaggedReference
    command: Annotated[str, PlainValidator(_command, json_schema_input_type=str)]
    from_: ImageOption = Field(default=None, alias="from")
    pwd: PathOption = None
    requirements: Option = None
    copy_: Texts = Field(default=(), alias="copy")
    run: Texts = ()
    dirs: Texts = ()
    fs_dirs: Texts = ()
    fs_files: Texts = ()
    plains: Texts = ()
    plain_files: Texts = ()
    host_paths: Texts = ()
    binaries: Texts = ()
    volumes: Annotated[tuple[Volume, ...], BeforeValidator(lambda value: () if value is None else value)] = ()
    signature: Signature | None = None
    stable: Option = None
    gen_policy: GenPolicy | None = None


class ManifestEnvironment(Model):
    """Section `environment`: `local` values that a mesh cannot override, `global` ones it sets or overrides."""

    local: GivenVariables = Field(default_factory=dict)
    global_: DeclaredVariables = Field(default_factory=dict, alias="global")


class ManifestSecrets(Model):
    """Section `secrets`, in canonical form by name; `import_` names secrets that a sibling of the mesh defines."""

    local: Secrets = Field(default_factory=dict, repr=False)
    global_: Secrets = Field(default_factory=dict, alias="global", repr=False)
    import_: Annotated[tuple[str, ...], PlainValidator(_imports, json_schema_input_type=list[str])] = Field(
        default=(), alias="import"
    )


class InjectedFile(Model):
    """A file that CAS writes into the service's memory."""

    content: Text


def _none_is_empty(value: object) -> object:
    return {} if value is None else value


class ServiceManifest(Manifest):
    """A service manifest. `injection_files` by path."""

    apiVersion: ApiVersion  # noqa: N815 - the document's own key
    kind: Annotated[str, PlainValidator(_kind, json_schema_input_type=str)]
    build: Build
    environment: Annotated[ManifestEnvironment, BeforeValidator(_none_is_empty)]
    secrets: Annotated[ManifestSecrets, BeforeValidator(_none_is_empty)] = Field(default_factory=ManifestSecrets)
    injection_files: Annotated[dict[str, InjectedFile], BeforeValidator(by_name("path"))] = Field(default_factory=dict)
