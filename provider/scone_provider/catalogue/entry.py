"""What one entry of the catalogue says about a ready-made image, and what becomes of it for one service of a mesh."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator

from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.scalars import Model, Switch, Text, text
from scone_policy.syntax.yaml_source import Document
from scone_provider.manifest.fields import Texts
from scone_provider.manifest.provenance import Manifest
from scone_provider.manifest.service import ServiceManifest


def _pattern(value: object) -> str:
    found = text(value)
    try:
        re.compile(found)
    except re.error:
        raise ValueError("must be a regular expression") from None
    return found


def _texts_by_name(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError("must be a map of names and texts")  # noqa: TRY004 - pydantic takes ValueError
    return {text(name): text(found) for name, found in value.items()}


TextsByName = Annotated[dict[str, str], BeforeValidator(_texts_by_name)]


class Variable(Model):
    """One variable of an entry, which a Meshfile may set: what it means, its default, and which values it takes.

    `pattern` must match the whole value. With `choices` the value is one of their names, and the texts under it are
    further variables. `given` are further variables, too, which are empty unless this one has a value. `aliases` are
    other names, such as those of the vendor's images: one of them counts where the variable's own name is not given.
    With `block` the value may be a block of YAML in its text, as sconectl needs texts of several lines.
    """

    meaning: Text
    default: Text
    pattern: Annotated[str, PlainValidator(_pattern, json_schema_input_type=str)] = ".+"
    choices: dict[str, TextsByName] = Field(default_factory=dict)
    given: TextsByName = Field(default_factory=dict)
    aliases: Texts = ()
    block: Switch = False

    @property
    def takes(self) -> str:
        """The values that it takes, in words."""
        return f"one of {', '.join(self.choices)}" if self.choices else f"what matches {self.pattern}"

    def fits(self, value: str) -> bool:
        """Whether the variable takes this value; one that is not known yet passes."""
        if has_hole(value):
            return not self.choices
        return value in self.choices if self.choices else re.fullmatch(self.pattern, value) is not None


class Description(Manifest):
    """`entry.yaml`: which images the entry is for, and its variables.

    `image` is the last part of the repository, `tags` are patterns with `*` for what the entry was made for, `unfit`
    are patterns of versions that cannot work, each with its reason. `fixed` are variables that have to have
    one value for this service, whatever the mesh says: the port that the chart opens, the number of replicas.
    `advice`: for variables of the vendor's image that the entry does not have, what to do instead. `secrets`: names of
    secrets in the vendor's image, and what they are called here.
    """

    description: Text
    image: Text
    tags: Texts
    unfit: TextsByName = Field(default_factory=dict)
    variables: dict[str, Variable] = Field(default_factory=dict)
    fixed: TextsByName = Field(default_factory=dict)
    advice: TextsByName = Field(default_factory=dict)
    secrets: TextsByName = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry, as its files say it. `manifest`, `policy`, `values` are texts with `{{service}}` and `{{host}}`.

    `name` is its folder's, `folder` where `copy` of its manifest is relative to; `files` names the files in errors.
    """

    name: str
    folder: str
    files: str
    description: Description
    manifest: str = field(repr=False)
    policy: str | None = field(default=None, repr=False)
    values: str | None = field(default=None, repr=False)

    def suits(self, *, image: str, tag: str) -> bool:
        """Whether the entry was made for an image of this name and tag; a tag that is not known yet suits."""
        return image == self.description.image and (
            has_hole(tag) or any(fnmatchcase(tag, pattern) for pattern in self.description.tags)
        )

    def unfit(self, tag: str) -> str | None:
        """Why the entry cannot work with this version, where it knows that."""
        found = (why for pattern, why in self.description.unfit.items() if fnmatchcase(tag, pattern))
        return next(found, None)


@dataclass(frozen=True, kw_only=True)
class Curated:
    """An entry for one service of a mesh: its manifest, policy template, chart values, and variables.

    `folder` is where `copy` of the manifest is relative to. `warnings`: what is uncertain about the image's version.
    """

    manifest: ServiceManifest
    folder: str
    description: Description
    policy: Document | None = None
    values: Document | None = None
    warnings: tuple[str, ...] = ()
