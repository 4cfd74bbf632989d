"""Volumes of a session: encrypted file systems, kept here or shared by another session of the same CAS (section 4)."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from scone_policy.errors import RuleError
from scone_policy.forms.canonical import keyed, present
from scone_policy.model.secret_sharing import spread
from scone_policy.syntax.names import SessionReference
from scone_policy.syntax.problems import Problem, at, refusal
from scone_policy.syntax.scalars import (
    PLACEHOLDER,
    Bytes16,
    Model,
    PrintableName,
    Printed,
    lower_hex,
    matching,
    one_of,
    optional,
)

DEFAULT_UPDATE_POLICY = "rollback_protected"
UPDATE_POLICIES = (DEFAULT_UPDATE_POLICY, "ephemeral", "no_rollback_protection")
DEFAULT_FILES = "encrypted"

_session_hash = lower_hex(32)
_KEY = matching(
    f"[0-9a-fA-F]{{64}}|{PLACEHOLDER}",
    "must be 32 bytes in hex (64 digits), or a placeholder",
    fix="Copy the key again, whole, or name a binary secret of 32 bytes: $$SCONE::name$$.",
    trim=True,
)
_update_policy = one_of(*UPDATE_POLICIES)
_files = one_of(DEFAULT_FILES, "authenticated-only")


def _key(value: object) -> str:
    found = _KEY(value)
    return found if found.startswith("$$") else found.lower()


UpdatePolicy = Annotated[str | None, PlainValidator(optional(_update_policy), json_schema_input_type=str | None)]


class Receiver(Model):
    """The session that a volume is exported to, by name alone or by hash too."""

    session: SessionReference
    session_hash: Annotated[str | None, PlainValidator(optional(_session_hash), json_schema_input_type=str | None)] = (
        None
    )


class VolumeExport(Model):
    """One receiver of a volume. `update_policy` bounds what the importer may do; `volume_alias` is its name there."""

    to: Receiver
    update_policy: UpdatePolicy = None
    volume_alias: Annotated[PrintableName | None, Field()] = None

    def canonical(self) -> dict[str, object]:
        """What is said beside the receiver's name."""
        return present(
            session_hash=self.to.session_hash, update_policy=self.update_policy, volume_alias=self.volume_alias
        )


def _exports(value: object) -> object:
    """The wire form (one item or a list) or the canonical form (by receiver)."""
    if value is None:
        return ()
    if isinstance(value, Mapping) and all(item is True or isinstance(item, Mapping) for item in value.values()):
        to = value.get("to")
        if not (isinstance(to, Mapping) and "session" in to):
            return [_long(receiver, item) for receiver, entry in value.items() for item in _several(entry)]
    return [_item(item) for item in (value if isinstance(value, list | tuple) else [value])]


def _several(entry: object) -> list[Mapping[str, object]]:
    if not isinstance(entry, Mapping):
        return [{}]
    if set(entry) == {"any"} and isinstance(entry["any"], Mapping):
        return [item if isinstance(item, Mapping) else {} for item in entry["any"].values()]
    return [entry]


def _long(receiver: object, entry: Mapping[str, object]) -> dict[str, object]:
    rest = {key: item for key, item in entry.items() if key != "session_hash"}
    to = {"session": receiver, **({"session_hash": entry["session_hash"]} if "session_hash" in entry else {})}
    return {**rest, "to": to}


def _item(item: object) -> object:
    """An export in its long form; `session` may stand without `to`, and a name without any key."""
    if isinstance(item, str):
        parts = spread(item)
        return {"to": parts if isinstance(parts, Mapping) else {"session": item}}
    if not isinstance(item, Mapping):
        raise RuleError(
            "must be a session, or a list of sessions or of maps with `to`",
            fix="Write `- to: {session: name}` for each.",
        )
    if "to" in item:
        to = item["to"]
        return {**item, "to": spread({"session": to} if isinstance(to, str) else to)}
    found = spread(item)
    assert isinstance(found, Mapping)
    rest = {key: part for key, part in found.items() if key not in ("session", "session_hash")}
    return {**rest, "to": {key: found[key] for key in ("session", "session_hash") if key in found}}


class VolumeImport(Model):
    """A volume of another session of the same CAS."""

    session: SessionReference
    volume: PrintableName

    @model_validator(mode="before")
    @classmethod
    def _spelt_in_one_line(cls, data: object) -> object:
        found = spread(data)
        if isinstance(found, str):
            rule = "must name a session and its volume"
            raise RuleError(rule, fix="Write {session: name, volume: name}, or /session=name,volume=name.")
        if isinstance(found, Mapping) and (foreign := sorted({"cas_url", "cas_key", "cas_software_key"} & set(found))):
            rule = "volumes are shared on the same CAS only"
            raise refusal(*(Problem(path=(key,), rule=rule, fix="Leave it out.") for key in foreign))
        return found


class Volume(Model):
    """One volume. Without key and tag CAS initialises it on first use."""

    fspf_key: Annotated[str | None, PlainValidator(optional(_key), json_schema_input_type=str | None)] = Field(
        default=None, repr=False
    )
    fspf_tag: Bytes16 = None
    files: Annotated[str | None, PlainValidator(optional(_files), json_schema_input_type=str | None)] = None
    update_policy: UpdatePolicy = None
    export: Annotated[tuple[VolumeExport, ...], BeforeValidator(_exports, json_schema_input_type=Any)] = ()
    import_: VolumeImport | None = Field(default=None, alias="import")
    persistency: Printed = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.import_ is not None:
            for key in ("fspf_key", "fspf_tag", "export"):
                if getattr(self, key):
                    raise at(f"an imported volume has no {key} of its own", key, fix="Leave it out, or the import.")
        if (self.fspf_key is None) != (self.fspf_tag is None):
            given = "fspf_key" if self.fspf_tag is None else "fspf_tag"
            rule = "fspf_key and fspf_tag belong together"
            raise at(rule, given, fix="Give both, or neither: then CAS makes them.")
        return self

    def canonical(self) -> dict[str, object]:
        """Map form: receivers by name, defaults left out."""
        return present(
            fspf_key=self.fspf_key,
            fspf_tag=self.fspf_tag,
            files=None if self.files == DEFAULT_FILES else self.files,
            update_policy=None if self.update_policy == DEFAULT_UPDATE_POLICY else self.update_policy,
            export=_export_map(self.export),
            **{"import": self.import_.model_dump() if self.import_ is not None else None},
        )


def _export_map(exports: tuple[VolumeExport, ...]) -> dict[str, object]:
    by_receiver: dict[str, list[dict[str, object]]] = {}
    for export in exports:
        entry = export.canonical()
        entries = by_receiver.setdefault(export.to.session, [])
        if entry not in entries:
            entries.append(entry)
    found: dict[str, object] = {}
    for receiver, entries in by_receiver.items():
        found[receiver] = {"any": {key: one or True for key, one in keyed(entries).items()}}
        if len(entries) == 1:
            found[receiver] = entries[0] or True
    return found
