"""Secrets shared between sessions: exports, imports, and their one-line spelling (section 3, Sharing)."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, PlainValidator, model_validator

from scone_policy.errors import RuleError
from scone_policy.forms.canonical import ELSEWHERE, keyed, present
from scone_policy.keys.key_hash import is_key_hash
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.names import SessionReference
from scone_policy.syntax.placeholders import is_reference
from scone_policy.syntax.problems import at
from scone_policy.syntax.scalars import Model, OptionalText, Segment, lower_hex, optional, text
from scone_policy.syntax.yaml_source import Number

_session_hash = lower_hex(32)
_cas_key = lower_hex(32)
_ONE_LINE_KEYS = frozenset({"cas_key", "cas_software_key", "session", "session_hash", "namespace", "secret", "volume"})
_ONE_LINE = "Write host/cas_key=…,session=… or /session=…, or the parts as keys of a map."
_CAS_KEYS = ("cas_url", "cas_key", "cas_software_key")
_WAYS = frozenset({"session", "namespace", "session_hash", "namespace_hash", ELSEWHERE})


def one_line(value: str) -> dict[str, object] | None:
    """The parts of `host/cas_key=…,session=…` or `/session=…,session_hash=…`; None for any other text.

    Raises RuleError for an unknown or repeated part, and for a relative name, which this spelling does not take.
    """
    if re.match("https?://[^/]*/[a-z_]+=", value):
        raise RuleError("a one-line reference begins with the host: leave out https://", fix="Begin it with the host.")
    host, slash, rest = value.partition("/")
    if not slash or not re.match("[a-z_]+=", rest):
        return None
    found: dict[str, object] = {"cas_url": host} if host else {}
    for part in rest.split(","):
        key, equals, item = part.partition("=")
        if key not in _ONE_LINE_KEYS or not equals or not item:
            raise RuleError("a one-line reference must look like host/cas_key=…,session=… or /session=…", fix=_ONE_LINE)
        if key in found:
            raise RuleError(f"{key} stands twice in a one-line reference", fix="Keep one of them.")
        if key in ("session", "namespace") and item.startswith("."):
            raise RuleError("a one-line reference takes no relative name", fix="Write the full name.")
        found[key] = item
    return found


def spread(value: object) -> object:
    """A map whose `session` or `namespace` is a one-line reference, or such a text alone, its parts as keys of the map.

    Under `namespace` the session that the reference names is the one of the namespace.
    """
    if isinstance(value, str):
        return one_line(value) or value
    if not isinstance(value, Mapping):
        return value
    found = dict(value)
    for way in ("session", "namespace"):
        written = value.get(way)
        parts = one_line(written) if isinstance(written, str) else None
        if parts is None:
            continue
        if way == "namespace" and "namespace" not in parts:
            parts = {way if key == "session" else key: item for key, item in parts.items()}
        del found[way]
        if double := sorted(key for key in parts if found.get(key) is not None):
            raise RuleError(f"{double[0]} stands both beside the one-line reference and in it", fix="Keep one of them.")
        found |= parts
    return found


def _key(value: object) -> str:
    """A CAS's key: Base58Check as its identification prints it, or 32 bytes in hex."""
    found = text(value).strip()
    if has_hole(found) or is_key_hash(found) or is_reference(found):
        return found
    try:
        return _cas_key(found)
    except ValueError:
        raise RuleError(
            "must be the key of a CAS: its key hash, or 32 bytes in hex (64 digits)",
            fix="Copy it again, whole, from `scone cas show-identification -c`.",
        ) from None


CasKey = Annotated[str | None, PlainValidator(optional(_key), json_schema_input_type=str | None)]


class Export(Model):
    """One receiver of a secret: a session, or all sessions of a namespace; by name alone, or by hash too.

    With `cas_key` or `cas_software_key` a receiver of the CAS with that key, at `cas_url`; else of the own CAS.
    """

    session: SessionReference | None = None
    namespace: SessionReference | None = None
    session_hash: Annotated[str | None, PlainValidator(optional(_session_hash), json_schema_input_type=str | None)] = (
        None
    )
    cas_url: OptionalText = None
    cas_key: CasKey = None
    cas_software_key: CasKey = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.session is None) == (self.namespace is None):
            fix = "Add one of the two: `session: name`." if self.session is None else "Keep one of the two."
            raise RuleError("an export must name either a session or a namespace", fix=fix)
        if self.cas_key is not None and self.cas_software_key is not None:
            rule = "cas_key and cas_software_key exclude each other"
            raise at(rule, "cas_software_key", fix="Keep one: another CAS is known by one key.")
        if self.cas_url is not None and not self.is_elsewhere:
            rule = "cas_url needs cas_key or cas_software_key: another CAS is known by its key"
            raise at(rule, "cas_url", fix="Add cas_key: what `scone cas show-identification -c` prints of that CAS.")
        return self

    @property
    def is_elsewhere(self) -> bool:
        """True for a receiver of another CAS."""
        return self.cas_key is not None or self.cas_software_key is not None


def _exports(value: object) -> object:
    """The wire form (one receiver or a list of them) or the canonical form (`{receiver: {session: true}}`).

    A receiver is a map, a one-line reference, or the name of a session alone, as volumes have it.
    """
    if value is None:
        return ()
    if isinstance(value, Mapping) and all(isinstance(item, Mapping) for item in value.values()):
        return _from_canonical(value)
    found = [_receiver(item) for item in (value if isinstance(value, list | tuple) else [value])]
    if not all(isinstance(item, Mapping) for item in found):
        raise RuleError(
            "must be a map or a list of maps, each with session or namespace", fix="Write `- session: name` for each."
        )
    return found


def _receiver(item: object) -> object:
    found = spread(item)
    return {"session": found} if isinstance(found, str) and not isinstance(found, Number) else found


def _from_canonical(value: Mapping[str, Mapping[str, object]]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for receiver, ways in value.items():
        if not ways or set(ways) - _WAYS:
            raise RuleError(
                "an export must be one of session, namespace, session_hash, namespace_hash, cas",
                fix="Write a list of maps, each with session or namespace.",
            )
        found += _of_receiver(receiver, ways)
        elsewhere = ways.get(ELSEWHERE)
        for other in elsewhere.values() if isinstance(elsewhere, Mapping) else ():
            if isinstance(other, Mapping):
                cas = {key: other[key] for key in _CAS_KEYS if key in other}
                found += [{**one, **cas} for one in _of_receiver(receiver, other)]
    return found


def _of_receiver(receiver: str, ways: Mapping[str, object]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for way in ("session", "namespace"):
        found += [{way: receiver}] if ways.get(way) is True else []
        hashes = ways.get(f"{way}_hash") or {}
        items = hashes.values() if isinstance(hashes, Mapping) else [hashes]
        found += [{way: receiver, "session_hash": item} for item in items]
    return found


def export_map(exports: tuple[Export, ...]) -> dict[str, dict[str, object]]:
    """The canonical form: receivers by name, `session` or `namespace` true where the name alone is trusted."""
    found: dict[str, dict[str, object]] = {}
    hashes: dict[tuple[str, str], set[str]] = {}
    elsewhere: dict[str, list[dict[str, object]]] = {}
    for export in exports:
        receiver = export.session or export.namespace or ""
        if export.is_elsewhere:
            here = export.model_copy(update=dict.fromkeys(_CAS_KEYS))
            ways = {**export_map((here,))[receiver], **present(**{key: getattr(export, key) for key in _CAS_KEYS})}
            elsewhere.setdefault(receiver, []).append(ways)
            continue
        way = "session" if export.namespace is None else "namespace"
        if export.session_hash is None:
            found.setdefault(receiver, {})[way] = True
        else:
            hashes.setdefault((receiver, way), set()).add(export.session_hash)
    for (receiver, way), values in hashes.items():
        one = next(iter(values))
        found.setdefault(receiver, {})[f"{way}_hash"] = (
            one if len(values) == 1 else {item[:8]: item for item in sorted(values)}
        )
    for receiver, others in elsewhere.items():
        found.setdefault(receiver, {})[ELSEWHERE] = keyed(others)
    return found


Exports = Annotated[tuple[Export, ...], BeforeValidator(_exports, json_schema_input_type=Any)]


class Import(Model):
    """A secret of another session, of this CAS or of the one at `cas_url`, whose key must then be given."""

    session: SessionReference
    secret: Segment
    session_hash: Annotated[str | None, PlainValidator(optional(_session_hash), json_schema_input_type=str | None)] = (
        None
    )
    cas_url: OptionalText = None
    cas_key: CasKey = None
    cas_software_key: CasKey = None

    @model_validator(mode="before")
    @classmethod
    def _spelt_in_one_line(cls, data: object) -> object:
        return spread(data)

    @model_validator(mode="after")
    def _trusted(self) -> Self:
        keys = [key for key in (self.cas_key, self.cas_software_key) if key is not None]
        if self.cas_url is None and keys:
            given = "cas_key" if self.cas_key is not None else "cas_software_key"
            raise at("cas_key and cas_software_key belong to cas_url", given, fix="Add cas_url: host, or host:port.")
        if self.cas_url is not None and len(keys) != 1:
            rule = "cas_url needs cas_key or cas_software_key, one of them: another CAS is trusted by its key"
            raise at(rule, "cas_url", fix="Give cas_key: what `scone cas show-identification -c` prints of that CAS.")
        return self

    def canonical(self) -> dict[str, object]:
        """Map form, absent parts left out."""
        return present(**self.model_dump())
