"""Access policy of a session: who may read it, replace it, and create sessions below it (section 6)."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import PlainValidator

from scone_policy.canonical import present, short_digest
from scone_policy.holes import has_hole
from scone_policy.keyhash import is_key_hash
from scone_policy.scalars import Model, text

CREATOR, ANY, NONE = "CREATOR", "ANY", "NONE"

_KEY_HASH = re.compile("[1-9A-HJ-NP-Za-km-z]{40,60}")
_PEM = re.compile(r"\s*-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")


def _entry(value: object) -> str:
    """One entry: CREATOR, ANY, NONE, a key hash, or a PEM certificate in its one spelling."""
    if isinstance(value, Mapping):
        names = ", ".join(sorted(str(key) for key in value)) or "an empty map"
        raise ValueError(f"the entry {names} is not supported yet")  # noqa: TRY004
    found = text(value).strip()
    if has_hole(found) or found in (CREATOR, ANY, NONE) or is_key_hash(found):
        return found
    if _KEY_HASH.fullmatch(found):
        raise ValueError("looks like a key hash, but its checksum is wrong: copy it again, whole")
    if found.startswith("$$SCONE::"):
        raise ValueError("a placeholder in the access policy is not supported yet")
    if match := _PEM.fullmatch(found):
        return _certificate(match.group(1))
    raise ValueError("each entry must be CREATOR, ANY, NONE, a certificate's key hash, or a PEM certificate")


def _certificate(body: str) -> str:
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error:
        raise ValueError("a PEM certificate is damaged: its body is not base64") from None
    lines = re.findall(".{1,64}", base64.b64encode(der).decode())
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def _entries(value: object) -> tuple[str, ...] | None:
    """The wire form (a list) or the canonical form (a map by entry, or by short digest of a certificate)."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        found = [_entry(key if item is True else item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        found = [_entry(item) for item in value]
    else:
        raise ValueError("must be a list of entries")  # noqa: TRY004
    unique = tuple(sorted(set(found)))
    if not unique:
        raise ValueError("must not be empty: say NONE when nobody may")
    for alone in (ANY, NONE):
        if alone in unique and len(unique) > 1:
            raise ValueError(f"{alone} must stand alone")
    return unique


def _or_creator(value: object) -> tuple[str, ...]:
    return _entries(value) or (CREATOR,)


Entries = Annotated[tuple[str, ...], PlainValidator(_or_creator, json_schema_input_type=Any)]
OptionalEntries = Annotated[tuple[str, ...] | None, PlainValidator(_entries, json_schema_input_type=Any)]


class AccessPolicy(Model):
    """Who may do what; `create_sessions` and `list_sessions` are None where they follow `update` and `read`."""

    read: Entries = (CREATOR,)
    update: Entries = (CREATOR,)
    create_sessions: OptionalEntries = None
    list_sessions: OptionalEntries = None

    @property
    def may_create_sessions(self) -> tuple[str, ...]:
        """Who may create sessions in this namespace, the default filled in."""
        return self.update if self.create_sessions is None else self.create_sessions

    @property
    def may_list_sessions(self) -> tuple[str, ...]:
        """Who may list the sessions of this namespace, the default filled in."""
        return self.read if self.list_sessions is None else self.list_sessions

    def canonical(self) -> dict[str, object]:
        """Map form: entries as keys; what only repeats a default is left out."""
        return present(
            read=_map(self.read),
            update=_map(self.update),
            create_sessions=None if self.may_create_sessions == self.update else _map(self.may_create_sessions),
            list_sessions=None if self.may_list_sessions == self.read else _map(self.may_list_sessions),
        )


def _map(entries: tuple[str, ...]) -> dict[str, object]:
    found: dict[str, object] = {}
    for number, entry in enumerate(entries):
        if has_hole(entry):
            found[f"unknown-{number}"] = entry
        elif entry.startswith("-----"):
            found[short_digest(entry)] = entry
        else:
            found[entry] = True
    return found
