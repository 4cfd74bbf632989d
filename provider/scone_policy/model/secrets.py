"""Secrets of a session: generated inside CAS, given, or imported; and who else receives them (section 3)."""

from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, ValidationError, model_validator

from scone_policy.forms.canonical import present
from scone_policy.keys import pem
from scone_policy.model import secret_kinds
from scone_policy.model.secret_fields import (
    Akv,
    Algorithm,
    CommonName,
    DnsNames,
    Duration,
    Endpoint,
    KeyType,
    Kind,
    Payload,
    Sans,
    Thumbprint,
    Uuid,
)
from scone_policy.model.secret_kinds import DEFAULT_KEY_TYPE, DEFAULT_SIZE, KINDS, MAX_SIZE
from scone_policy.model.secret_sharing import Export, Exports, Import, export_map
from scone_policy.model.sets import member_map
from scone_policy.syntax import config_fragments
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.problems import Problem, at, problem_at, refusal
from scone_policy.syntax.scalars import Model, OptionalText, OptionalWhole, Switch, optional, text

__all__ = ["DEFAULT_SIZE", "MAX_SIZE", "Export", "Import", "Secret", "Validity"]


_SIZED = ("ascii", "binary")
_BESIDE_IMPORT = frozenset({"private_key", "migrate"})
_MAY_BE_EMPTY = frozenset({"tenant_id", "client_id"})
"""Keys whose null is the empty text, not an absent key: a variable without a value leaves them so."""


class Validity(Model):
    """How long a jwt is valid from the moment it is made."""

    for_: Annotated[str, PlainValidator(secret_kinds.duration, json_schema_input_type=str)] = Field(alias="for")


class Secret(Model):
    """One secret. `kind` is None only for an import that does not say it; `size` is None where nothing is generated.

    `value` is the given value in its one spelling; that of a config-fragment is JSON text, in the canonical form under
    `value_json`. The keys of `import_akv` are the vendor's; only a real CAS knows them.
    """

    kind: Kind = None
    size: OptionalWhole = None
    value: Annotated[Any, Field(repr=False)] = None
    value_json: Annotated[str | None, PlainValidator(optional(text), json_schema_input_type=str)] = Field(
        default=None, repr=False, exclude=True
    )
    import_: Import | None = Field(default=None, alias="import")
    import_akv: Akv = None
    export: Exports = ()
    export_public: Switch = False
    key_type: KeyType = None
    migrate: Switch = False
    private_key: OptionalText = Field(default=None, repr=False)
    issuer: OptionalText = None
    common_name: CommonName = None
    endpoint: Endpoint = None
    dns: DnsNames = ()
    san: Sans = ()
    valid_for: Duration = None
    tenant_id: Uuid = None
    client_id: Uuid = None
    application_secret: OptionalText = Field(default=None, repr=False)
    certificate_thumbprint: Thumbprint = None
    signer: OptionalText = None
    alg: Algorithm = None
    validity: Validity | None = None
    payload: Payload = None

    @model_validator(mode="before")
    @classmethod
    def _first_dns_name(cls, data: object) -> object:
        """Order on paper decides which DNS name is the common name: written out, so that order loses its meaning."""
        if not isinstance(data, Mapping) or data.get("common_name") is not None or data.get("kind") != "x509":
            return data
        if any(data.get(key) is not None for key in ("value", "import", "import_akv")):
            return data
        names = _texts(data["dns"]) if data.get("dns") else _dns_names(data.get("san"))
        first = names[0].rstrip(".") if len(set(names)) > 1 else ""
        return {**data, "common_name": first} if 1 <= len(first) <= secret_kinds.MAX_COMMON_NAME else data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.import_ is not None and self.import_akv is not None:
            raise at("import and import_akv exclude each other", "import_akv", fix="Keep one of them.")
        if self.value_json is not None:
            object.__setattr__(self, "value", config_fragments.load(self.value_json))
        if self.kind is None and self.import_ is None:
            raise at("the required key kind is missing", "kind", fix=f"Add one of {', '.join(sorted(KINDS))}.")
        stated = [key for key in _PARAMETERS if getattr(self, key) not in (None, (), False)]
        if self.import_ is not None or self.import_akv is not None:
            self._imported(stated)
        elif self.kind is not None and not has_hole(self.kind):
            self._of_kind(self.kind, stated)
        elif self.value is not None:
            object.__setattr__(self, "value", text(self.value))
        return self

    def _imported(self, stated: list[str]) -> None:
        if self.value is not None:
            rule = "an imported secret has neither value nor size of its own"
            raise at(rule, "value", fix="Keep the value, or the import.")
        if self.kind is None or has_hole(self.kind):
            foreign, words = stated, "does not belong to an imported secret"
        else:
            keys, words = KINDS[self.kind].keys, f"does not belong to a secret of kind {self.kind}"
            sized = ["size"] if self.size is not None and self.kind not in _SIZED else []
            foreign = [*sized, *(key for key in stated if key not in keys)]
        if foreign:
            raise _foreign(foreign, words)

    def _of_kind(self, kind: str, stated: list[str]) -> None:
        rules = KINDS[kind]
        if self.value_json is not None and kind != "config-fragment":
            raise at("value_json belongs to a config-fragment", "value_json", fix="Write value.")
        if foreign := [key for key in stated if key not in rules.keys]:
            raise _foreign(foreign, f"does not belong to a secret of kind {kind}")
        null = kind == "config-fragment" and {"value", "value_json"} & self.model_fields_set
        if self.value is not None or null:
            object.__setattr__(self, "value", self._checked_value(kind))
            object.__setattr__(self, "size", None)
            return
        if kind == "config-fragment":
            raise at("a config-fragment needs value or import: CAS cannot generate one", fix="Add one of the two.")
        for key in _MAY_BE_EMPTY.intersection(rules.needs, self.model_fields_set):
            if getattr(self, key) is None:
                object.__setattr__(self, key, "")
        if missing := [key for key in rules.needs if getattr(self, key) is None]:
            needed = ", ".join(missing)
            raise at(f"a secret of kind {kind} needs {needed}", fix=f"Add {needed}.")
        for check in (_sized, _x509, _aad, _public):
            check(self, kind)

    def _checked_value(self, kind: str) -> object:
        try:
            return secret_kinds.check_value(kind, self.value, self.size)
        except ValueError as error:
            key = "value" if self.value_json is None else "value_json"
            raise refusal(problem_at((key,), error)) from None

    @property
    def ignored(self) -> tuple[str, ...]:
        """Keys that say how CAS would make the value, where it does not make it: documents of the field hold some."""
        if self.is_generated:
            return ()
        stated = [key for key in ("size", *_PARAMETERS) if getattr(self, key) not in (None, (), False)]
        meant = KINDS[self.kind].with_value if self.kind is not None and not has_hole(self.kind) else frozenset()
        meant = meant if self.value is not None else meant & _BESIDE_IMPORT
        return tuple(key for key in stated if key not in meant)

    @property
    def is_generated(self) -> bool:
        """True when CAS makes the value."""
        return self.value is None and self.import_ is None and self.import_akv is None

    def canonical(self) -> dict[str, object]:
        """Map form: receivers by name, defaults left out, `size` filled in where CAS generates."""
        is_fragment = self.kind == "config-fragment"
        found = present(
            kind=self.kind,
            size=self.size,
            value_json=self.value if is_fragment else None,
            **{"import": self.import_.canonical() if self.import_ is not None else None},
            import_akv=self.import_akv,
            export=export_map(self.export),
            export_public=self.export_public or None,
            key_type=None if self.key_type == DEFAULT_KEY_TYPE else self.key_type,
            migrate=self.migrate or None,
            private_key=self.private_key,
            issuer=self.issuer,
            common_name=self.common_name,
            endpoint=self.endpoint,
            dns=member_map(self.dns),
            san=member_map(self.san),
            valid_for=self.valid_for,
            tenant_id=self.tenant_id,
            client_id=self.client_id,
            application_secret=self.application_secret,
            certificate_thumbprint=self.certificate_thumbprint,
            signer=self.signer,
            alg=self.alg,
            validity={"for": self.validity.for_} if self.validity is not None else None,
            payload=self.payload,
        )
        if not is_fragment and self.value is not None:
            found["value"] = self.value
        return found


_PARAMETERS = tuple(
    name
    for name in Secret.model_fields
    if name not in ("kind", "size", "value", "value_json", "import_", "import_akv", "export", "export_public")
)


def _foreign(keys: list[str], rule: str) -> ValidationError:
    """All keys that have no place there, each with the rule."""
    return refusal(*(Problem(path=(key,), rule=f"{key} {rule}", fix="Leave it out.") for key in keys))


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def _dns_names(san: object) -> list[str]:
    return [name.removeprefix("dns:") for name in _texts(san) if name.startswith("dns:")]


def _sized(secret: Secret, kind: str) -> None:
    if kind not in _SIZED:
        if secret.size is not None:
            raise _foreign(["size"], f"does not belong to a secret of kind {kind}")
    elif secret.size is None:
        object.__setattr__(secret, "size", DEFAULT_SIZE)
    elif isinstance(secret.size, int) and not 1 <= secret.size <= MAX_SIZE:
        raise at(f"size must be between 1 and {MAX_SIZE}", "size", fix=f"Leave it out for {DEFAULT_SIZE}.")


def _x509(secret: Secret, kind: str) -> None:
    if kind == "x509" and secret.endpoint == "client" and (secret.dns or secret.san):
        raise at(
            "dns and san do not go with endpoint: client",
            "dns" if secret.dns else "san",
            fix="Give common_name instead, or leave endpoint out.",
        )


def _aad(secret: Secret, kind: str) -> None:
    if kind != "aad-token":
        return
    certified = secret.private_key is not None and secret.certificate_thumbprint is not None
    half = (secret.private_key is None) != (secret.certificate_thumbprint is None)
    if half or certified == (secret.application_secret is not None):
        rule = "an aad-token needs either application_secret or private_key with certificate_thumbprint"
        given = (key for key in ("application_secret", "private_key", "certificate_thumbprint") if getattr(secret, key))
        raise at(rule, *islice(given, 1), fix="Give application_secret alone, or both of the others.")
    if secret.private_key is not None:
        try:
            secret_kinds.token_key(secret.private_key)
        except ValueError as error:
            raise refusal(problem_at(("private_key",), error)) from None


def _public(secret: Secret, kind: str) -> None:
    """A key given by name must be named as secrets are."""
    if kind in ("public-key", "x509", "x509-ca") and (secret.private_key or "").startswith(
        f"-----BEGIN {pem.PRIVATE_KEY}"
    ):
        rule = "private_key must name a private-key secret of this session"
        raise at(rule, "private_key", fix="Add a secret of kind private-key with this value, and name it here.")
