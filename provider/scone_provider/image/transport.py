"""Requests to one registry: scheme, credentials, tokens, retries, deadlines, and errors without secrets.

`oras` brings the session without cookies, the docker config with its credential helpers, and the token exchange. Its
own request calls are not used: they have no timeout and no deadline, keep one token whatever the scope, answer a Basic
challenge with a token request, retry by sleeping for minutes, and none of them compares a digest.
"""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import oras.auth.utils
import oras.container
import oras.provider
import requests
import requests.adapters
import urllib3.exceptions

from scone_provider.errors import ImageError
from scone_provider.image.reference import DOCKER_HUB, is_loopback

_T = TypeVar("_T")
_Scope = tuple[str, bool]  # repository, and whether it is written to: what a token is for
_RETRY_STATUS = frozenset({429, 500, 502, 503, 504})
_MAX_REDIRECTS = 5
_HUB_ENDPOINT = "registry-1.docker.io"
_HUB_CREDENTIALS = "https://index.docker.io/v1/"


class RegistryUnavailableError(ImageError):
    """A registry cannot be reached, or goes on answering that it is out of order."""


@dataclass(frozen=True, kw_only=True)
class RegistryOptions:
    """How registries are reached. Times in seconds; `pause` and `clock` are `time.sleep` and `time.monotonic`."""

    mirrors: Mapping[str, str] = field(default_factory=dict)
    insecure_registries: frozenset[str] = frozenset()
    docker_config: Path | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 60.0
    deadline: float = 900.0
    attempts: int = 5
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class TransientError(Exception):
    """Something that may go away: the operation is tried again. Never leaves this package's network modules."""

    def __init__(self, why: str, *, retry_after: float = 0.0) -> None:
        self.why, self.retry_after = why, retry_after
        super().__init__(why)


class Body:
    """Content of known size for an upload, produced while it is sent."""

    def __init__(self, chunks: Callable[[], Iterator[bytes]], size: int) -> None:
        self._chunks, self._size = chunks, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return (chunk for chunk in self._chunks() if chunk)


class _Adapter(requests.adapters.HTTPAdapter):
    """Gives every request of the session a timeout, the token requests of oras included."""

    def __init__(self, timeout: tuple[float, float]) -> None:
        self._timeout = timeout
        super().__init__(pool_maxsize=8)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401
        options["timeout"] = options.get("timeout") or self._timeout
        return super().send(request, **options)


class Transport:
    """The connection to one registry host. Safe to use from several threads."""

    def __init__(self, host: str, options: RegistryOptions) -> None:
        """`host` is a name with an optional port, as written in references; Docker Hub's is `docker.io`."""
        self.host, self._options = host, options
        plain = is_loopback(host) or host in options.insecure_registries
        self.scheme = "http" if plain else "https"
        self.endpoint = _HUB_ENDPOINT if host == DOCKER_HUB else host
        self._client = oras.provider.Registry(hostname=self.endpoint, insecure=plain, tls_verify=True)
        self._session: requests.Session = self._client.session
        # An own `auth` keeps requests from putting ~/.netrc in the place of the registry's credentials.
        self._session.auth = lambda request: request
        for prefix in ("http://", "https://"):
            self._session.mount(prefix, _Adapter((options.connect_timeout, options.read_timeout)))
        self._headers: dict[_Scope, str] = {}
        self._lock = threading.Lock()
        self._credentials_loaded = False

    @property
    def basic_auth(self) -> str | None:
        """user:password in base64, as the docker configuration has it for this registry; None where it has none."""
        self._load_credentials()
        found = getattr(self._client.auth, "_basic_auth", None)
        return found if isinstance(found, str) and found else None

    def retry(self, operation: Callable[[], _T]) -> _T:
        """Runs `operation` until it does not raise `TransientError`; gives up with RegistryUnavailableError."""
        options = self._options
        deadline, pause = options.clock() + options.deadline, 0.25
        for attempt in range(1, options.attempts + 1):
            try:
                return operation()
            except TransientError as error:
                wait = max(pause, min(error.retry_after, 30.0))
                if attempt == options.attempts or options.clock() + wait > deadline:
                    raise RegistryUnavailableError(
                        f"{error.why} ({attempt} attempts)",
                        where=self.host,
                        fix="check that the registry runs and can be reached from here, then run the command again",
                    ) from None
            options.pause(wait)
            pause *= 2
        raise AssertionError

    def request(
        self,
        method: str,
        path: str,
        *,
        repository: str,
        write: bool = False,
        headers: Mapping[str, str] | None = None,
        body: Body | bytes | None = None,
    ) -> requests.Response:
        """One request, authenticated when the registry asks for it; the answer's body is not read yet.

        `path` is below the host or an absolute URL of the registry's choice. Raises TransientError for what may go
        away, and ImageError for broken TLS; every other status is the caller's to judge.
        """
        url, key = urljoin(f"{self.scheme}://{self.endpoint}", path), (repository, write)
        response = self._send(method, url, key=key, headers=headers, body=body)
        if response.status_code == 401:
            challenge = response.headers.get("Www-Authenticate", "")
            response.close()
            self._authenticate(challenge, key)
            response = self._send(method, url, key=key, headers=headers, body=body)
        if response.status_code in _RETRY_STATUS:
            after = response.headers.get("Retry-After", "")
            response.close()
            raise TransientError(
                f"the registry answers {response.status_code}", retry_after=float(after) if after.isdecimal() else 0.0
            )
        return response

    def read(self, response: requests.Response) -> Iterator[bytes]:
        """The body as sent, in chunks, within the deadline. Raises TransientError when it breaks off."""
        deadline = self._options.clock() + self._options.deadline
        try:
            for chunk in response.raw.stream(1 << 20, decode_content=False):
                if self._options.clock() > deadline:
                    raise TransientError("the download takes too long")
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError):
            raise TransientError("the connection broke off") from None
        finally:
            response.close()

    def _send(
        self, method: str, url: str, *, key: _Scope, headers: Mapping[str, str] | None, body: Body | bytes | None
    ) -> requests.Response:
        for _ in range(_MAX_REDIRECTS + 1):
            sent = {"Accept-Encoding": "identity", "User-Agent": "pulumi-scone", **(headers or {})}
            known = self._headers.get(key)
            target = urlsplit(url)
            if target.scheme != "https" and self.scheme == "https":
                raise ImageError("the registry sends us to an address without TLS", where=self.host)
            if known and target.netloc == self.endpoint:
                sent["Authorization"] = known
            response = self._exchange(method, url, sent, body)
            location = response.headers.get("Location")
            if method not in {"GET", "HEAD"} or response.status_code not in {301, 302, 303, 307, 308} or not location:
                return response
            response.close()
            url = urljoin(url, location)
        raise ImageError("the registry redirects without end", where=self.host)

    def _exchange(self, method: str, url: str, headers: dict[str, str], body: Body | bytes | None) -> requests.Response:
        # A proxy of the environment cannot reach this machine's loopback: go there directly.
        direct = {"http": "", "https": ""} if is_loopback(self.endpoint) else None
        try:
            return self._session.request(
                method,
                url,
                headers=headers,
                data=body,
                stream=True,
                verify=True,
                proxies=direct,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError:
            raise ImageError(
                "the registry's TLS certificate is not trusted",
                where=self.host,
                fix="add its CA to the system's trust store (or name it in REQUESTS_CA_BUNDLE)",
            ) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise TransientError(f"the registry cannot be reached ({type(error).__name__})") from None

    def _authenticate(self, challenge: str, key: _Scope) -> None:
        """Finds out what `Authorization` the registry wants. Credentials never appear in an error."""
        auth = self._client.auth
        with self._lock:
            if not self._credentials_loaded:
                self._load_credentials()
                self._credentials_loaded = True
            basic: str | None = getattr(auth, "_basic_auth", None)
            if re.match(r"\s*basic\b", challenge, re.IGNORECASE):
                header = f"Basic {basic}" if basic else None
            else:
                header = self._bearer(challenge, anonymous=basic is None)
            if header is None:
                raise self._denied(key[0])
            self._headers[key] = header

    def _bearer(self, challenge: str, *, anonymous: bool) -> str | None:
        wanted = oras.auth.utils.parse_auth_header(challenge)
        realm = urlsplit(wanted.realm or "")
        if realm.scheme != "https" and not (realm.scheme == "http" and self.scheme == "http"):
            return None  # credentials do not go out in clear
        auth = self._client.auth
        try:
            token = auth.request_anonymous_token(wanted) if anonymous else auth.request_token(wanted)
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout):
            raise TransientError("the registry's token service cannot be reached") from None
        except (requests.RequestException, ValueError, AttributeError):
            return None
        return f"Bearer {token}" if isinstance(token, str) and token else None

    def _load_credentials(self) -> None:
        path = self._options.docker_config or _docker_config()
        if not path.is_file():
            return
        try:
            config = json.loads(path.read_bytes())
            # Set here and not loaded by oras: it knows no DOCKER_CONFIG and would merge files in any order.
            self._client.auth._auth_config = {  # noqa: SLF001
                "auths": dict(config.get("auths") or {}),
                "credsStore": config.get("credsStore"),
                "credHelpers": dict(config.get("credHelpers") or {}),
            }
            container = oras.container.Container(f"{self.endpoint}/x")
            container.registry = _HUB_CREDENTIALS if self.host == DOCKER_HUB else self.host
            self._client.auth.load_configs(container)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise ImageError(
                "the docker configuration cannot be read", where=str(path), fix="run `docker login` anew"
            ) from None

    def _denied(self, repository: str) -> ImageError:
        return ImageError(
            f"the registry wants other credentials for {repository}",
            where=self.host,
            fix=f"run `docker login {self.host}`; ~/.docker/config.json and $DOCKER_CONFIG are read",
        )


def _docker_config() -> Path:
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def said(response: requests.Response) -> str:
    """What a registry gave as its reason, fit for an error text: its codes and messages, printable and short."""
    try:
        text = response.raw.read(64 << 10, decode_content=False)
        errors = json.loads(text)["errors"]
        reason = "; ".join(f"{error.get('code', '')} {error.get('message', '')}".strip() for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, urllib3.exceptions.HTTPError):
        reason = ""
    finally:
        response.close()
    reason = "".join(c for c in reason if c.isprintable())[:200]
    return f"{response.status_code}: {reason}" if reason else str(response.status_code)
