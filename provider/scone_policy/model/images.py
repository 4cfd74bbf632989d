"""Images of a session: the files that CAS injects into a service's container (section 5)."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator

from scone_policy.errors import RuleError
from scone_policy.forms.canonical import NO_SECRETS, present
from scone_policy.model.sets import elements, member_map
from scone_policy.model.volumes import UpdatePolicy
from scone_policy.syntax.holes import is_hole
from scone_policy.syntax.scalars import SEGMENT, Model, PrintableName, Printed, by_name, matching, optional, text

DEFAULT_PERMISSION = 0o700

_path = matching(r"/[^\x00]*", "must be an absolute path", fix="Begin it with /.")


def _permission(value: object) -> int | str:
    """File mode bits: a number from Python, `0o600` on paper (a plain 600 would be decimal in YAML and is refused)."""
    if value is None:
        return DEFAULT_PERMISSION
    if is_hole(value):
        return str(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 0o777:
        return int(value)
    if isinstance(value, str) and re.fullmatch("0o[0-7]{1,3}", value):
        return int(value, 8)
    raise RuleError("must be an octal mode such as 0o600, at most 0o777", fix="Write 0o and three digits of 0 to 7.")


InjectionPath = Annotated[str, PlainValidator(_path, json_schema_input_type=str)]


class InjectionFile(Model):
    """One injected file. Without `content` the image's own file at this path is the template."""

    content: Annotated[str | None, PlainValidator(optional(text), json_schema_input_type=str)] = None
    permission: Annotated[int | str, PlainValidator(_permission, json_schema_input_type=str)] = DEFAULT_PERMISSION

    def canonical(self) -> dict[str, object]:
        """Map form, the mode in octal, the default mode left out."""
        mode = self.permission
        return present(
            content=self.content,
            permission=None if mode == DEFAULT_PERMISSION else f"0o{mode:o}" if isinstance(mode, int) else mode,
        )


class Mount(Model):
    """A volume at a path of the container. `update_policy` None means the volume's own."""

    name: PrintableName
    update_policy: UpdatePolicy = None
    persistency: Printed = Field(default=None, exclude=True)

    def canonical(self) -> dict[str, object]:
        """Map form. The policy stays even where it is the default: the volume may have another one."""
        return present(name=self.name, update_policy=self.update_policy)


def _provided(value: object) -> tuple[str, ...] | None:
    """None: every secret. An empty list: none of them; its one spelling in maps is the word none."""
    if value is None or value == NO_SECRETS:
        return None if value is None else ()
    return tuple(sorted(set(elements(value, _secret, "must be a list of secrets", fix="Write `[name, …]`."))))


_secret = matching(
    SEGMENT, "must name secrets: 1 to 128 letters, digits, or _ - . ~", fix="Give the name that stands under secrets."
)


class Image(Model):
    """What is laid into a container before the program starts.

    `provide_secrets` names the secrets that templates in the image's own files may hold; None means all of them.
    """

    injection_files: Annotated[dict[InjectionPath, InjectionFile], BeforeValidator(by_name("path", short="path"))] = (
        Field(default_factory=dict)
    )
    volumes: Annotated[dict[InjectionPath, Mount], BeforeValidator(by_name("path"))] = Field(default_factory=dict)
    provide_secrets: Annotated[
        tuple[str, ...] | None, PlainValidator(_provided, json_schema_input_type=list[str] | None)
    ] = None
    persistency: Printed = Field(default=None, exclude=True)

    def canonical(self) -> dict[str, object]:
        """Map form: files and volumes by path."""
        provided = self.provide_secrets
        return present(
            injection_files={path: file.canonical() for path, file in self.injection_files.items()},
            volumes={path: mount.canonical() for path, mount in self.volumes.items()},
            provide_secrets=NO_SECRETS if provided == () else member_map(provided or ()),
        )
