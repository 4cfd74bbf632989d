"""The connection to one registry host: TLS, proxies, timeouts, and what the libraries' errors mean."""

import importlib.util
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.exceptions

from scone_provider.deadline import Deadline, TimedSocket, TimedTlsSocket
from scone_provider.errors import ImageError
from scone_provider.image.oci.reference import is_loopback
from scone_provider.image.registry.errors import TransientError
from scone_provider.image.registry.trust_store import trust_store


@dataclass(frozen=True, kw_only=True)
class RegistryOptions:
    """How registries are reached. Times in seconds, `slowest` in bytes a second;
    `pause` and `clock` are `time.sleep` and `time.monotonic`.
    """

    mirrors: Mapping[str, str] = field(default_factory=dict)
    insecure_registries: frozenset[str] = frozenset()
    docker_config: Path | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 60.0
    slowest: float = 16 * 1024.0
    deadline: float = 900.0
    attempts: int = 5
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class Body:
    """Content of known size for an upload, produced while it is sent."""

    def __init__(self, chunks: Callable[[], Iterator[bytes]], size: int) -> None:
        self._chunks, self._size = chunks, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return (chunk for chunk in self._chunks() if chunk)


class _HttpConnection(urllib3.connection.HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return TimedSocket.of(super()._new_conn())


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _Adapter(requests.adapters.HTTPAdapter):
    """Gives every request of the session a timeout, and trusts whom `trust_store` trusts."""

    def __init__(self, timeout: tuple[float, float]) -> None:
        self._timeout = timeout
        self._context = trust_store()
        self._context.sslsocket_class = TimedTlsSocket
        super().__init__(pool_maxsize=8)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401
        options["timeout"] = options.get("timeout") or self._timeout
        return super().send(request, **options)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:  # noqa: ANN401, FBT001, FBT002
        super().init_poolmanager(connections, maxsize, block=block, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": urllib3.HTTPSConnectionPool}

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ANN401, ARG002
        conn.cert_reqs = "CERT_REQUIRED"  # by the context, to which requests would add certifi's list


class Connection:
    """Sends requests, one at a time or from several threads. No login is its own, and no cookie stays."""

    def __init__(self, host: str, options: RegistryOptions) -> None:
        self.host, self._options = host, options
        self._session = requests.Session()
        # Proxies and authorities are read here, and nothing else: ~/.netrc must not take the place of a login.
        self._session.trust_env = False
        # Nor may a name and password in an address that a registry made up.
        self._session.auth = lambda request: request
        # A client with cookies is a browser to some registries.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter((options.connect_timeout, options.read_timeout))
        for prefix in ("http://", "https://"):
            self._session.mount(prefix, adapter)

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | bytes | None
    ) -> requests.Response:
        """One request as it stands, its redirects not followed; the answer's body is not read yet.

        Raises TransientError for what may go away, ImageError for the rest.
        """
        proxies = self._proxies(url)
        deadline = self.deadline()
        try:
            with deadline.applied():
                return self._session.request(
                    method, url, headers=headers, data=body, stream=True, proxies=proxies, allow_redirects=False
                )
        except requests.exceptions.SSLError as error:
            raise self._broken_tls(error, urlsplit(url).netloc) from None
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidHeader,
            UnicodeError,
        ) as error:
            raise ImageError(
                f"the registry cannot be asked ({type(error).__name__})",
                where=self.host,
                fix="check the registry's address, and HTTPS_PROXY where it is set",
            ) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if deadline.is_over:
                raise self.too_slow() from None
            raise TransientError(f"the registry cannot be reached ({type(error).__name__})") from None

    def deadline(self) -> Deadline:
        """For one request or the body of one answer: what moves bytes at `slowest` or faster is waited for."""
        return Deadline(self._options.read_timeout, rate=self._options.slowest)

    def too_slow(self) -> TransientError:
        """The error when such a deadline is over."""
        options = self._options
        return TransientError(
            f"the registry was waited for {options.read_timeout:.0f} seconds, and moved less than "
            f"{options.slowest / 1024:.0f} KiB a second"
        )

    def _broken_tls(self, error: Exception, netloc: str) -> Exception:
        """A certificate that nobody vouches for and a server without TLS stay as they are; the rest may go away."""
        causes = _causes(error)
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            return ImageError(
                f"the TLS certificate of {netloc} is not trusted",
                where=self.host,
                fix="add its CA to the system's trust store, or name it in SSL_CERT_FILE or REQUESTS_CA_BUNDLE",
            )
        reasons = {getattr(cause, "reason", None) for cause in causes if isinstance(cause, ssl.SSLError)}
        if reasons & {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}:
            return ImageError(
                f"{netloc} does not speak TLS",
                where=self.host,
                fix=f"check the port; a registry without TLS has to be named: "
                f"pulumi config set --path 'scone:insecureRegistries[\"{self.host}\"]' true",
            )
        return TransientError("the TLS connection to the registry broke off")

    def _proxies(self, url: str) -> dict[str, str]:
        """The environment's proxies for `url`. Raises ImageError for one that this Python cannot speak with."""
        # A proxy cannot reach this machine's loopback: go there directly.
        if is_loopback(urlsplit(url).netloc):
            return {"http": "", "https": ""}
        proxies = dict(requests.utils.get_environ_proxies(url))
        proxy = requests.utils.select_proxy(url, proxies) or ""
        kind = urlsplit(proxy).scheme.lower()
        if kind.startswith("socks") and importlib.util.find_spec("socks") is None:
            raise ImageError(
                f"the environment names a SOCKS proxy ({kind}://{urlsplit(proxy).hostname}), which needs a library",
                where=self.host,
                fix="pip install 'requests[socks]', or name an HTTP proxy in HTTPS_PROXY, or this host in NO_PROXY",
            )
        return proxies


def _causes(error: BaseException) -> list[BaseException]:
    """The error and all that it wraps: each library on the way wraps it in another manner."""
    found: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        one = pending.pop()
        if isinstance(one, BaseException) and not any(one is other for other in found):
            found.append(one)
            pending += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
    return found
