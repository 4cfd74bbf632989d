"""What a provider needs from outside at call time: keys and addresses, from the environment first, then stack config.

The engine keeps a copy of the stack config in the state, and uses the old one for refresh and destroy: so the
environment wins (docs/architecture.md, Providers 9).
"""

import base64
import binascii
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scone_provider.cas.identity import Identity, load_identity
from scone_provider.errors import SconeError

_NO_IDENTITY = "run `pulumi-scone identity create` once for this stack, or set SCONE_IDENTITY"
_NO_SIGNER = "give an Ed25519 or P-384 key in SCONE_SESSION_SIGNING_KEY, or in the secret `scone:sessionSigningKey`"
_NO_IMAGE_KEY = "run `pulumi-scone identity create` once for this stack, or set SCONE_IMAGE_KEY"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Keys and addresses of one stack operation. Nothing secret is in its repr."""

    identity_text: str | None = field(default=None, repr=False)
    image_key: bytes | None = field(default=None, repr=False)
    session_signer_text: str | None = field(default=None, repr=False)
    connect_to: Mapping[str, str] = field(default_factory=dict)
    mirrors: Mapping[str, str] = field(default_factory=dict)
    insecure_registries: frozenset[str] = frozenset()
    signing_key_text: str | None = field(default=None, repr=False)

    @classmethod
    def load(cls, config: Callable[[str], object], environ: Mapping[str, str] = os.environ) -> "Settings":
        """Settings from `environ` and, where that is silent, from the stack config (`config("scone:imageKey")`).

        Raises SconeError where a value has the wrong form; the text never holds the value.
        """
        identity = config("scone:identity")
        image_key = environ.get("SCONE_IMAGE_KEY") or config("scone:imageKey")
        session_signer = environ.get("SCONE_SESSION_SIGNING_KEY") or config("scone:sessionSigningKey")
        signing_key = environ.get("SCONE_SIGNING_KEY") or config("scone:signingKey")
        return cls(
            identity_text=str(identity) if identity else None,
            image_key=_image_key(str(image_key)) if image_key else None,
            session_signer_text=str(session_signer) if session_signer else None,
            connect_to=_pairs("scone:connectTo", config("scone:connectTo")),
            mirrors=_pairs(
                "scone:registryMirrors", environ.get("PULUMI_SCONE_REGISTRY_MIRRORS") or config("scone:registryMirrors")
            ),
            insecure_registries=_names("scone:insecureRegistries", config("scone:insecureRegistries")),
            signing_key_text=str(signing_key) if signing_key else None,
        )

    def identity(self) -> Identity:
        """The key pair that CAS knows us by. Raises SconeError when there is none: it is never made silently."""
        found = load_identity(os.environ, Path.home(), self.identity_text)
        if found is None:
            raise SconeError("there is no identity to talk to CAS with", where="scone:identity", fix=_NO_IDENTITY)
        return found

    def require_image_key(self) -> bytes:
        """The 32 bytes that image keys are derived from. Raises SconeError when there are none."""
        if self.image_key is None:
            raise SconeError("there is no image key to encrypt with", where="scone:imageKey", fix=_NO_IMAGE_KEY)
        return self.image_key

    def session_signer(self) -> Ed25519PrivateKey | ec.EllipticCurvePrivateKey:
        """The key that sessions are signed with: its own, or the identity's. Raises SconeError for unfit or no keys."""
        where = "scone:sessionSigningKey" if self.session_signer_text else "scone:identity"
        text = self.session_signer_text or self.identity().private_key_pem
        try:
            key = load_pem_private_key(text.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise SconeError("this is no private key in PEM without password", where=where, fix=_NO_SIGNER) from None
        if isinstance(key, Ed25519PrivateKey):
            return key
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1):
            return key
        raise SconeError("this key cannot sign sessions: it is neither Ed25519 nor P-384", where=where, fix=_NO_SIGNER)


def _image_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise SconeError("the image key is not 32 bytes in base64", where="scone:imageKey", fix=_NO_IMAGE_KEY)
    return key


def _pairs(key: str, value: object) -> dict[str, str]:
    """`a=b,c=d`, or a JSON object of texts (what structured stack config arrives as). Raises SconeError."""
    wrong = SconeError(
        "this is neither a=b,c=d nor a JSON object of strings", where=key, fix=f"pulumi config set {key} a=b"
    )
    found: object = value or {}
    if isinstance(found, str) and found.lstrip().startswith("{"):
        try:
            found = json.loads(found)
        except ValueError:
            raise wrong from None
    if isinstance(found, str):
        parts = [part.partition("=") for part in found.split(",") if part.strip()]
        found = {name: item for name, _, item in parts}
    if not isinstance(found, Mapping) or not all(isinstance(item, str | bool) for item in found.values()):
        raise wrong
    pairs = {str(name).strip(): _text(item) for name, item in found.items()}
    if not all(name and item for name, item in pairs.items()):
        raise wrong
    return pairs


def _text(value: str | bool) -> str:  # noqa: FBT001  what JSON has
    return str(value).lower() if isinstance(value, bool) else value.strip()


def _names(key: str, value: object) -> frozenset[str]:
    """The names in `a=true,b=true`: any other value is refused, because `a=false` must never mean `a`."""
    pairs = _pairs(key, value)
    if any(item != "true" for item in pairs.values()):
        raise SconeError(
            "only true can stand here", where=key, fix=f"pulumi config set {key} host:port=true, or leave it out"
        )
    return frozenset(pairs)
