"""A registry in memory that plays the quirks of others, behind TLS and under any host names, without a network."""

import base64
import hashlib
import http.server
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlsplit

USER, PASSWORD, IDENTITY = "robot", "pa55-word-of-the-test", "identity-token-of-the-test"
STORAGE = "storage.elsewhere.test"
"""Where quirky registries send downloads to; it is nobody's registry."""
SECRETS = (PASSWORD, IDENTITY, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """How a registry differs from the plain one. Sizes in bytes, times in seconds."""

    challenges: tuple[str, ...] = ()
    """Values of `WWW-Authenticate` headers; `{scope}` is what the request needs. Without any, everybody may."""
    accepts: tuple[str, ...] = ("basic", "bearer")
    grants: tuple[str, ...] = ("GET", "POST")
    """Methods that the token service knows."""
    token_field: str = "token"
    lifetime: int | None = 300
    expired_after: int = 10**9
    """Requests that a token is good for."""
    refuses_more: bool = False
    """The token service refuses the whole request when one action is not granted."""
    may: str = "pull,push,delete"
    """What the user may do."""
    hidden: int = 404
    """Status for a repository that does not exist, for somebody who may not push to it."""
    silent: bool = False
    """Anonymous requests get 404 without a challenge; only `/v2/` asks."""
    made_before: bool = False
    """Repositories have to exist before the first push."""
    location: str = "https://{host}{path}"
    """Of an upload: `{path}`, `{name}` (its last part) and `{host}`."""
    upload_redirect: int = 0
    limit: int = 10**12
    """Largest request; more is 413."""
    cuts: bool = False
    """A request that is too large is cut off without an answer."""
    least_piece: int = 0
    halves: bool = False
    """Of each piece only the first half is taken."""
    storage: bool = False
    """Downloads are sent on to STORAGE."""
    storage_asks: str = ""
    """A challenge that STORAGE answers with."""
    storage_back: str = ""
    """Where STORAGE sends every request on to, with 307."""
    sends_on: tuple[str, str] = ("", "")
    """`METHOD kind` (`GET manifests`) of requests that are sent on, with 307, and where to; `{path}` is theirs."""
    link: str = ""
    """Of lists of tags: where the next page is said to be."""
    busy: tuple[str, ...] = ()
    """`Retry-After` of the first requests, which are answered 429."""
    digest_header: bool = True
    head: int = 200
    """Status of HEAD for manifests that exist."""
    media_type: str = ""
    mount: int = 202
    page: int = 10**6
    lists: int = 200
    """Status of lists of tags."""
    token_redirect: str = ""
    """Where the token service sends requests on to."""
    deletes: int = 202
    success: int = 201
    upgrade: bool = False
    """Every request is sent on to the same address with TLS."""


@dataclass
class Seen:
    """One request."""

    method: str
    host: str
    path: str
    authorization: str | None
    size: int
    beginning: bytes = b""
    """Of the body: what a form needs."""

    def shows(self, secret: str) -> bool:
        """Whether the request has `secret` in it, in whatever place."""
        return secret in unquote(f"{self.authorization} {self.path} {self.beginning.decode('latin-1')}")


@dataclass
class _Repository:
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)


class QuirkyRegistry:
    """Answers for every host name. `connect` takes the place of `urllib3.util.connection.create_connection`."""

    def __init__(self, quirks: Quirks, context: ssl.SSLContext | None = None) -> None:
        self.quirks, self.seen = quirks, list[Seen]()
        self.repositories: dict[str, _Repository] = {}
        self.uploads: dict[str, bytearray] = {}
        self.tokens: dict[str, list[int | set[str]]] = {}
        self.token_requests: list[tuple[str, dict[str, list[str]]]] = []
        self.busy = list(quirks.busy)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()

    def connect(self, _address: tuple[str, int], timeout: float = 30.0, **_: object) -> socket.socket:
        """A connection to this server, whatever the address."""
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                if length > registry.quirks.limit and registry.quirks.cuts:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                body = self.rfile.read(length)
                host = self.headers.get("Host", "").lower()
                registry.seen.append(
                    Seen(self.command, host, self.path, self.headers.get("Authorization"), length, body[:4096])
                )
                status, headers, content = _Exchange(
                    registry, self.command, self.path, headers=self.headers, body=body
                ).run()
                self.send_response(status)
                for name, value in [("Content-Length", str(len(content))), *headers]:
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815  names of the library

            def log_message(self, *_: object) -> None:
                pass

        return Handler


Answer = tuple[int, list[tuple[str, str]], bytes]


class _Exchange:
    """One request and what the quirks make of it."""

    def __init__(self, registry: QuirkyRegistry, method: str, path: str, *, headers: Message, body: bytes) -> None:
        self.registry, self.quirks, self.method = registry, registry.quirks, method
        self.host = headers.get("Host", "").lower()
        self.url, self.headers, self.body = urlsplit(path), headers, body

    def run(self) -> Answer:  # noqa: C901, PLR0911, PLR0912  a protocol is a list of cases
        """Status, headers and body."""
        path, quirks = self.url.path, self.quirks
        if self.host.startswith(STORAGE):
            return self._storage()
        if path.endswith("/token"):
            return self._token()
        if quirks.upgrade:
            return 308, [("Location", f"https://{self.host}{self.url.geturl()}")], b""
        if self.registry.busy:
            return 429, [("Retry-After", self.registry.busy.pop(0))], b""
        if len(self.body) > quirks.limit:
            return 413, [], b"<html>413 Request Entity Too Large</html>"
        if path == "/v2/":
            return (200, [], b"{}") if self._identity() else self._challenge("")
        match = re.fullmatch(r"(?:/behind/a/proxy)?/v2/(.+?)/(manifests|blobs|tags)/(.*)", path)
        if match is None:
            return 404, [], b""
        name, kind, rest = match.groups()
        action = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(self.method, "push")
        if quirks.challenges and not self._allowed(name, action):
            if self._identity() and name not in self.registry.repositories and action == "pull":
                return quirks.hidden, [], b'{"errors": [{"code": "NAME_UNKNOWN"}]}'
            if quirks.silent and not self.headers.get("Authorization"):
                return 404, [], b""
            return self._challenge(f"repository:{name}:{action}")
        if name not in self.registry.repositories:
            if action != "push" or quirks.made_before:
                return 404, [], b'{"errors": [{"code": "NAME_UNKNOWN", "message": "repository does not exist"}]}'
            self.registry.repositories[name] = _Repository()
        if quirks.sends_on[0] == f"{self.method} {kind}":
            return 307, [("Location", quirks.sends_on[1].replace("{path}", path))], b""
        repository = self.registry.repositories[name]
        known: dict[str, Callable[[_Repository, str, str], Answer]] = {
            "manifests": self._manifest,
            "blobs": self._blob,
            "tags": self._tags,
        }
        return known[kind](repository, name, rest)

    def _challenge(self, scope: str) -> Answer:
        return 401, [("WWW-Authenticate", value.replace("{scope}", scope)) for value in self.quirks.challenges], b"{}"

    def _credential(self) -> tuple[str, str]:
        kind, _, value = (self.headers.get("Authorization") or "").partition(" ")
        return kind.lower(), value

    def _identity(self) -> bool:
        kind, value = self._credential()
        if not self.quirks.challenges:
            return True
        if kind not in self.quirks.accepts:
            return False
        return value == SECRETS[2] if kind == "basic" else value in self.registry.tokens

    def _allowed(self, name: str, action: str) -> bool:
        kind, value = self._credential()
        if not self._identity():
            return False
        if kind == "basic":
            return action in self.quirks.may.split(",")
        token = self.registry.tokens[value]
        assert isinstance(token[0], int)
        token[0] += 1
        # A token for pulling alone shows nothing of a repository that does not exist.
        return token[0] <= self.quirks.expired_after and f"{name}:{action}" in token[1]  # type: ignore[operator]

    def _token(self) -> Answer:
        fields = parse_qs(self.url.query if self.method == "GET" else self.body.decode())
        self.registry.token_requests.append((self.method, fields))
        if self.quirks.token_redirect and self.url.path == "/token":
            return 307, [("Location", self.url._replace(path=self.quirks.token_redirect).geturl())], b""
        if self.method not in self.quirks.grants:
            return 404, [], b""
        kind, value = self._credential()
        given = {name: values[0] for name, values in fields.items()}
        known = (kind, value) == ("basic", SECRETS[2]) or (
            self.method == "POST" and (given.get("refresh_token") == IDENTITY or given.get("password") == PASSWORD)
        )
        if not known:
            return 401, [], b""
        granted: set[str] = set()
        for scope in " ".join(fields.get("scope", [])).split():
            name, _, actions = scope.removeprefix("repository:").rpartition(":")
            for action in actions.split(","):
                hides = name not in self.registry.repositories and "push" not in actions
                if action in self.quirks.may.split(",") and not hides:
                    granted.add(f"{name}:{action}")
                elif self.quirks.refuses_more and action not in self.quirks.may.split(","):
                    return 403, [], b""
        token = f"token-{len(self.registry.tokens)}"
        self.registry.tokens[token] = [0, granted]
        answer: dict[str, object] = {self.quirks.token_field: token}
        if self.quirks.lifetime is not None:
            answer["expires_in"] = self.quirks.lifetime
        return 200, [], json.dumps(answer).encode()

    def _manifest(self, repository: _Repository, _name: str, version: str) -> Answer:
        if self.method == "PUT":
            digest = f"sha256:{hashlib.sha256(self.body).hexdigest()}"
            repository.manifests[digest] = (self.headers.get("Content-Type", ""), self.body)
            if not version.startswith("sha256:"):
                repository.tags[version] = digest
            return self.quirks.success, [("Docker-Content-Digest", digest)], b""
        digest = version if version.startswith("sha256:") else repository.tags.get(version, "")
        if digest not in repository.manifests:
            return 404, [], b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}'
        if self.method == "DELETE":
            if self.quirks.deletes == 202:
                del repository.manifests[digest]
                repository.tags = {tag: other for tag, other in repository.tags.items() if other != digest}
            return self.quirks.deletes, [], b""
        if self.method == "HEAD" and self.quirks.head != 200:
            return self.quirks.head, [], b""
        media_type, data = repository.manifests[digest]
        headers = [("Content-Type", self.quirks.media_type or media_type)]
        return 200, headers + ([("Docker-Content-Digest", digest)] if self.quirks.digest_header else []), data

    def _tags(self, repository: _Repository, name: str, _rest: str) -> Answer:
        if self.quirks.lists != 200:
            return self.quirks.lists, [], b""
        last = dict(parse_qsl(self.url.query)).get("last", "")
        following = sorted(tag for tag in repository.tags if tag > last)
        tags = following[: self.quirks.page]
        more = len(following) > len(tags)
        headers = [("Link", f'</v2/{name}/tags/list?last={quote(tags[-1])}>; rel="next"')] if more else []
        if self.quirks.link:
            headers = [("Link", f'<{self.quirks.link}>; rel="next"')]
        return 200, headers, json.dumps({"name": name, "tags": tags or None}).encode()

    def _blob(self, repository: _Repository, name: str, rest: str) -> Answer:
        if rest.startswith("uploads/"):
            return self._upload(repository, name, rest.removeprefix("uploads/"))
        if rest not in repository.blobs:
            return 404, [], b""
        if self.quirks.storage and self.method == "GET":
            return 307, [("Location", f"https://{STORAGE}/{name}?digest={rest}")], b""
        return 200, [], repository.blobs[rest] if self.method == "GET" else b""

    def _storage(self) -> Answer:
        if self.quirks.storage_back:
            return 307, [("Location", self.quirks.storage_back)], b""
        if self.quirks.storage_asks:
            return 401, [("WWW-Authenticate", self.quirks.storage_asks)], b""
        repository = self.registry.repositories.get(self.url.path.strip("/"), _Repository())
        digest = parse_qs(self.url.query).get("digest", [""])[0]
        return (200, [], repository.blobs[digest]) if digest in repository.blobs else (404, [], b"")

    def _upload(self, repository: _Repository, name: str, upload: str) -> Answer:  # noqa: PLR0911  as above
        registry, quirks = self.registry, self.quirks
        if self.method == "POST":
            query = parse_qs(self.url.query)
            if "mount" in query and quirks.mount == 201:
                source = registry.repositories[query["from"][0]]
                repository.blobs[query["mount"][0]] = source.blobs[query["mount"][0]]
            if "mount" in query and quirks.mount != 202:
                return quirks.mount, [], b""
            if quirks.upload_redirect and "again" not in query:
                return quirks.upload_redirect, [("Location", f"/v2/{name}/blobs/uploads/?again=1")], b""
            upload = f"upload-{len(registry.uploads)}"
            registry.uploads[upload] = bytearray()
            least = [("OCI-Chunk-Min-Length", str(quirks.least_piece))] if quirks.least_piece else []
            return 202, [self._place(name, upload), *least], b""
        if upload not in registry.uploads:
            return 404, [], b""
        content = registry.uploads[upload]
        if self.method == "PATCH":
            first = int(self.headers["Content-Range"].partition("-")[0])
            if first != len(content):
                return 416, [self._place(name, upload), ("Range", f"0-{len(content) - 1}")], b""
            content += self.body[: -(-len(self.body) // 2)] if quirks.halves else self.body
            return 202, [self._place(name, upload), ("Range", f"0-{len(content) - 1}")], b""
        if self.method == "GET":
            return 204, [self._place(name, upload), ("Range", f"0-{len(content) - 1}")], b""
        content += self.body
        digest = parse_qs(self.url.query)["digest"][0]
        if digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
            return 400, [], b'{"errors": [{"code": "DIGEST_INVALID"}]}'
        repository.blobs[digest] = bytes(content)
        return quirks.success, [("Docker-Content-Digest", digest)], b""

    def _place(self, name: str, upload: str) -> tuple[str, str]:
        path = f"/v2/{name}/blobs/uploads/{upload}"
        return "Location", self.quirks.location.format(host=self.host, path=path, name=upload)
