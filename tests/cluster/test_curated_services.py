"""Ready-made services without a manifest, each deployed and spoken to with its real client over TLS."""

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pymemcache
import pymysql
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from support.embedded_cas import TOLERANCE, public_value
from support.mesh import MeshProject

SERVICES = {"redis": "redis:7", "cache": "memcached:1.6", "web": "nginx:1.22", "db": "mariadb:10.11"}
PORTS = {"redis": 6379, "cache": 11211, "web": 8443, "db": 3306}
MESH = """\
apiVersion: scone/5.8
kind: mesh
cas:
  - name: cas
    alias: [image, security, access, attestation]
    cas_url: $CAS_URL
    tolerance: "{tolerance}"
policy:
  namespace: {namespace}
  tolerate: debug-mode
env:
  - service: global
    env:
      - {{name: imagePullSecrets, value: ""}}
  - service: redis
    env:
      - {{name: redis_auth, value: certificate+password}}
  - service: db
    env:
      - name: sqlInitScript # as the vendor's Meshfiles write it: a block in the text
        value: |
          |
            CREATE DATABASE app;
            CREATE TABLE app.seeded (
              text VARCHAR(64) -- it's a secret
            );
            CREATE USER 'seed'@'%' REQUIRE SUBJECT '/CN=nobody';
            INSERT INTO app.seeded VALUES ('$$SCONE::db_root_password:hex$$');
services:
  - {{name: client, image: $APP_IMAGE_REPO/client:1}}
{services}
"""
CLIENT = """\
apiVersion: scone/5.8
kind: genservice
environment:
  local:
    - {name: REDIS_PASSWORD, value: "$$SCONE::redis_password:hex$$"}
    - {name: DB_PASSWORD, value: "$$SCONE::db_password:hex$$"}
secrets:
  import: [redis_ca_cert, redis_client_cert, redis_password, cache_ca_cert, cache_client_cert, db_ca_cert,
           db_client_cert, db_password]
injection_files:
"""
PROGRAM = "import time\nprint('Clients may come', flush=True)\nwhile True:\n    time.sleep(60)\n"
FILES = "".join(
    f"  - {{path: /tls/{name}.{file}, content: '$$SCONE::{name}_{secret}$$'}}\n"
    for name in ("redis", "cache", "db")
    for file, secret in (("ca", "ca_cert:crt"), ("crt", "client_cert:crt"), ("key", "client_cert:privatekey"))
)
BUILD = """\
build:
  name: client
  kind: python
  to: $APP_IMAGE_REPO/client:1
  pwd: /python
  command: python3 client.py
  copy: [client.py]
"""


class Curated:
    """The deployed mesh, and what its client was given: taken by exec, which the software mode leaves open."""

    def __init__(self, mesh: MeshProject, folder: Path) -> None:
        self.mesh, self._folder = mesh, folder
        self.pods = {
            item["metadata"]["labels"]["app.kubernetes.io/name"]: item
            for item in mesh.get("pods")
            if "deletionTimestamp" not in item["metadata"]
        }
        self.environment = dict(
            item.partition("=")[::2] for item in self.execute("client", "cat", "/proc/1/environ").split("\0")
        )

    def execute(self, service: str, *command: str, check: bool = True) -> str:
        """Run a program in the pod of a service."""
        return self.mesh.kube("exec", self.pods[service]["metadata"]["name"], "--", *command, check=check)

    def address(self, service: str) -> tuple[str, int]:
        """Where the pod of a service listens, as reached from outside of it."""
        return self.pods[service]["status"]["podIP"], PORTS[service]

    def file(self, service: str, kind: str) -> str:
        """A local copy of what the client has for talking to a service: `ca`, `crt` or `key`."""
        path = self._folder / f"{service}.{kind}"
        path.touch(mode=0o600)
        path.write_text(self.execute("client", "cat", f"/tls/{service}.{kind}"))
        return str(path)

    def context(self, service: str, *, certificate: bool = True) -> ssl.SSLContext:
        """TLS that trusts the service's own authority alone."""
        context = ssl.create_default_context(cafile=self.file(service, "ca"))
        if certificate:
            context.load_cert_chain(self.file(service, "crt"), self.file(service, "key"))
        return context


@pytest.fixture(scope="module")
def curated(new_mesh: Callable[..., MeshProject], tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """A mesh that names four ready-made images, beside a client of its own that imports what they export."""
    mesh = new_mesh()
    lines = "\n".join(f"  - {{name: {name}, image: '{image}'}}" for name, image in SERVICES.items())
    text = MESH.format(tolerance=TOLERANCE, namespace=mesh.cas_namespace, services=lines)
    (mesh.program / "mesh.yaml").write_text(text)
    (mesh.program / "client.yaml").write_text(CLIENT + FILES + BUILD)
    (mesh.program / "client.py").write_text(PROGRAM)
    mesh.edit("__main__.py", '["service.yaml"]', '["client.yaml"]')
    mesh.up()
    return Curated(mesh, tmp_path_factory.mktemp("tls"))


def test_redis_answers_its_client(curated: Curated) -> None:
    """redis-py writes and reads over TLS, with the certificate and the password that its importer has."""
    host, port = curated.address("redis")
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "ssl": True,
        "ssl_ca_certs": curated.file("redis", "ca"),
        "ssl_check_hostname": False,  # it is called by its address here
        "retry": Retry(NoBackoff(), 0),
    }
    pair: dict[str, Any] = {"ssl_certfile": curated.file("redis", "crt"), "ssl_keyfile": curated.file("redis", "key")}
    password = curated.environment["REDIS_PASSWORD"]
    with redis.Redis(**options, **pair, password=password) as client:
        client.set("greeting", "hello")
        assert client.get("greeting") == b"hello"
        assert client.config_get("maxmemory") == {"maxmemory": str(100 * 2**20)}
    with redis.Redis(**options, **pair) as client, pytest.raises(redis.AuthenticationError):
        client.get("greeting")
    with redis.Redis(**options, password=password) as client, pytest.raises(redis.ConnectionError):
        client.get("greeting")


def test_memcached_answers_its_client(curated: Curated) -> None:
    """A pymemcache client writes and reads over TLS with its certificate, and without one gets nothing."""
    name = f"{curated.mesh.resources()['kubernetes:helm.sh/v3:Release::hello']['outputs']['name']}-cache"
    context = _named(curated.context("cache"), name)
    client = pymemcache.Client(curated.address("cache"), tls_context=context, timeout=10)
    client.set("greeting", b"hello")
    assert client.get("greeting") == b"hello"
    client.close()
    stranger = pymemcache.Client(
        curated.address("cache"), tls_context=_named(curated.context("cache", certificate=False), name), timeout=10
    )
    with pytest.raises((OSError, pymemcache.exceptions.MemcacheError)):
        stranger.get("greeting")


def test_nginx_answers_over_tls(curated: Curated) -> None:
    """An httpx client trusts nginx by the authority that CAS publishes, and by its name in the cluster."""
    authority = public_value(curated.mesh.cas, f"{curated.mesh.cas_namespace}/web", "web_ca_cert")
    context = ssl.create_default_context(cadata=authority)
    host, port = curated.address("web")
    with httpx.Client(verify=context, trust_env=False) as client:
        answer = client.get(
            f"https://{host}:{port}/", headers={"Host": "hello-web"}, extensions={"sni_hostname": "hello-web"}
        )
        assert answer.status_code == 200
        assert "nginx" in answer.text
        sent = client.post(f"https://{host}:{port}/", content=b"x" * 2**21, extensions={"sni_hostname": "hello-web"})
        assert sent.status_code == 413
    with httpx.Client(verify=context, trust_env=False) as client, pytest.raises(httpx.ConnectError):
        client.get(f"https://{host}:{port}/", extensions={"sni_hostname": "another"})


def test_mariadb_answers_its_client(curated: Curated) -> None:
    """PyMySQL uses the database over TLS with certificate and password; each alone, or no TLS, is refused."""
    host, port = curated.address("db")
    password = curated.environment["DB_PASSWORD"]
    options: dict[str, Any] = {"host": host, "port": port, "user": "app", "database": "app", "connect_timeout": 10}
    with pymysql.connect(**options, password=password, ssl=_named(curated.context("db"), "hello-db")) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE greetings (text VARCHAR(20))")
        cursor.execute("INSERT INTO greetings VALUES ('hello')")
        cursor.execute("SELECT text FROM greetings")
        assert cursor.fetchall() == (("hello",),)
        cursor.execute("SELECT user, host FROM information_schema.processlist WHERE id = connection_id()")
        assert cursor.fetchone()[0] == "app"
        # The SQL of the Meshfile ran once, before the database was opened, with the service's own secret in it.
        cursor.execute("SELECT text FROM seeded")
        ((seeded,),) = cursor.fetchall()
        assert re.fullmatch("[0-9a-f]{64}", seeded)
    anonymous = _named(curated.context("db", certificate=False), "hello-db")
    attempts: tuple[dict[str, Any], ...] = (
        {"password": password, "ssl": anonymous},
        {"password": "guessed", "ssl": _named(curated.context("db"), "hello-db")},
        {"password": password, "ssl_disabled": True},
    )
    for refused in attempts:
        with pytest.raises(pymysql.err.OperationalError):
            pymysql.connect(**options, **refused)


def test_mariadb_has_no_account_without_a_password(curated: Curated) -> None:
    """Who gets to the pod's own address (by port-forward, say) finds none of the accounts that a new database has."""
    for user in ("root", "nobody"):
        command = ("mariadb", "--no-defaults", "--ssl", "-h", "127.0.0.1", "-u", user, "-e", "SELECT 1")
        assert "Access denied" in curated.execute("db", *command, check=False)


@pytest.mark.parametrize("service", SERVICES)
def test_curated_pod_is_hardened(curated: Curated, service: str) -> None:
    """It runs as nobody on a read-only root, from our confidential image; keys and configuration lie in memory."""
    pod = curated.pods[service]
    container = pod["spec"]["containers"][0]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["image"].startswith(f"{curated.mesh.repository}/{service}@sha256:")
    assert curated.execute(service, "sh", "-c", "echo x > /etc/x", check=False).count("Read-only file system") == 1
    key = curated.execute(service, "readlink", f"/tls/{service}.key").strip()
    assert key.startswith("/.scone/memory/")
    (mount,) = [
        line.split()
        for line in curated.execute(service, "cat", "/proc/mounts").splitlines()
        if line.split()[1] == "/.scone/memory"
    ]
    assert mount[2] == "tmpfs"


def test_nothing_changed_is_no_difference(curated: Curated) -> None:
    """A second preview of a mesh of curated services wants nothing."""
    assert curated.mesh.preview_steps() == {}


def _named(context: ssl.SSLContext, name: str) -> ssl.SSLContext:
    """The same context, which checks a name although the client connects to an address."""
    wrap = context.wrap_socket

    def wrapped(*arguments: Any, **options: Any) -> ssl.SSLSocket:
        return wrap(*arguments, **{**options, "server_hostname": name})

    context.wrap_socket = wrapped  # type: ignore[method-assign]
    return context
