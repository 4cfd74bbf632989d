"""Tokens that are secrets: the JSON Web Token that CAS signs, and the request for one of Microsoft Entra."""

from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scone_cas.entra.client import Certified, TokenRequest
from scone_cas.errors import Reason, Refusal
from scone_cas.keys import jwt, signing_keys
from scone_cas.secrets.definitions import in_words, named, place
from scone_cas.secrets.dependencies import SecretValues
from scone_cas.secrets.encoding import spell
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_policy.model.secrets import Secret
from scone_policy.syntax import durations
from scone_policy.syntax.placeholders import SELF, Placeholder, is_reference, parts, resolve


def signed_token(values: SecretValues, live: SessionSnapshot, name: str, now: datetime) -> bytes:
    """A fresh JSON Web Token of a secret of kind jwt. Raises Refusal."""
    secret = live.session.secrets[name]
    assert secret.validity is not None
    key = signer(values, live, name)
    payload = {
        claim: _filled(values, live, f"{place(live, name)}: payload.{claim}", text)
        for claim, text in (secret.payload or {}).items()
    }
    return jwt.jwt(payload, key=key, now=now, seconds=durations.seconds(secret.validity.for_))


def signer(values: SecretValues, live: SessionSnapshot, name: str) -> ec.EllipticCurvePrivateKey:
    """The key that signs a secret of kind jwt. Raises Refusal."""
    with in_words(live, name, "signer"):
        named_key = named(live, live.session.secrets[name].signer)
        key = values.signing_key(live, named_key)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not signing_keys.is_p384(key):
            raise ValueError(f"ES384 needs a P-384 key, and {named_key} has another type")
        return key


def token_request(values: SecretValues, live: SessionSnapshot, name: str) -> TokenRequest:
    """What to ask Entra for, for a secret of kind aad-token, with the proof of who asks. Raises Refusal."""
    secret = live.session.secrets[name]
    proof: str | Certified
    if secret.application_secret is not None:
        where = f"{place(live, name)}: application_secret"
        proof = _filled(values, live, where, secret.application_secret)
    else:
        with in_words(live, name, "private_key"):
            proof = Certified(key=_rsa_key(values, live, secret), thumbprint=secret.certificate_thumbprint or "")
    return TokenRequest(tenant_id=secret.tenant_id or "", client_id=secret.client_id or "", proof=proof)


def _rsa_key(values: SecretValues, live: SessionSnapshot, secret: Secret) -> rsa.RSAPrivateKey:
    written = secret.private_key or ""
    key = values.signing_key(live, named(live, written)) if is_reference(written) else signing_keys.load_pem(written)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the key of an application's certificate must be RSA")  # noqa: TRY004
    return key


def _filled(values: SecretValues, live: SessionSnapshot, where: str, text: str) -> str:
    """The text with its placeholders filled in; what was put in is never looked at again."""
    kinds = {name: secret.kind for name, secret in live.session.secrets.items()}
    found = []
    for part in parts(text):
        if isinstance(part, Placeholder) and part.name == SELF:
            if values.measurement is None:
                raise Refusal(Reason.INVALID, f"{where}: {SELF} stands for the service that asks, and none does")
            found.append(values.measurement)
        elif isinstance(part, Placeholder):
            name, suffix = resolve(part, kinds)
            try:
                found.append(spell(values.value(live, name), suffix, escape_json=part.escape_json).decode())
            except UnicodeDecodeError:
                raise Refusal(Reason.INVALID, f"{where}: the secret {name} put in here is not text") from None
        else:
            found.append(part)
    return "".join(found)
