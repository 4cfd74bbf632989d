"""Requests to one registry: addresses, redirects, retries, deadlines, and errors without secrets.

`connection` sends one. Who we are is `credentials`, what a registry wants to see of it `authorization`.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import requests.adapters
import urllib3.exceptions

from scone_provider.errors import ImageError
from scone_provider.image.oci.reference import DOCKER_HUB, is_loopback
from scone_provider.image.registry.addresses import PORTS, joined, not_an_address, origin, parts_of
from scone_provider.image.registry.answers import retry_after
from scone_provider.image.registry.authorization import Authorizer, Scopes, TokenAnswer
from scone_provider.image.registry.challenges import Challenge, parse_challenges
from scone_provider.image.registry.connection import Body, Connection, RegistryOptions
from scone_provider.image.registry.credentials import CredentialStore
from scone_provider.image.registry.errors import DeniedError, RegistryUnavailableError, TransientError

_T = TypeVar("_T")
_RETRY_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_PAUSE = 30.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_HUB_ENDPOINT = "registry-1.docker.io"
_TOKEN_ANSWER_LIMIT = 1 << 20

_SILENT_SECONDS = 60.0
_silent: dict[str, float] = {}
"""Hosts of this process that nobody answered for, and when: the next image does not wait for the same host again."""


class Transport:
    """The connection to one registry host. Safe to use from several threads."""

    def __init__(self, host: str, options: RegistryOptions) -> None:
        """`host` is a name with an optional port, as written in references; Docker Hub's is `docker.io`."""
        self.host, self._options = host, options
        plain = is_loopback(host) or host in options.insecure_registries
        self._base = f"{'http' if plain else 'https'}://{_HUB_ENDPOINT if host == DOCKER_HUB else host}"
        self._connection = Connection(host, options)
        self._authorizer = Authorizer(
            host, plain=plain, store=CredentialStore(options.docker_config), fetch=self._token, clock=options.clock
        )
        self._offered: tuple[Challenge, ...] | None = None
        self._lock = threading.Lock()

    @property
    def scheme(self) -> str:
        """`https`, or `http` where the registry is this machine's or named as insecure."""
        return urlsplit(self._base).scheme

    @property
    def endpoint(self) -> str:
        """Name and port of the registry's API."""
        return urlsplit(self._base).netloc

    def retry(self, operation: Callable[[], _T]) -> _T:
        """Runs `operation` until it does not raise `TransientError`; gives up with RegistryUnavailableError.

        A host that was given up less than a minute ago gets one attempt.
        """
        options = self._options
        deadline, pause = options.clock() + options.deadline, 0.25
        known_silent = self.host in _silent and 0 <= options.clock() - _silent[self.host] < _SILENT_SECONDS
        attempts = 1 if known_silent else options.attempts
        for attempt in range(1, attempts + 1):
            try:
                result = operation()
            except TransientError as error:
                wait = max(pause, min(error.retry_after, _LONGEST_PAUSE))
                if attempt == attempts or options.clock() + wait > deadline:
                    _silent[self.host] = options.clock()
                    raise RegistryUnavailableError(
                        f"{error.why} ({attempt} {'attempt' if attempt == 1 else 'attempts'})",
                        where=self.host,
                        fix="check that the registry runs and can be reached from here, then run the command again",
                    ) from None
            else:
                _silent.pop(self.host, None)
                return result
            options.pause(wait)
            pause *= 2
        raise AssertionError

    def request(
        self,
        method: str,
        path: str,
        *,
        repository: str,
        scopes: Scopes = (),
        headers: Mapping[str, str] | None = None,
        body: Body | bytes | None = None,
    ) -> requests.Response:
        """One request, authenticated when the registry asks for it; the answer's body is not read yet.

        `path` is below the host or an absolute URL of the registry's choice; `scopes` are what a token must allow.
        Raises TransientError for what may go away, and ImageError for broken TLS or when nothing that is known here
        answers the registry's challenge; every other status is the caller's to judge.
        """
        send = _Sending(method, urljoin(self._base, path), dict(headers or {}), body)
        known = self._authorizer.header(repository, scopes)
        response = self._send(send, known)
        if self._answers_itself(response) and (challenges := self._challenges(response, repository, known)):
            response.close()
            tried = False
            for header in self._authorizer.answers(challenges, repository, scopes):
                tried = True
                response.close()
                response = self._send(send, header)
                if response.status_code != 401:
                    break
            if not tried and response.status_code == 401:
                raise self._denied(repository)
        if response.status_code in _RETRY_STATUS:
            status, wait = response.status_code, retry_after(response)
            response.close()
            later = f", and to come back in {wait:.0f} seconds" if wait > _LONGEST_PAUSE else ""
            raise TransientError(f"the registry answers {status}{later}", retry_after=wait)
        return response

    def read(self, response: requests.Response) -> Iterator[bytes]:
        """The body as sent, in chunks, within the deadline. Raises TransientError when it breaks off."""
        deadline, slow = self._options.clock() + self._options.deadline, self._connection.deadline()
        try:
            chunks = response.raw.stream(1 << 20, decode_content=False)
            while True:
                with slow.applied():
                    chunk = next(chunks, b"")
                if not chunk:
                    break
                if self._options.clock() > deadline:
                    raise TransientError("the download takes too long")
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError):
            if slow.is_over:
                raise self._connection.too_slow() from None
            raise TransientError("the connection broke off") from None
        finally:
            response.close()

    def _challenges(self, response: requests.Response, repository: str, known: str | None) -> tuple[Challenge, ...]:
        """What the answer asks for; empty when it is to be taken as it is.

        Some registries hide what exists behind a 404, or say 401 without a challenge: then the protocol's own entry is
        asked what they want.
        """
        if response.status_code == 401:
            return parse_challenges(response.raw.headers.getlist("WWW-Authenticate")) or self._ping()
        if response.status_code in {403, 404} and known is None and self._authorizer.credentials(repository):
            return self._ping()
        return ()

    def _ping(self) -> tuple[Challenge, ...]:
        with self._lock:
            if self._offered is None:
                response = self._send(_Sending("GET", urljoin(self._base, "/v2/"), {}, None), None)
                asked = response.status_code == 401 and self._answers_itself(response)
                self._offered = parse_challenges(response.raw.headers.getlist("WWW-Authenticate")) if asked else ()
                response.close()
            return self._offered

    def _send(self, send: "_Sending", authorization: str | None) -> requests.Response:
        """Sends it, and follows where it is sent on to; `authorization` goes to the registry itself and no further.

        Whoever it was sent on to by somebody else than the registry sees no login, the registry included: the request
        would be that other's, in our name. `history` of the answer has the answers on the way.
        """
        url, method, body = send.url, send.method, send.body
        passed: list[requests.Response] = []
        for _ in range(_MAX_REDIRECTS + 1):
            url = self._checked(url)
            headers = {"Accept-Encoding": "identity", "User-Agent": "pulumi-scone", **send.headers}
            if authorization and self._is_own(url) and all(self._is_own(one.url) for one in passed):
                headers["Authorization"] = authorization
            response = self._connection.exchange(method, url, headers, body)
            response.history = [*passed]
            location = response.headers.get("Location")
            # An upload is sent on unchanged by 307 and 308 alone.
            follow = _REDIRECTS if method in {"GET", "HEAD"} else {307, 308}
            if response.status_code not in follow or not location:
                return response
            response.close()
            passed.append(response)
            url = joined(url, location)
        raise ImageError("the registry redirects without end", where=self.host)

    def _checked(self, url: str) -> str:
        """`url` as it may be asked: with TLS where the registry has TLS, even if a proxy before it forgot to say so."""
        try:
            parts, base = parts_of(url), urlsplit(self._base)
        except ValueError:
            raise not_an_address(self.host) from None
        same_host = parts.hostname == base.hostname
        own_port = parts.port in {None, 80, base.port}
        if parts.scheme == "http" and base.scheme == "https":
            if not (same_host and own_port):
                raise ImageError("the registry sends us to an address without TLS", where=self.host)
            return urlunsplit((base.scheme, base.netloc, *parts[2:]))
        if parts.scheme == "https" and base.scheme == "http" and same_host and origin(url)[2] in {443, base.port}:
            self._base = f"https://{parts.netloc.rpartition('@')[2]}"  # the registry has TLS after all
        return url

    def _is_own(self, url: str) -> bool:
        """True for the registry's own API: it alone is shown, and may ask for, credentials."""
        try:
            return origin(url) == origin(self._base)
        except ValueError:
            return False

    def _answers_itself(self, response: requests.Response) -> bool:
        """Whether nobody but the registry's own API had a part in the answer."""
        return all(self._is_own(one.url) for one in (*response.history, response))

    def _token(self, method: str, url: str, headers: Mapping[str, str], form: bytes | None) -> TokenAnswer:
        """One request to a token service, sent on only within the same host and port. Raises TransientError."""
        first = origin(url)
        for _ in range(_MAX_REDIRECTS + 1):
            sent = {"Accept": "application/json", "User-Agent": "pulumi-scone", **headers}
            try:
                response = self._connection.exchange(method, url, sent, form)
            except TransientError:
                raise TransientError("the registry's token service cannot be reached") from None
            location = response.headers.get("Location")
            if response.status_code in _RETRY_STATUS:
                response.close()
                raise TransientError(
                    f"the registry's token service answers {response.status_code}",
                    retry_after=retry_after(response),
                )
            if response.status_code not in _REDIRECTS or not location:
                slow = self._connection.deadline()
                try:
                    with slow.applied():
                        body = response.raw.read(_TOKEN_ANSWER_LIMIT, decode_content=True)
                except (urllib3.exceptions.HTTPError, OSError):
                    if slow.is_over:
                        raise self._connection.too_slow() from None
                    raise TransientError("the answer of the registry's token service broke off") from None
                finally:
                    response.close()
                return TokenAnswer(status=response.status_code, body=body)
            response.close()
            url = joined(url, location)
            # With TLS from now on, or as it was: at the same host in either case.
            if origin(url) not in (first, ("https", first[1], PORTS["https"])):
                break
        return TokenAnswer(status=403, body=b"")

    def _denied(self, repository: str) -> DeniedError:
        notes = "".join(f"; {note}" for note in self._authorizer.problems)
        return DeniedError(
            f"the registry wants other credentials for {repository}{notes}",
            where=self.host,
            fix=f"run `docker login {self.host}`; Docker's and podman's configurations are read (docs/registries.md)",
        )


@dataclass(frozen=True)
class _Sending:
    """What is sent, as often as it takes."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Body | bytes | None
