"""Where CAS keeps the secrets of a session: its own store, or an Azure Key Vault (section 3, secret_config)."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from scone_policy.errors import RuleError
from scone_policy.forms.canonical import present
from scone_policy.syntax.scalars import Model, Text

CAS, AKV = "cas", "akv"


class KeyVault(Model):
    """An Azure Key Vault, opened with an aad-token secret of the session."""

    token: Text
    vault: Text


def _store(value: object) -> object:
    """`!cas` and `!akv {…}` as the reader gives them: `cas` and `{akv: {…}}`."""
    if value in (None, CAS, {CAS: None}):
        return None
    if isinstance(value, Mapping) and set(value) == {AKV} and value[AKV] is not None:
        return value[AKV]
    raise RuleError("must be !cas, or !akv with token and vault", fix="Write `!cas`, or `!akv {token: …, vault: …}`.")


class SecretConfig(Model):
    """Section `secret_config`; `store_in` is None where CAS itself keeps the secrets."""

    store_in: Annotated[KeyVault | None, BeforeValidator(_store, json_schema_input_type=Any)] = None

    @model_validator(mode="before")
    @classmethod
    def _none(cls, data: object) -> object:
        return {} if data is None else data

    def canonical(self) -> dict[str, object]:
        """Map form, the default left out."""
        if self.store_in is None:
            return {}
        return {"store_in": {AKV: present(token=self.store_in.token, vault=self.store_in.vault)}}
