"""Access tokens of Microsoft Entra for aad-token secrets: the client credentials flow (RFC 6749, section 4.4).

The authority's certificate is verified; redirects and proxies are not used; answers are bounded in time and size.
"""

import base64
import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from cachetools import FIFOCache
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scone_cas.entra.settings import EntraSettings
from scone_cas.errors import RequestError
from scone_cas.keys.jwt import compact
from scone_cas.keys.signing_keys import sign_ps256, sign_rs256

_TIME = 10.0
"""Seconds for the whole exchange."""
_LARGEST = 64 * 1024
_MARGIN = timedelta(minutes=5)
"""A token is asked for anew when less than this is left of it."""
_FAILED = timedelta(seconds=10)
"""How long a failure is remembered."""
_ASSERTED = timedelta(minutes=10)
_REMEMBERED = 256
_SHA1 = 20
_CODE = re.compile("[a-z_]{1,64}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}")


class TokenError(RequestError):
    """There is no token. The text says why, in one line without secrets."""


@dataclass(frozen=True, kw_only=True)
class Certified:
    """What proves a client by its certificate: the RSA key, and the certificate's SHA-1 or SHA-256 in hex."""

    key: rsa.RSAPrivateKey
    thumbprint: str


@dataclass(frozen=True, kw_only=True)
class TokenRequest:
    """Who asks for a token, by UUIDs; `proof` is the application's secret, or key and certificate."""

    tenant_id: str
    client_id: str
    proof: str | Certified = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """A token, or why there is none, and until when that is taken for true."""

    token: bytes = field(repr=False)
    problem: str
    until: datetime


class Entra:
    """Fetches tokens and remembers them while they are good. Safe for threads; to be made anew after a fork."""

    def __init__(self, settings: EntraSettings) -> None:
        self._settings = settings
        self._outcomes: FIFOCache[bytes, _Outcome] = FIFOCache(_REMEMBERED)
        self._fetching: dict[bytes, threading.Lock] = {}
        self._lock = threading.Lock()

    def knows(self, request: TokenRequest, *, now: datetime) -> bool:
        """Whether `token` would answer at once."""
        return self._known(_place(request), now) is not None

    def token(self, request: TokenRequest, *, now: datetime, nonce: str) -> bytes:
        """A token for the application, at most some ten seconds later. Raises TokenError.

        `nonce`: fresh and random, it makes the assertion of a certificate unique. A failure is remembered for a moment,
        so that an authority that is down is not waited for by everyone.
        """
        place = _place(request)
        with self._lock:
            fetching = self._fetching.setdefault(place, threading.Lock())
        with fetching:
            found = self._known(place, now) or self._remember(place, self._outcome(request, now, nonce))
        with self._lock:
            self._fetching.pop(place, None)
        if found.problem:
            raise TokenError(found.problem)
        return found.token

    def _known(self, place: bytes, now: datetime) -> _Outcome | None:
        with self._lock:
            found = self._outcomes.get(place)
        return found if found is not None and now < found.until else None

    def _remember(self, place: bytes, outcome: _Outcome) -> _Outcome:
        with self._lock:
            self._outcomes[place] = outcome
        return outcome

    def _outcome(self, request: TokenRequest, now: datetime, nonce: str) -> _Outcome:
        try:
            token, seconds = self._fetch(request, now, nonce)
        except TokenError as problem:
            return _Outcome(token=b"", problem=str(problem), until=now + _FAILED)
        # A token that was short-lived from the start is good for this one delivery.
        return _Outcome(token=token, problem="", until=now + max(timedelta(seconds=seconds) - _MARGIN, _FAILED))

    def _fetch(self, request: TokenRequest, now: datetime, nonce: str) -> tuple[bytes, int]:
        url = f"{self._settings.authority.rstrip('/')}/{request.tenant_id}/oauth2/v2.0/token"
        form = {"grant_type": "client_credentials", "client_id": request.client_id, "scope": self._settings.scope}
        if isinstance(request.proof, str):
            form["client_secret"] = request.proof
        else:
            form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            form["client_assertion"] = _assertion(request.client_id, request.proof, url, now, nonce).decode()
        try:
            status, answer = self._post(url, form)
        except httpx.HTTPError as problem:
            raise TokenError(f"{self._settings.authority} cannot be asked: {type(problem).__name__}") from None
        except (OSError, ssl.SSLError):
            raise TokenError("the certificates that vouch for the authority cannot be read") from None
        found = _object(answer)
        if status != httpx.codes.OK:
            code = str(found.get("error", ""))
            reason = code if _CODE.fullmatch(code) else f"status {status}"
            raise TokenError(f"{self._settings.authority} refused: {reason}")
        token, seconds = found.get("access_token"), found.get("expires_in")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token) or type(seconds) is not int or seconds < 0:
            raise TokenError(f"{self._settings.authority} answered without a token")
        return token.encode(), min(seconds, 86_400)

    def _post(self, url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        cut = _Cut(_TIME)
        context = ssl.create_default_context(cafile=self._settings.ca_file)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        with (
            httpx.Client(verify=context, timeout=_TIME / 2, trust_env=False, follow_redirects=False) as client,
            cut,
            client.stream("POST", url, data=dict(form), headers=headers, extensions={"trace": cut.watch}) as answer,
        ):
            body = bytearray()
            for part in answer.iter_raw():
                body += part
                if len(body) > _LARGEST:
                    raise httpx.ReadTimeout("too long an answer")
            return answer.status_code, bytes(body)


class _Cut:
    """Ends a connection when the time is over: a time-out of each read could be stretched byte by byte."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._over = False
        self._connected: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def watch(self, event: str, told: Mapping[str, Any]) -> None:
        """What httpx does: the last connection that it made is the one to be cut."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._connected = told["return_value"].get_extra_info("socket")
            if self._over:
                self._cut()

    def _cut(self) -> None:
        self._over = True
        if self._connected is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._connected, socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_raised: object) -> None:
        self._timer.cancel()
        if self._over:
            raise httpx.ReadTimeout(f"no whole answer within {self._seconds:.0f} seconds")


def _assertion(client_id: str, proof: Certified, url: str, now: datetime, nonce: str) -> bytes:
    thumbprint = bytes.fromhex(proof.thumbprint.replace(":", ""))
    encoded = base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
    begin = int(now.timestamp())
    claims = {
        "aud": url,
        "iss": client_id,
        "sub": client_id,
        "jti": nonce,
        "iat": begin,
        "nbf": begin,
        "exp": begin + int(_ASSERTED.total_seconds()),
    }
    if len(thumbprint) == _SHA1:
        return compact({"alg": "RS256", "typ": "JWT", "x5t": encoded}, claims, lambda text: sign_rs256(proof.key, text))
    header = {"alg": "PS256", "typ": "JWT", "x5t#S256": encoded}
    return compact(header, claims, lambda text: sign_ps256(proof.key, text))


def _object(answer: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _place(request: TokenRequest) -> bytes:
    """What a token is remembered by: everything that proves the right to it, so that nobody gets another's."""
    proof = request.proof
    if isinstance(proof, Certified):
        proof = f"certificate {proof.thumbprint} {_key_digest(proof.key)}"
    else:
        proof = f"secret {proof}"
    return hashlib.sha256(f"{request.tenant_id} {request.client_id} {proof}".encode()).digest()


def _key_digest(key: rsa.RSAPrivateKey) -> str:
    """Of the private half: who only has the public half, with anything for the other, has another digest."""
    return hashlib.sha256(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).hexdigest()
