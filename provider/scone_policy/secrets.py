"""Secrets of a session: generated inside CAS, given, or imported; and who else receives them (section 3)."""

import string
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from scone_policy.canonical import present
from scone_policy.holes import has_hole
from scone_policy.names import SessionName
from scone_policy.scalars import Model, NotYet, OptionalWhole, Segment, Switch, lower_hex, optional, text

KINDS = frozenset(
    {
        "ascii",
        "binary",
        "private-key",
        "public-key",
        "x509",
        "x509-ca",
        "aad-token",
        "config-fragment",
        "pgp-key",
        "jwt",
    }
)
SUPPORTED_KINDS = frozenset({"ascii", "binary"})
DEFAULT_SIZE = 20
MAX_SIZE = 64 * 1024

_session_hash = lower_hex(32)


def _kind(value: object) -> str:
    found = text(value)
    if has_hole(found) or found in SUPPORTED_KINDS:
        return found
    if found in KINDS:
        raise ValueError(f"kind {found} is not supported yet")
    raise ValueError(f"must be one of {', '.join(sorted(KINDS))}")


class Export(Model):
    """One receiver of a secret: a session, by name alone or by hash too, or all sessions of a namespace."""

    session: SessionName | None = None
    namespace: SessionName | None = None
    session_hash: Annotated[str | None, PlainValidator(optional(_session_hash), json_schema_input_type=str)] = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.session is None) == (self.namespace is None):
            raise ValueError("an export must name either a session or a namespace")
        if self.namespace is not None and self.session_hash is not None:
            raise ValueError("session_hash belongs to an export to a session")
        return self


def _exports(value: object) -> object:
    """The wire form (one map or a list of maps) or the canonical form (`{receiver: {session: true}}`)."""
    if value is None:
        return ()
    if isinstance(value, Mapping) and all(isinstance(item, Mapping) for item in value.values()):
        return _canonical_exports(value)
    found = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(item, Mapping) for item in found):
        raise ValueError("must be a map or a list of maps, each with session or namespace")
    return found


def _canonical_exports(value: Mapping[str, Mapping[str, object]]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for receiver, ways in value.items():
        if not ways or set(ways) - {"session", "namespace", "session_hash"}:
            raise ValueError("an export must be one of session, namespace, session_hash")
        found += [{way: receiver} for way in ("session", "namespace") if ways.get(way) is True]
        hashes = ways.get("session_hash") or {}
        items = hashes.values() if isinstance(hashes, Mapping) else [hashes]
        found += [{"session": receiver, "session_hash": item} for item in items]
    return found


class Import(Model):
    """A secret of another session of the same CAS."""

    session: SessionName
    secret: Segment
    cas_url: NotYet = None
    cas_key: NotYet = None
    cas_software_key: NotYet = None
    session_hash: NotYet = None


OfOtherKind = Annotated[Any, Field(default=None, repr=False)]
_OF_OTHER_KINDS = (
    "private_key",
    "key_type",
    "migrate",
    "issuer",
    "common_name",
    "endpoint",
    "dns",
    "san",
    "valid_for",
    "tenant_id",
    "client_id",
    "application_secret",
    "certificate_thumbprint",
    "signer",
    "alg",
    "validity",
    "payload",
)


class Secret(Model):
    """One secret. `kind` is None only for an import that does not say it; `size` is None where nothing is generated."""

    kind: Annotated[str | None, PlainValidator(optional(_kind), json_schema_input_type=str)] = None
    size: OptionalWhole = None
    value: Annotated[str | None, PlainValidator(optional(text), json_schema_input_type=str)] = Field(
        default=None, repr=False
    )
    import_: Import | None = Field(default=None, alias="import")
    export: Annotated[tuple[Export, ...], BeforeValidator(_exports)] = ()
    export_public: Switch = False
    import_akv: NotYet = None
    private_key: OfOtherKind = None
    key_type: OfOtherKind = None
    migrate: OfOtherKind = None
    issuer: OfOtherKind = None
    common_name: OfOtherKind = None
    endpoint: OfOtherKind = None
    dns: OfOtherKind = None
    san: OfOtherKind = None
    valid_for: OfOtherKind = None
    tenant_id: OfOtherKind = None
    client_id: OfOtherKind = None
    application_secret: OfOtherKind = None
    certificate_thumbprint: OfOtherKind = None
    signer: OfOtherKind = None
    alg: OfOtherKind = None
    validity: OfOtherKind = None
    payload: OfOtherKind = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if foreign := [key for key in _OF_OTHER_KINDS if getattr(self, key) is not None]:
            raise ValueError(f"{foreign[0]} does not belong to a secret of kind {self.kind or 'unknown'}")
        if self.import_ is not None:
            if self.value is not None or self.size is not None:
                raise ValueError("an imported secret has neither value nor size of its own")
            return self
        if self.kind is None:
            raise ValueError("the required key kind is missing")
        if self.value is not None:
            _check_value(self.kind, self.value, self.size)
            object.__setattr__(self, "size", None)
        elif self.size is None:
            object.__setattr__(self, "size", DEFAULT_SIZE)
        elif isinstance(self.size, int) and not 1 <= self.size <= MAX_SIZE:
            raise ValueError(f"size must be between 1 and {MAX_SIZE}")
        return self

    @property
    def is_generated(self) -> bool:
        """True when CAS makes the value."""
        return self.value is None and self.import_ is None

    def canonical(self) -> dict[str, object]:
        """Map form: receivers by name, defaults left out, `size` filled in where CAS generates."""
        return present(
            kind=self.kind,
            size=self.size,
            value=self.value,
            **{"import": self.import_.model_dump(exclude_none=True) if self.import_ is not None else None},
            export=_canonical_export_map(self.export),
            export_public=self.export_public or None,
        )


def _check_value(kind: str, value: str, size: int | str | None) -> None:
    if has_hole(value) or has_hole(kind):
        return
    if kind == "binary":
        if len(value) % 2 or set(value) - set(string.hexdigits):
            raise ValueError("the value of a binary secret must be hex, two digits a byte")
        found = len(value) // 2
    else:
        if not value.isascii():
            raise ValueError("the value of an ascii secret must hold ASCII characters only")
        found = len(value)
    if isinstance(size, int) and size != found:
        raise ValueError("size differs from the size of the given value: leave it out")


def _canonical_export_map(exports: tuple[Export, ...]) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    hashes: dict[str, set[str]] = {}
    for export in exports:
        receiver = export.session or export.namespace or ""
        ways = found.setdefault(receiver, {})
        if export.namespace is not None:
            ways["namespace"] = True
        elif export.session_hash is None:
            ways["session"] = True
        else:
            hashes.setdefault(receiver, set()).add(export.session_hash)
    for receiver, values in hashes.items():
        one = next(iter(values))
        found[receiver]["session_hash"] = one if len(values) == 1 else {item[:8]: item for item in sorted(values)}
    return found
