"""Who we are to a registry: what `docker login`, `podman login` and credential helpers left, found as they find it.

No kept library for Python reads all of these forms (identity tokens, `<token>` of helpers, keys that are URLs or name
a repository, podman's files), so this is our own.
"""

import base64
import binascii
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scone_provider.errors import ImageError
from scone_provider.image.oci.reference import DOCKER_HUB

HUB_KEY = "https://index.docker.io/v1/"
"""Under this key, and not under its name, Docker keeps the login of Docker Hub."""
_HUB_HOSTS = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
_TOKEN_USER = "<token>"  # noqa: S105  what a helper gives as the user's name when its secret is an identity token
_HELPER_SECONDS = 60.0
_LIMIT = 4 << 20


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """User and password, or an identity token (exchanged at the token service), or a bearer token for the registry."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    encoded: str = field(default="", repr=False)
    """`user:password` in base64, as it was found."""

    @property
    def basic(self) -> str | None:
        """`user:password` in base64; None when there is no password."""
        if self.identity_token or self.registry_token or not (self.username or self.password):
            return None
        if self.encoded:
            return self.encoded
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class CredentialStore:
    """The logins of this machine, read once. Nothing of them is in an error's text."""

    def __init__(self, file: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        """`file` is read instead of those that Docker and podman would read."""
        self._file, self._environ = file, environ
        self._read: list[_Configuration] | None = None
        self.problems: list[str] = []
        """Why a credential helper gave nothing, for the error that may follow."""

    def find(self, host: str, repository: str = "") -> Credentials | None:
        """The login for `repository` (path without host) of `host`, None when there is none. Raises ImageError."""
        for configuration in self._configurations():
            found = configuration.find(_host_of(host), repository, self.problems)
            if found is not None:
                return found
        return None

    def names(self, host: str) -> bool:
        """True when a configuration has an entry for `host`, even an empty one."""
        return any(configuration.names(_host_of(host)) for configuration in self._configurations())

    def _configurations(self) -> "list[_Configuration]":
        if self._read is None:
            self._read = list(self._load())
        return self._read

    def _load(self) -> "Iterator[_Configuration]":
        text = self._environ.get("DOCKER_AUTH_CONFIG")
        if text and self._file is None:
            yield _configuration(text.encode(), where="$DOCKER_AUTH_CONFIG")
        for path in [self._file] if self._file else _files(self._environ):
            try:
                with path.open("rb") as file:
                    data = file.read(_LIMIT)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError):
                raise _unreadable(str(path)) from None
            yield _configuration(data, where=str(path))


@dataclass(frozen=True, kw_only=True)
class _Configuration:
    """One `config.json` or `auth.json`."""

    where: str
    auths: Mapping[str, object]
    helpers: Mapping[str, object]
    store: str

    def find(self, host: str, repository: str, problems: list[str]) -> Credentials | None:
        """A helper of this registry's own, then the store, then the file itself: Docker's order."""
        for helper in [name for key, name in self.helpers.items() if _host_of(key) == host] + [self.store]:
            found = _ask(str(helper), _server(host), problems) if helper else None
            if found is not None:
                return found
        for key in self._keys(host, repository):
            found = self._entry(self.auths[key])
            if found is not None:
                return found
        return None

    def names(self, host: str) -> bool:
        return any(_host_of(key) == host for key in (*self.auths, *self.helpers))

    def _keys(self, host: str, repository: str) -> list[str]:
        """The keys of `auths` that speak of this registry: the longest path above the repository first, others last."""

        def rank(key: str) -> tuple[int, int, str]:
            path = _path_of(key)
            above = f"{repository}/".startswith(f"{path}/") if path else True
            return (0 if above else 1, -len(path) if above else len(path), key)

        return sorted((key for key in self.auths if _host_of(key) == host), key=rank)

    def _entry(self, entry: object) -> Credentials | None:
        if not isinstance(entry, Mapping):
            raise _unreadable(self.where)
        texts = {
            key: _text(entry.get(key), self.where)
            for key in ("auth", "username", "password", "identitytoken", "registrytoken")
        }
        username, password = texts["username"], texts["password"]
        if texts["auth"]:
            try:
                decoded = base64.b64decode(texts["auth"], validate=True).decode("utf-8", "replace").strip("\x00")
            except (binascii.Error, ValueError):
                raise _unreadable(self.where) from None
            username, _, password = decoded.partition(":")
        found = Credentials(
            username=username,
            password=password,
            identity_token=texts["identitytoken"],
            registry_token=texts["registrytoken"],
            encoded=texts["auth"],
        )
        return found if found.identity_token or found.registry_token or found.basic else None


def _configuration(data: bytes, *, where: str) -> _Configuration:
    try:
        document = json.loads(data or b"{}")
        auths, helpers = dict(document.get("auths") or {}), dict(document.get("credHelpers") or {})
        store = document.get("credsStore") or ""
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise _unreadable(where) from None
    return _Configuration(where=where, auths=auths, helpers=helpers, store=_text(store, where))


def _files(environ: Mapping[str, str]) -> list[Path]:
    """Docker's file, then podman's; where podman's is named outright, that one first."""
    home = Path(environ.get("HOME") or Path.home())
    docker = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else home / ".docker"
    podman = [Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "containers/auth.json")]
    if environ.get("XDG_RUNTIME_DIR"):
        podman.insert(0, Path(environ["XDG_RUNTIME_DIR"], "containers/auth.json"))
    named = [Path(environ["REGISTRY_AUTH_FILE"])] if environ.get("REGISTRY_AUTH_FILE") else []
    return [*named, docker / "config.json", *podman]


def _ask(helper: str, server: str, problems: list[str]) -> Credentials | None:
    """What `docker-credential-<helper> get` knows about `server`; None when it knows nothing, or cannot be asked."""
    program = f"docker-credential-{helper}"
    path = shutil.which(program) if "/" not in helper else None
    if path is None:
        problems.append(f"the credential helper {program!r} is not on PATH")
        return None
    try:
        done = subprocess.run(  # noqa: S603  the helper that the user's own configuration names
            [path, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        problems.append(f"the credential helper {program!r} does not run, or gives no answer")
        return None
    if done.returncode != 0:
        if b"credentials not found" not in done.stdout:
            problems.append(f"the credential helper {program!r} failed")
        return None
    try:
        answer = json.loads(done.stdout[:_LIMIT])
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError):
        problems.append(f"the credential helper {program!r} gives no answer that can be read")
        return None
    if user == _TOKEN_USER:
        return Credentials(identity_token=secret) if secret else None
    return Credentials(username=user, password=secret) if user or secret else None


def _server(host: str) -> str:
    return HUB_KEY if host == DOCKER_HUB else host


def _host_of(key: str) -> str:
    """The registry that a key speaks of: keys may be URLs and may have a path."""
    host = _bare(key).partition("/")[0].lower().removesuffix(":443")
    return DOCKER_HUB if host in _HUB_HOSTS else host


def _path_of(key: str) -> str:
    """The repositories that a key is for, empty for all: `v1` and `v2` name the protocol."""
    path = _bare(key).partition("/")[2].strip("/")
    return "" if path in {"v1", "v2"} else path


def _bare(key: str) -> str:
    return key.partition("://")[2] if "://" in key else key


def _text(value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _unreadable(where)
    return value


def _unreadable(where: str) -> ImageError:
    return ImageError("the docker configuration cannot be read", where=where, fix="run `docker login` anew")
