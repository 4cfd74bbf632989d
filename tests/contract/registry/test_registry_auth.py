"""Credentials: from the docker configuration, to the right host only, and in no error."""

import base64
import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from scone_provider.errors import ImageError
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.base.resolve import resolve_base
from scone_provider.image.build.layout import wanted_paths
from scone_provider.image.build.plan import plan_image
from scone_provider.image.publish.push import PushReport, push_image, tag_digest
from scone_provider.image.registry.client import Registry
from support.real_registry import Liar, RealRegistry
from support.tiny_image import IMAGE_KEY, LAUNCHER, TinyImage, service, tiny_image

USER, PASSWORD = "robot", "pa55-word-of-the-test"
# bcrypt of the password above, as `htpasswd -nbB` wrote it.
HTPASSWD = "robot:$2y$05$M4pcyBwfiiGq87n/MALjEelfiwCwF61o9Y1ROFQzzyhQQFttAFA5m\n"


def docker_config(path: Path, host: str, password: str = PASSWORD) -> Path:
    """A docker configuration with one registry's credentials."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return path


@pytest.fixture
def guarded(start_registry: Callable[..., RealRegistry], tmp_path: Path) -> RealRegistry:
    """A registry that wants user and password for everything."""
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    return start_registry(auth=f"auth: {{htpasswd: {{realm: test, path: {tmp_path}/htpasswd}}}}")


@pytest.fixture
def push_and_resolve(
    client: Callable[..., Registry], cache: BaseCache, store: Callable[[Registry, str, TinyImage], None], tmp_path: Path
) -> Any:
    """Stores a base, builds a service on it and pushes that, all with the same client options."""

    def run(host: str, **options: Any) -> PushReport:
        store(client(**options), f"{host}/library/base:1", tiny_image(compressed=True))
        inputs = service(tmp_path / "project", to=f"{host}/team/hello:1")
        base = resolve_base(
            f"{host}/library/base:1",
            program="python3",
            paths=wanted_paths(inputs),
            registry=client(**options),
            cache=cache,
        )
        plan = plan_image(inputs, base, image_key=IMAGE_KEY, launcher=LAUNCHER)
        report = push_image(plan, base, registry=client(**options), cache=cache)
        assert tag_digest(plan.reference, registry=client(**options)) == plan.digest
        return report

    return run


def test_basic_credentials_come_from_the_docker_configuration(
    guarded: RealRegistry, push_and_resolve: Callable[..., PushReport], tmp_path: Path
) -> None:
    """The same `docker login` that docker uses is enough to read bases and to push images."""
    config = docker_config(tmp_path / "config.json", guarded.host)
    assert push_and_resolve(guarded.host, docker_config=config).sent


def test_docker_config_of_the_environment_is_found(
    guarded: RealRegistry, push_and_resolve: Callable[..., PushReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DOCKER_CONFIG names the folder, as for docker itself."""
    docker_config(tmp_path / "config.json", guarded.host)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert push_and_resolve(guarded.host, docker_config=None).sent


def test_a_credential_helper_is_asked(
    guarded: RealRegistry, push_and_resolve: Callable[..., PushReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`credHelpers` names a program that gives user and password."""
    helper = tmp_path / "docker-credential-test"
    helper.write_text(f'#!/bin/sh\necho \'{{"Username":"{USER}","Secret":"{PASSWORD}"}}\'\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credHelpers": {guarded.host: "test"}}))
    assert push_and_resolve(guarded.host, docker_config=config).sent


@pytest.mark.parametrize("password", [None, "a-wrong-pa55word"])
def test_missing_and_wrong_credentials_are_told_without_showing_them(
    guarded: RealRegistry, client: Callable[..., Registry], cache: BaseCache, tmp_path: Path, password: str | None
) -> None:
    """The error names the registry and `docker login`, and no byte of what was sent."""
    config = tmp_path / "config.json"
    if password:
        docker_config(config, guarded.host, password)
    with pytest.raises(ImageError) as caught:
        resolve_base(f"{guarded.host}/a:1", program="x", registry=client(docker_config=config), cache=cache)
    text = f"{caught.value}{caught.value!r}"
    assert f"docker login {guarded.host}" in text
    assert "a-wrong-pa55word" not in text
    assert base64.b64encode(b"robot:a-wrong-pa55word").decode() not in text


@pytest.mark.parametrize("content", ["not json", "[]", '{"auths": 5}', '{"auths": {"HOST": 5}}'])
def test_a_broken_docker_configuration_is_named(
    guarded: RealRegistry, client: Callable[..., Registry], cache: BaseCache, tmp_path: Path, content: str
) -> None:
    """The file is named; its content, which holds passwords, is not shown."""
    config = tmp_path / "config.json"
    config.write_text(content.replace("HOST", guarded.host))
    with pytest.raises(ImageError, match=r"config\.json.*cannot be read"):
        resolve_base(f"{guarded.host}/a:1", program="x", registry=client(docker_config=config), cache=cache)


def test_credentials_do_not_follow_a_redirect(
    liar: Liar, client: Callable[..., Registry], cache: BaseCache, tmp_path: Path
) -> None:
    """A registry that sends us elsewhere gets our password, elsewhere does not."""
    config = docker_config(tmp_path / "config.json", liar.host)
    challenge = {"Www-Authenticate": 'Basic realm="x"'}
    elsewhere = liar.host.replace("127.0.0.1", "localhost")
    registry = client(docker_config=config)
    liar.answers["GET", "/v2/a/manifests/1"] = (401, challenge, b"")
    with pytest.raises(ImageError, match="401"):
        resolve_base(f"{liar.host}/a:1", program="x", registry=registry, cache=cache)
    liar.answers["GET", "/v2/a/manifests/1"] = (307, {"Location": f"http://{elsewhere}/blob"}, b"")
    with pytest.raises(ImageError, match="does not exist"):
        resolve_base(f"{liar.host}/a:1", program="x", registry=registry, cache=cache)
    assert [(path, authorization is not None) for _, path, authorization in liar.requests] == [
        ("/v2/a/manifests/1", False),
        ("/v2/a/manifests/1", True),
        ("/v2/a/manifests/1", True),
        ("/blob", False),
    ]


class TokenService:
    """A token service as Docker describes it: checks user and password, and signs which scope was granted."""

    def __init__(self, folder: Path) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "token service of the test")])
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.bundle = folder / "bundle.pem"
        self.bundle.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        self.scopes: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                if self.headers.get("Authorization") != expected:
                    self.send_error(401)
                    return
                scopes = " ".join(query.get("scope", [])).split()
                service.scopes += scopes
                body = json.dumps({"token": service.token(query["service"][0], scopes)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def token(self, audience: str, scopes: list[str]) -> str:
        """A signed token for these scopes."""

        def part(value: object) -> bytes:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        der = base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()
        access = [dict(zip(("type", "name", "actions"), scope.split(":"), strict=True)) for scope in scopes]
        claims = {
            "iss": "test",
            "aud": audience,
            "sub": USER,
            "nbf": int(time.time()) - 60,
            "exp": int(time.time()) + 600,
            "access": [entry | {"actions": entry["actions"].split(",")} for entry in access],
        }
        signed = part({"typ": "JWT", "alg": "RS256", "x5c": [der]}) + b"." + part(claims)
        signature = self.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return (signed + b"." + part(signature)).decode()

    def stop(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def token_service(tmp_path: Path) -> Iterator[TokenService]:
    """A running token service."""
    service = TokenService(tmp_path)
    yield service
    service.stop()


def test_tokens_are_fetched_for_each_repository_and_right(
    token_service: TokenService,
    start_registry: Callable[..., RealRegistry],
    push_and_resolve: Callable[..., PushReport],
    tmp_path: Path,
) -> None:
    """Behind a token service, as at Docker Hub: reading a base and pushing an image each get the scope they need."""
    registry = start_registry(
        auth=f"auth: {{token: {{realm: 'http://{token_service.host}/token', service: test, issuer: test, "
        f"rootcertbundle: {token_service.bundle}}}}}"
    )
    config = docker_config(tmp_path / "config.json", registry.host)
    assert push_and_resolve(registry.host, docker_config=config).sent
    assert "repository:library/base:pull" in token_service.scopes
    assert any(scope.startswith("repository:team/hello:") and "push" in scope for scope in token_service.scopes)


def test_wrong_credentials_at_a_token_service_are_told(
    token_service: TokenService,
    start_registry: Callable[..., RealRegistry],
    client: Callable[..., Registry],
    cache: BaseCache,
    tmp_path: Path,
) -> None:
    """The token service's refusal ends in the same words as a registry's."""
    registry = start_registry(
        auth=f"auth: {{token: {{realm: 'http://{token_service.host}/token', service: test, issuer: test, "
        f"rootcertbundle: {token_service.bundle}}}}}"
    )
    config = docker_config(tmp_path / "config.json", registry.host, "a-wrong-pa55word")
    with pytest.raises(ImageError) as caught:
        resolve_base(f"{registry.host}/a:1", program="x", registry=client(docker_config=config), cache=cache)
    assert "docker login" in str(caught.value)
    assert "a-wrong-pa55word" not in str(caught.value)


def test_a_remote_registry_is_never_talked_to_in_clear(client: Callable[..., Registry]) -> None:
    """Plain HTTP is for this machine, and for registries that were named as insecure."""
    for options, scheme in (({}, "https"), ({"insecure_registries": frozenset({"registry.test:5000"})}, "http")):
        assert client(**options)._transport("registry.test:5000").scheme == scheme
    assert client()._transport("127.0.0.1:5000").scheme == "http"
    assert client()._transport("docker.io").endpoint == "registry-1.docker.io"
