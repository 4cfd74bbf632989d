"""Whether the secrets of an upload could be made when they are asked for; nothing is fetched to find out."""

from scone_cas.errors import Reason, Refusal
from scone_cas.keys import signing_keys
from scone_cas.secrets import tokens
from scone_cas.secrets.definitions import in_words, place
from scone_cas.secrets.dependencies import HeldSecret, SecretValues
from scone_cas.secrets.value import CERTIFICATES
from scone_cas.sessions.snapshot import SessionSnapshot

NEVER_PUBLIC = "an aad-token cannot be public"


def check(values: SecretValues, live: SessionSnapshot, name: str, held: HeldSecret | None) -> None:
    """Raises Refusal when a secret could not be made. `held`: what the key store holds of it."""
    secret = live.session.secrets[name]
    if held is not None:
        with in_words(live, name):
            _check_held(values, live, name, held)
        return
    if secret.import_ is not None:
        return
    if secret.kind == "public-key" or (secret.kind in CERTIFICATES and secret.value is not None):
        values.own_value(live, name)
    elif secret.kind == "jwt":
        tokens.signer(values, live, name)
    elif secret.kind == "aad-token":
        if secret.export_public is True:
            raise Refusal(Reason.INVALID, f"{place(live, name)}: {NEVER_PUBLIC}")
        tokens.token_request(values, live, name)


def _check_held(values: SecretValues, live: SessionSnapshot, name: str, held: HeldSecret) -> None:
    secret = live.session.secrets[name]
    if not secret.is_generated:
        raise ValueError("is held by the CAS's key store, so that it takes neither value nor import")
    if held.kind == "private-key" and secret.export_public is True:
        raise ValueError("is a key in the CAS's key store, which cannot be public")
    if secret.kind != held.kind:
        raise ValueError(f"is held by the CAS's key store as {held.kind}, not {secret.kind}")
    if held.kind == "private-key" and secret.key_type is not None:
        found = signing_keys.key_type(values.signing_key(live, name))
        if found != secret.key_type:
            raise ValueError(f"key_type is {secret.key_type}, and the key in the CAS's key store is {found}")
    values.own_value(live, name)
