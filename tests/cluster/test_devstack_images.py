"""The stack's images of well-known services, in real pods without root or a writable root, and with real clients."""

import contextlib
import json
import secrets
import subprocess
import time
from collections.abc import Iterator

import httpx
import pymysql
import pytest
import redis
from pymemcache import Client as Memcached
from tools.devstack import ports
from tools.devstack.recipes import MARIADB, MEMCACHED, NGINX, REDIS, Recipe

PASSWORD = "it's a \\ password of the tests"
PORTS = {"redis": 6379, "memcached": 11211, "nginx": 8080, "mariadb": 3306}
WRITABLE = {
    "redis": ("data",),
    "memcached": (),
    "nginx": ("tmp",),
    "mariadb": ("var/lib/mysql", "tmp"),
}
ENVIRONMENT = {
    "mariadb": {
        "MARIADB_ROOT_PASSWORD": PASSWORD,
        "MARIADB_DATABASE": "shop",
        "MARIADB_USER": "api",
        "MARIADB_PASSWORD": PASSWORD,
    }
}


def pod(recipe: Recipe, tag: str) -> dict:
    """A pod as restricted as the chart's are."""
    folders = WRITABLE[recipe.name]
    container = {
        "name": "service",
        "image": f"docker.io/{recipe.repository}:{tag}",
        "imagePullPolicy": "Always",  # the recipe may have changed
        "env": [{"name": name, "value": value} for name, value in ENVIRONMENT.get(recipe.name, {}).items()],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "volumeMounts": [{"name": f"v{index}", "mountPath": f"/{path}"} for index, path in enumerate(folders)],
    }
    # As a start that was interrupted leaves it: the accounts may have no passwords yet.
    left = "mkdir /var/lib/mysql/mysql && touch /var/lib/mysql/.unfinished"
    before = {**container, "name": "interrupted", "command": ["sh", "-c", left]}
    volumes = [{"name": f"v{index}", "emptyDir": {"medium": "Memory"}} for index in range(len(folders))]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": recipe.name},
        "spec": {
            "initContainers": [before] if recipe.name == "mariadb" else [],
            "containers": [container],
            "volumes": volumes,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
        },
    }


class Services:
    """One pod per image in a namespace of their own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._namespace = f"test-{secrets.token_hex(3)}"

    def start(self) -> None:
        """Create them all."""
        self._kubectl("create", "namespace", self._namespace, named=False)
        pods = [pod(recipe, recipe.tags[0]) for recipe in (REDIS, MEMCACHED, NGINX, MARIADB)]
        self._kubectl("create", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))

    def stop(self) -> None:
        """Let the cluster remove them."""
        self._kubectl("delete", "namespace", self._namespace, "--wait=false", named=False)

    def address(self, name: str) -> str:
        """The pod's address, as soon as its service listens; fails with its log where it never does."""
        self._kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        address = self._kubectl("get", "pod", name, "-o", "jsonpath={.status.podIP}")
        deadline = time.monotonic() + 30
        while not ports.accepts(address, PORTS[name]):
            assert time.monotonic() < deadline, self._kubectl("logs", name)
            time.sleep(0.2)
        return address

    def _kubectl(self, *words: str, text: str = "", named: bool = True) -> str:
        order = ["kubectl", *(("-n", self._namespace) if named else ()), *words]
        done = subprocess.run(
            order, env=self._environment, input=text, text=True, capture_output=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def services(stack_environment: dict[str, str]) -> Iterator[Services]:
    made = Services(stack_environment)
    made.start()
    yield made
    made.stop()


def test_redis_keeps_what_it_is_told(services: Services) -> None:
    """Version 7 answers redis-py, and can write its data folder."""
    with redis.Redis(services.address("redis"), socket_timeout=5) as client:
        assert client.info()["redis_version"].startswith("7.")
        client.set("a", "1")
        assert client.get("a") == b"1"
        assert client.save()


def test_memcached_keeps_what_it_is_told(services: Services) -> None:
    """Version 1.6 answers pymemcache."""
    client = Memcached((services.address("memcached"), PORTS["memcached"]), timeout=5, connect_timeout=5)
    with contextlib.closing(client):
        assert client.version().startswith(b"1.6.")
        client.set("a", "1")
        assert client.get("a") == b"1"


def test_nginx_serves_its_page(services: Services) -> None:
    """It listens on a port that needs no privilege."""
    answer = httpx.get(f"http://{services.address('nginx')}:{PORTS['nginx']}/", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["server"] == "nginx"
    assert "nginx" in answer.text


def test_mariadb_makes_its_database_and_accounts(services: Services) -> None:
    """A data folder without a database becomes one; the account that was asked for can use it and nothing else."""
    with (
        pymysql.connect(host=services.address("mariadb"), user="api", password=PASSWORD, database="shop") as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE t (a INT)")
        cursor.execute("INSERT INTO t VALUES (7)")
        cursor.execute("SELECT a, VERSION() FROM t")
        ((value, version),) = cursor.fetchall()
        assert value == 7
        assert version.startswith("10.11.")
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("SELECT * FROM mysql.user")


@pytest.mark.parametrize("user", ["root", "api", "mysql", "mariadb.sys"])
def test_mariadb_lets_nobody_in_without_a_password(services: Services, user: str) -> None:
    """Neither root nor anybody else gets in without one."""
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(host=services.address("mariadb"), user=user, password="")


def test_mariadb_lets_root_in(services: Services) -> None:
    """With the password that the pod was given, whatever characters it has."""
    with pymysql.connect(host=services.address("mariadb"), user="root", password=PASSWORD) as connection:
        assert connection.open
