"""Answers the challenges of one registry, with a token or with user and password, and judges who may see those.

Docker's token protocol is a GET with user and password; its OAuth2 protocol is a POST with an identity token. The only
kept library for Python (oras) does the first, for one challenge and one scope at a time, and keeps no expiry.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from scone_provider.image.oci.reference import is_loopback
from scone_provider.image.registry.addresses import PORTS, parts_of, same_owner
from scone_provider.image.registry.challenges import Challenge
from scone_provider.image.registry.credentials import Credentials, CredentialStore

Scopes = tuple[str, ...]
"""What a token is for, such as `("repository:team/app:pull,push",)`."""
_CLIENT = "pulumi-scone"
_LIFETIME = 60.0
"""Seconds that a token lives of which nothing else is said: the specification's default."""
_MARGIN = 10.0


@dataclass(frozen=True, kw_only=True)
class TokenAnswer:
    """What a token service answered; `body` is cut at a limit."""

    status: int
    body: bytes


Fetch = Callable[[str, str, Mapping[str, str], bytes | None], TokenAnswer]
"""(method, url, headers, form) → answer. Raises what is to be tried again; follows no redirect to another host."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    header: str
    challenge: Challenge
    expires: float | None = None


class Authorizer:
    """What to send to one registry in `Authorization`. Safe to use from several threads; no error shows a secret."""

    def __init__(
        self, host: str, *, plain: bool, store: CredentialStore, fetch: Fetch, clock: Callable[[], float]
    ) -> None:
        """`plain`: the registry is reached without TLS, and its token service may be, too."""
        self._host, self._plain, self._store, self._fetch, self._clock = host, plain, store, fetch, clock
        self._known: dict[tuple[str, Scopes], _Known] = {}
        self._lock = threading.Lock()
        self._notes: dict[str, None] = {}

    @property
    def problems(self) -> list[str]:
        """Why credentials that exist were not used, for an error's text."""
        return list(dict.fromkeys([*self._store.problems, *self._notes]))

    def credentials(self, repository: str) -> Credentials | None:
        """The login for a repository of this registry. Raises ImageError for a configuration that cannot be read."""
        with self._lock:
            return self._store.find(self._host, repository)

    def header(self, repository: str, scopes: Scopes) -> str | None:
        """What was accepted before for these scopes, renewed when it is about to expire."""
        known = self._known.get((repository, scopes))
        if known is None or known.expires is None or self._clock() < known.expires:
            return known.header if known else None
        return next(self.answers([known.challenge], repository, scopes), None)

    def answers(self, challenges: Sequence[Challenge], repository: str, scopes: Scopes) -> Iterator[str]:
        """What to send for `challenges`, the best first: a token where one is offered, then user and password."""
        credentials = self.credentials(repository)
        for challenge in sorted(challenges, key=lambda one: one.scheme != "bearer"):
            known: _Known | None = None
            if challenge.scheme == "bearer":
                known = self._bearer(challenge, credentials, scopes)
            elif challenge.scheme == "basic":
                basic = credentials.basic if credentials else None
                known = _Known(header=f"Basic {basic}", challenge=challenge) if basic else None
            else:
                self._notes[f"it asks for {challenge.scheme!r}, which is not supported"] = None
            if known is not None:
                self._known[repository, scopes] = known
                yield known.header

    def _bearer(self, challenge: Challenge, credentials: Credentials | None, scopes: Scopes) -> _Known | None:
        if credentials and credentials.registry_token:
            return _Known(header=f"Bearer {credentials.registry_token}", challenge=challenge)
        realm = challenge.parameters.get("realm", "")
        try:
            parts = parts_of(realm)
        except ValueError:
            parts = urlsplit("")
        host = parts.hostname or ""
        if parts.scheme != "https" and not (host and self._may_be_plain(host)):
            self._notes["it names no token service with TLS"] = None
            return None
        listing = host if parts.port in {None, PORTS[parts.scheme]} else f"{host}:{parts.port}"
        if credentials and not (same_owner(host, self._own) or self._store.names(listing)):
            self._notes[
                f"its token service is {listing}, of another domain, and gets no credentials; "
                f'where that is right, name it in the docker configuration: "auths": {{"{listing}": {{}}}}'
            ] = None
            credentials = None
        wanted = _merged(challenge.parameters.get("scope", ""), scopes)
        for method, headers, form in _requests(credentials, challenge.parameters.get("service", ""), wanted):
            url = realm if method == "POST" else f"{realm}{'&' if parts.query else '?'}{urlencode(form)}"
            body = urlencode(form).encode() if method == "POST" else None
            answer = self._fetch(method, url if form else realm, headers, body)
            if answer.status not in {404, 405}:  # else it speaks the other of the two protocols
                return self._read(answer, challenge)
        return None

    def _read(self, answer: TokenAnswer, challenge: Challenge) -> _Known | None:
        if not 200 <= answer.status < 300:
            return None
        try:
            document = json.loads(answer.body)
            token = document.get("token") or document.get("access_token")
            lifetime = float(document.get("expires_in") or _LIFETIME)
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
            return None
        expires = self._clock() + max(lifetime - _MARGIN, lifetime / 2)
        return _Known(header=f"Bearer {token}", challenge=challenge, expires=expires)

    def _may_be_plain(self, realm: str) -> bool:
        """Without TLS a token service is asked where the registry itself is: at its own host, or on this machine."""
        return self._plain and (realm == self._own or is_loopback(realm))

    @property
    def _own(self) -> str:
        return urlsplit(f"//{self._host}").hostname or ""


def _requests(
    credentials: Credentials | None, service: str, scopes: Scopes
) -> Iterator[tuple[str, dict[str, str], list[tuple[str, str]]]]:
    """(method, headers, form) of the requests to try, the next one where the service does not know the one before."""
    about = [("service", service)] if service else []
    posted = [("client_id", _CLIENT), *about, *([("scope", " ".join(scopes))] if scopes else [])]
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    if credentials and credentials.identity_token:
        token = credentials.identity_token
        yield "POST", kind, [("grant_type", "refresh_token"), ("refresh_token", token), *posted]
        return
    basic = credentials.basic if credentials else None
    headers = {"Authorization": f"Basic {basic}"} if basic else {}
    yield "GET", headers, [*about, *(("scope", scope) for scope in scopes)]
    if credentials and basic:
        login = [("grant_type", "password"), ("username", credentials.username), ("password", credentials.password)]
        yield "POST", kind, [*login, *posted]


def _merged(offered: str, wanted: Scopes) -> Scopes:
    """Both scopes, one per resource, its actions sorted: what the registry names and what we shall need besides."""
    actions: dict[str, set[str]] = {}
    for scope in (*offered.split(), *wanted):
        resource, _, listed = scope.rpartition(":")
        actions.setdefault(resource or scope, set()).update(listed.split(",") if resource else ())
    return tuple(
        f"{resource}:{','.join(sorted(found))}" if found else resource for resource, found in sorted(actions.items())
    )
