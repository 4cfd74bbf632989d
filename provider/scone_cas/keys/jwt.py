"""JSON Web Tokens (RFC 7515, 7519): those of jwt secrets, and the assertions that CAS itself signs in with."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec

from scone_cas.keys.signing_keys import sign_es384


def jwt(payload: Mapping[str, str], *, key: ec.EllipticCurvePrivateKey, now: datetime, seconds: int) -> bytes:
    """A token of a jwt secret, signed by a P-384 key, valid from now on for so many seconds."""
    begin = int(now.timestamp())
    claims = {**payload, "iat": begin, "nbf": begin, "exp": begin + seconds}
    return compact({"alg": "ES384", "typ": "JWT"}, claims, lambda message: sign_es384(key, message))


def compact(header: Mapping[str, object], claims: Mapping[str, object], sign: Callable[[bytes], bytes]) -> bytes:
    """The compact serialisation (RFC 7515, section 7.1)."""
    message = _encoded(_json(header)) + b"." + _encoded(_json(claims))
    return message + b"." + _encoded(sign(message))


def _json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
