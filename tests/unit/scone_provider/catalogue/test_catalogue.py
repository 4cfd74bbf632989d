"""Curated services: what an image's name alone becomes, and what is said about a mistake."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from scone_policy import parse
from scone_policy.syntax.yaml_source import Document, load
from scone_provider.catalogue.load import load_catalogue
from scone_provider.catalogue.matching import curate
from scone_provider.derive import ImageFacts, MeshPlan
from scone_provider.errors import ManifestError
from scone_provider.manifest import Mesh, ServiceManifest, load_mesh, load_service
from scone_provider.manifest.overrides import ServiceFiles, overridden
from support.derive_meshes import derive

MESH = """\
apiVersion: scone/5.8
kind: mesh
cas: [{name: cas, alias: [image, security, access, attestation], cas_url: cas.example}]
policy: {namespace: shop}
env:
  - {service: global, env: [{name: APP_SERVICE_PORT, value: 4996}, {name: restartPolicy, value: OnFailure}]}
"""
API = """\
apiVersion: scone/5.8
kind: genservice
environment: {{}}
secrets: {{import: [{secrets}]}}
build: {{name: api, kind: python, to: "r.example/team/api:1", pwd: /app, command: python3 api.py, copy: [api.py]}}
"""
IMAGES = {
    "redis": "redis:7",
    "memcached": "hub.example/library/memcached:1.6",
    "nginx": "nginx:1.22",
    "mariadb": "mariadb:10.11",
}


def plan_of(
    services: Mapping[str, str],
    *,
    imports: Sequence[str] | None = None,
    env: str = "",
    more: str = "repo: {destination: r.example/team}\n",
    catalogue: Sequence[str] = (),
) -> MeshPlan:
    """A mesh of curated services (name to image), and with `imports` an `api` of its own beside them."""
    own = {} if imports is None else {"api": load_service(API.format(secrets=", ".join(imports)), file="api.yaml")}
    named = {**services, **({"api": "r.example/team/api:1"} if own else {})}
    lines = "".join(f"  - {{name: {name}, image: '{image}'}}\n" for name, image in named.items())
    mesh = load_mesh(f"{MESH}{env}services:\n{lines}{more}", file="mesh.yaml")
    return plan_of_mesh(mesh, own, catalogue=catalogue)


def plan_of_mesh(
    mesh: Mesh,
    own: Mapping[str, ServiceManifest],
    *,
    catalogue: Sequence[str] = (),
    files: Mapping[str, ServiceFiles] | None = None,
    templates: Mapping[str, Document] | None = None,
) -> MeshPlan:
    """What is derived from a mesh whose `own` services have manifests, and some of them files beside them."""
    curated = curate(mesh, own, load_catalogue(catalogue))
    manifests = {**own, **{name: one.manifest for name, one in curated.items()}}
    manifests = {name: overridden(one, (files or {}).get(name, ServiceFiles())) for name, one in manifests.items()}
    facts = {
        name: ImageFacts(
            reference=f"{one.build.to.rpartition(':')[0]}@sha256:{'ab' * 32}",
            measurement="cd" * 32,
            fspf_tag="ef" * 16,
            identity=f"team/{name}",
        )
        for name, one in manifests.items()
    }
    found = {name: one.policy for name, one in curated.items() if one.policy is not None} | dict(templates or {})
    return derive(mesh, manifests, facts, release="rel", templates=found, curated=curated)


def env(service: str, **values: object) -> str:
    """A section of `env` for one service, which follows the global one."""
    found = ", ".join(f"{{name: {name}, value: '{value}'}}" for name, value in values.items())
    return f"  - {{service: {service}, env: [{found}]}}\n"


def refusal(services: Mapping[str, str], **options: Any) -> str:
    """The text of the error."""
    with pytest.raises(ManifestError) as caught:
        plan_of(services, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", IMAGES)
def test_image_alone_makes_a_service(name: str) -> None:
    """Its policy is valid, the chart opens the port that it listens on, and what is for others leaves it alone."""
    plan = plan_of({name: IMAGES[name]})
    parse(plan.policies[name])
    values = plan.chart["services"][name]
    ports = {"redis": 6379, "memcached": 11211, "nginx": 8443, "mariadb": 3306}
    assert (values["port"], values["kind"], values["replicas"]) == (ports[name], "Deployment", 1)
    assert values["probes"]["readinessProbe"]["tcpSocket"] == {"port": "service"}
    assert values["resources"]["limits"]["memory"].endswith("Mi")
    assert values["image"].startswith(f"r.example/team/{name}@sha256:")
    served = plan.policies[name]["services"][name]
    assert not any("$$" in text or "{{" in text for text in served["command"])
    certificate = plan.policies[name]["secrets"][f"{name}_server_cert"]
    assert certificate["common_name"] == f"rel-{name}"


@pytest.mark.parametrize("name", ["redis", "memcached", "mariadb"])
def test_every_curated_server_asks_for_certificates(name: str) -> None:
    """The certificates of clients are issued by the service's own authority, whose key no importer gets."""
    plan = plan_of({name: IMAGES[name]}, imports=[f"{name}_client_cert", f"{name}_ca_cert"])
    shared = plan.namespace_policy["secrets"]
    assert shared[f"{name}_client_cert"]["issuer"] == f"{name}_ca_cert"
    assert shared[f"{name}_client_cert"]["export"] == {"shop/api": {"session": True}}
    assert "export" not in shared[f"{name}_ca_key"]
    assert set(plan.policies["api"]["secrets"]) == {f"{name}_client_cert", f"{name}_ca_cert"}


def test_variables_reach_policy_and_chart() -> None:
    """A variable of the Meshfile ends where the entry's templates name it, chosen ones as the lines they stand for."""
    section = env(
        "redis", REDIS_PORT=7000, redis_auth="certificate+password", redis_memory_limit="1Gi", volume_data_size="2Gi"
    )
    plan = plan_of({"redis": "redis:7"}, imports=["redis_password"], env=section)
    configuration = plan.policies["redis"]["images"]["redis"]["injection_files"]["/tls/redis.conf"]["content"]
    assert "tls-port 7000\n" in configuration
    assert "requirepass $$SCONE::redis_password:hex$$\n" in configuration
    values = plan.chart["services"]["redis"]
    assert (values["port"], values["resources"]["limits"]) == (7000, {"memory": "1Gi"})
    assert values["volumes"]["data"] == {"path": "/data", "size": "2Gi"}
    assert plan.policies["api"]["secrets"]["redis_password"]["kind"] == "binary"


def test_two_of_a_kind_do_not_meet() -> None:
    """Secrets carry the name of their service, so that two of one entry, and importers of either, are clear."""
    plan = plan_of({"jobs": "redis:7", "cache_1": "redis:7"}, imports=["jobs_ca_cert", "cache_1_ca_cert"])
    assert {"jobs_ca_cert", "cache_1_ca_cert"} <= set(plan.namespace_policy["secrets"])
    assert plan.chart["services"]["cache-1"]["image"].startswith("r.example/team/cache-1@")
    assert plan.policies["cache_1"]["secrets"].keys() >= {"cache_1_server_cert", "cache_1_ca_cert"}


def test_image_goes_where_those_of_the_mesh_go() -> None:
    """Without `repo`, the confidential image goes beside the ones that the mesh builds; without any it is asked for."""
    plan = plan_of({"redis": "redis:7"}, imports=[], more="")
    assert plan.chart["services"]["redis"]["image"].startswith("r.example/team/redis@")
    text = refusal({"redis": "redis:7"}, more="")
    assert text.startswith("mesh.yaml:8: services.redis.image: nothing says where")
    assert "repo.destination" in text


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("reddis:7", "no service manifest builds reddis:7, and the catalogue has no reddis\n  → Did you mean redis?"),
        ("team/billing:1", "images that need none are mariadb, memcached, nginx, redis."),
        ("redis:2.8", "the catalogue's redis cannot be 2.8: Redis speaks TLS since version 6"),
        ("redis:5", "Redis speaks TLS since version 6"),
        ("memcached:1.5.22-alpine", "TLS is part of memcached's images since version 1.6"),
        ("nginx:1.18", "the catalogue's nginx cannot be 1.18: the option -e"),
        ("mariadb:10.3-focal", "came with MariaDB 10.4\n  → Name one of 10, "),
        ("redis:{{version}}", "the tag of redis:{{version}} is only known when it is too late"),
        ("r.example/team/one:7", "the catalogue has no one"),
        ("r.example/team/redis:7", "would take the place of its native one, r.example/team/redis:7"),
    ],
)
def test_image_that_is_no_curated_one(image: str, message: str) -> None:
    """Whoever misspells a name, or means a version that was not thought of, reads what there is, and the line."""
    text = refusal({"redis": image})
    assert text.startswith("mesh.yaml:8: services.redis.image: ")
    assert message in text


def doubts(image: str) -> str:
    """What a preview warns about the version of an image."""
    return "\n".join(one for one in plan_of({"one": image}).warnings if "made for" in one)


@pytest.mark.parametrize(
    "image",
    ["redis:7", "redis:6.2-alpine", "memcached:1", "nginx:1", "nginx:1.29", "mariadb:10", "mariadb:11.4", "redis:7@"],
)
def test_usual_tags_are_taken_silently(image: str) -> None:
    """Major versions, and what belongs to them, with and without a digest."""
    assert doubts(image.replace("@", f"@sha256:{'ab' * 32}")) == ""


@pytest.mark.parametrize(
    ("image", "tag", "doubt"),
    [
        ("redis", "latest", "redis:latest is another image every few weeks: it is locked to the digest"),
        ("redis:alpine", "alpine", "redis:alpine is another image"),
        ("nginx:stable", "stable", "nginx:stable is another image"),
        ("mariadb:lts", "lts", "mariadb:lts is another image"),
        ("redis:8", "8", "redis:8 is taken for a native image of redis, of a version that was not tried"),
        ("r.example/sconectl/redis:5.8.0", "5.8.0", "redis:5.8.0 is taken for a native image of redis"),
        ("memcached:2", "2", "the catalogue's entry was made for 1, 1-*, 1.6*"),
        (f"redis@sha256:{'ab' * 32}", f"sha256-{'ab' * 6}", "the digest of redis tells no version"),
    ],
)
def test_tags_of_unknown_meaning(image: str, tag: str, doubt: str) -> None:
    """They are taken, and a warning with the line says what nobody knows; each has a confidential image of its own."""
    assert doubt in doubts(image)
    assert "(mesh.yaml:8: services.one.image)" in doubts(image)
    mesh = load_mesh(
        f"{MESH}services: [{{name: one, image: '{image}'}}]\nrepo: {{destination: r.example/t}}\n", file="m.yaml"
    )
    manifest = curate(mesh, {}, load_catalogue())["one"].manifest
    assert manifest.build.to == f"r.example/t/one:{tag}"
    assert manifest.build.from_ == ("redis:latest" if image == "redis" else image)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"redis_prot": 7}, "the service redis has no variable redis_prot\n  → Did you mean REDIS_PORT?"),
        ({"volume_date_size": "1Gi"}, "redis has no variable volume_date_size\n  → Did you mean volume_data_size?"),
        ({"REDIS_PORT": "443"}, "from 1024 on, because it runs without rights"),
        ({"REDIS_PORT": "http"}, "REDIS_PORT of the service redis must be what matches [1-9][0-9]{3,4}"),
        ({"redis_auth": "none"}, "redis_auth of the service redis must be one of certificate, certificate+password"),
        ({"replicaCount": 3}, "replicaCount of the service redis is always 1"),
        ({"redis_max_memory": "1mb\\nprotected-mode no"}, "redis_max_memory of the service redis must be what matches"),
    ],
)
def test_wrong_variable(values: Mapping[str, object], message: str) -> None:
    """Variables of a curated service are known, and so are the values that they take; errors name the line."""
    text = refusal({"redis": "redis:7"}, env=env("redis", **values))
    assert text.startswith("mesh.yaml:7: env.redis.env")
    assert message in text


def test_own_variables_that_something_uses() -> None:
    """A variable of the section may be declared by files beside the service, or used by other values; else it warns."""
    values = {"who": "me", "redis_client_name": "{{who}}", "extra": 1, "declared": 2, "level": 3}
    lines = f"{MESH}{env('redis', **values)}services: [{{name: redis, image: 'redis:7'}}]\n"
    mesh = load_mesh(f"{lines}repo: {{destination: r.example/t}}\n", file="mesh.yaml")
    template = load("services: [{name: redis, environment: {X: '{{extra}}'}}]\n", file="policy.yaml")
    declared = ServiceFiles(env=load("[{name: declared}]\n", file="env.yaml"))
    plan = plan_of_mesh(mesh, {}, files={"redis": declared}, templates={"redis": template})
    served = plan.policies["redis"]["services"]["redis"]["environment"]
    assert (served["X"], served["declared"]) == ("1", "2")
    assert plan.policies["redis"]["secrets"]["redis_client_cert"]["common_name"] == "me"
    (unused,) = [warning for warning in plan.warnings if "has no effect" in warning]
    assert unused.startswith("level has no effect on the service redis: nothing uses it")
    assert unused.endswith("(mesh.yaml:7: env.redis.env.level)")


def test_missing_secret_of_a_sibling() -> None:
    """An import that the curated service does not export is an error at the importer's line."""
    text = refusal({"redis": "redis:7"}, imports=["redis_client_certificate"])
    assert text.startswith("api.yaml:4: secrets.import")
    assert "no other service of the mesh defines the secret redis_client_certificate" in text


def write_entry(folder: Path, name: str, **files: str) -> str:
    """A catalogue of a team's own with one entry; its folder."""
    place = folder / "catalogue" / name
    place.mkdir(parents=True)
    for file, text in files.items():
        (place / f"{file}.yaml").write_text(text)
    return str(folder / "catalogue")


OWN = {
    "entry": "{description: Ours, image: redis, tags: ['7*'], variables: {level: {meaning: how loud, default: low}}}\n",
    "service": "apiVersion: scone/5.8\nkind: genservice\nenvironment: {}\n"
    "build: {name: r, kind: sconify_image, from: $NATIVE, to: $IMAGE, command: 'redis-server --loglevel {{level}}'}\n",
    "values": "labels: {team: '{{service}}'}\nreplicas: 2\n",
    "policy": "services: [{name: '{{service}}', environment: {HOST: '{{host}}'}}]\n",
}


def test_own_entry_comes_first(tmp_path: Path) -> None:
    """A team's entry replaces the package's of that image and tag: manifest, policy template and chart values."""
    folder = write_entry(tmp_path, "ours", **OWN)
    plan = plan_of({"redis": "redis:7", "old": "redis:6.2"}, env=env("redis", level="high"), catalogue=[folder])
    served = plan.policies["redis"]["services"]["redis"]
    assert served["command"] == "redis-server --loglevel high"
    assert served["environment"] == {"HOST": "rel-redis"}
    values = plan.chart["services"]["redis"]
    assert (values["labels"], values["replicas"]) == ({"team": "redis"}, 2)
    assert "old_ca_cert" in plan.policies["old"]["secrets"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({**OWN, "entry": "{image: redis, tags: ['7*']}\n"}, "entry.yaml:1: description: "),
        ({**OWN, "entry": OWN["entry"].replace("tags", "tag")}, "Did you mean tags?"),
        ({**OWN, "entry": OWN["entry"].replace("meaning: how loud", "meaning: m, pattern: '('")}, "regular expression"),
        ({**OWN, "service": "kind: genservice\n"}, "service.yaml:1: "),
        ({**OWN, "values": "[1]\n"}, "values.yaml:1: must be a map"),
        ({**OWN, "policy": "services: [{name: redis, fspf_tag: ab}]\n"}, "policy.yaml:1: services.redis.fspf_tag"),
        ({"entry": OWN["entry"]}, "service.yaml: the file cannot be read: No such file or directory"),
    ],
)
def test_entry_with_a_mistake(tmp_path: Path, files: Mapping[str, str], message: str) -> None:
    """A broken entry is an error with its file and line."""
    folder = write_entry(tmp_path, "ours", **files)
    assert message in refusal({"redis": "redis:7"}, catalogue=[folder])


def test_folder_without_entries(tmp_path: Path) -> None:
    """A catalogue that is none, or is empty, is refused."""
    assert "is no folder" in refusal({"redis": "redis:7"}, catalogue=[str(tmp_path / "nothing")])
    assert "holds no folder with an entry.yaml" in refusal({"redis": "redis:7"}, catalogue=[str(tmp_path)])


def test_flask_and_redis_as_the_example_says() -> None:
    """The example's two services share what they should: the API has a certificate, the authority and the password."""
    folder = Path(__file__).parents[4] / "examples" / "flask-redis"
    variables = {"CAS_URL": "cas", "CAS_NAMESPACE": "shop", "APP_IMAGE_REPO": "r.example/team", "REDIS_VOLUME": ""}
    mesh = load_mesh((folder / "mesh.yaml").read_text(), file="mesh.yaml", variables=variables)
    text = (folder / "api.service.yaml").read_text()
    plan = plan_of_mesh(mesh, {"api": load_service(text, file="api.service.yaml", variables=variables)})
    imported = {name for name, one in plan.policies["api"]["secrets"].items() if "import" in one}
    assert imported == {"redis_ca_cert", "redis_client_cert", "redis_password"}
    shared = plan.namespace_policy["secrets"]
    assert set(shared["redis_password"]["export"]) == {"shop/api", "shop/redis"}
    assert shared["redis_client_cert"]["common_name"] == "rel-api"
    assert plan.policies["api"]["secrets"]["api_ca_cert"]["export_public"] is True
    assert plan.chart["services"]["redis"]["volumes"] == {"data": {"path": "/data"}}


SHOP = {"mc": "memcached:1.6", "web": "nginx:1.22", "db": "mariadb:10.11", "store": "redis:7"}
VENDORS = """\
  - service: helm
    env:
      - {name: database_host, value: shop-database}
      - {name: database_port, value: 3307}
      - {name: database_user, value: clerk}
      - {name: memcached_host, value: shop-cache}
      - {name: memcached_port, value: 11222}
      - {name: nginx_server_name, value: shop-front}
      - {name: nginx_backend_server_name, value: shop-api}
      - {name: nginx_initContainers_enabled, value: "true"}
      - {name: NGINX_BACKEND_CA_CERT, value: API_CA_CERT}
      - {name: session_secrets, value: ../secrets}
"""


def test_variables_by_the_vendors_names() -> None:
    """Names of the vendor's images count where the entry's own are not given; what has no counterpart is told."""
    plan = plan_of(SHOP, env=VENDORS)
    names = {service: plan.policies[service]["secrets"][f"{service}_server_cert"]["common_name"] for service in SHOP}
    assert names == {"mc": "shop-cache", "web": "shop-front", "db": "shop-database", "store": "rel-store"}
    assert {service: plan.chart["services"][service]["port"] for service in ("mc", "db")} == {"mc": 11222, "db": 3307}
    assert "CREATE USER IF NOT EXISTS 'clerk'@'%'" in str(plan.policies["db"])
    told = [text for text in plan.warnings if "mesh.yaml:" in text and "env.helm" in text]
    assert [text.split(" ")[0] for text in told] == [
        "nginx_backend_server_name",
        "nginx_initContainers_enabled",
        "NGINX_BACKEND_CA_CERT",
        "nothing",
    ]
    assert "write nginx_location: proxy_pass https://<this name>:<port>; (mesh.yaml:" in told[0]
    assert told[3].startswith("nothing of this mesh uses the variable session_secrets (")


def test_own_names_win_over_the_vendors() -> None:
    """An entry's own variable, wherever it is said, counts before one of the vendor's."""
    plan = plan_of({"db": "mariadb:10.11"}, env=env("helm", MARIADB_PORT=3310) + env("db", database_port=3307))
    assert plan.chart["services"]["db"]["port"] == 3310


def test_vendors_variable_of_one_service() -> None:
    """In the service's own section the advice is a warning, too, and no guess at another variable."""
    plan = plan_of({"web": "nginx:1.22"}, env=env("web", nginx_backend_server_name="api"))
    (told,) = [text for text in plan.warnings if "nginx_backend" in text]
    assert told.startswith("nginx_backend_server_name has no effect on the service web: write nginx_location: ")


SQL = "CREATE DATABASE docs;\nCREATE TABLE docs.one (id INT); -- it's one\n"


@pytest.mark.parametrize("written", [SQL, "|\n" + "".join(f"      {line}\n" for line in SQL.splitlines())])
def test_sql_runs_when_the_data_folder_is_made(written: str) -> None:
    """`sqlInitScript` is run once, before the folder takes its place; the block that sconectl needs is read as one."""
    section = f"  - {{service: global, env: [{{name: sqlInitScript, value: {json.dumps(written)}}}]}}\n"
    mesh = MESH.replace("  - {service: global, env: [", "  - {service: helm, env: [")
    text = f"{mesh}{section}services: [{{name: db, image: 'mariadb:10.11'}}]\nrepo: {{destination: r.example/t}}\n"
    plan = plan_of_mesh(load_mesh(text, file="mesh.yaml"), {})
    start = plan.policies["db"]["images"]["db"]["injection_files"]["/tls/start.sh"]["content"]
    before, _, after = start.partition("mariadb-install-db")
    assert SQL in after
    assert after.index(SQL) < after.index("mv new data")
    assert "<<'end of sqlInitScript'\n" in after
    assert "\nend of sqlInitScript\n" in after
    assert "sqlInitScript" not in before
    assert not [one for one in plan.warnings if "sqlInitScript" in one]


def test_no_sql_no_change() -> None:
    """Without it the start is what it always was, byte for byte."""
    start = plan_of({"db": "mariadb:10.11"}).policies["db"]["images"]["db"]["injection_files"]["/tls/start.sh"]
    assert start["content"].endswith(
        "--auth-root-authentication-method=normal\n  mv new data\nfi\nexec mariadbd --defaults-file=/tls/mariadb.cnf\n"
    )
    assert (
        start
        == plan_of({"db": "mariadb:10.11"}, env=env("db", sqlInitScript="")).policies["db"]["images"]["db"][
            "injection_files"
        ]["/tls/start.sh"]
    )


def test_sql_that_would_end_the_script() -> None:
    """A text that holds the mark at which the shell stops reading is refused."""
    text = refusal({"db": "mariadb:10.11"}, env=env("db", sqlInitScript="end of sqlInitScript"))
    assert "sqlInitScript of the service db must be what matches" in text


def test_sql_may_hold_secrets_of_the_service() -> None:
    """As the vendor's example does with root's password, which has another name here."""
    plan = plan_of(
        {"db": "mariadb:10.11"}, env=env("db", sqlInitScript="SET @a = ''$$SCONE::db_root_password:hex$$'';")
    )
    assert "$$SCONE::db_root_password:hex$$" in str(plan.policies["db"]["images"])
    text = refusal({"db": "mariadb:10.11"}, env=env("db", sqlInitScript="$$SCONE::db_root_pasword:hex$$"))
    assert "Did you mean db_root_password?" in text


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MEMCACHED_CA_CERT", "mc_ca_cert"),
        ("MEMCACHED_CLIENT_CERT", "mc_client_cert"),
        ("MARIADB_CA_CERT", "db_ca_cert"),
        ("MYSQL_ROOT_PASSWORD", "db_root_password"),
        ("NGINX_SERVER_CA_CERT", "web_ca_cert"),
        ("redis_ca_cert", "store_ca_cert"),
        ("MC_CLIENT_CERT", "mc_client_cert"),
        ("store_pasword", "store_password"),
    ],
)
def test_secrets_by_the_vendors_names(name: str, meant: str) -> None:
    """An import under the name that the vendor's image has, or nearly the right one, is asked for."""
    text = refusal(SHOP, imports=[name])
    assert text.startswith("api.yaml:4: secrets.import")
    assert f"→ Did you mean {meant}?" in text


def test_the_vendors_name_of_a_service_of_that_name() -> None:
    """Where the service is called as its image, the secret is the lower-case one."""
    text = refusal({"memcached": "memcached:1.6"}, imports=["MEMCACHED_CA_CERT"])
    assert "Did you mean memcached_ca_cert? MEMCACHED_CA_CERT is its name in the vendor's image." in text


def test_the_vendors_confidential_images() -> None:
    """They would be made confidential a second time: a warning names a native one."""
    plan = plan_of({"web": "registry.scontain.com/cicd/nginx:latest"})
    (told,) = [text for text in plan.warnings if "of the vendor's" in text]
    assert told.startswith("registry.scontain.com/cicd/nginx:latest is a confidential image of the vendor's")
    assert "such as nginx:1 (mesh.yaml:8: services.web.image)" in told


def test_documents_name_what_the_entries_know() -> None:
    """Every name of the vendor's images that an entry knows stands in its row of the tables, and what it means here."""
    page = (Path(__file__).parents[4] / "docs" / "curated-services.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    for entry in load_catalogue():
        description = entry.description
        pairs = [(alias, name) for name, one in description.variables.items() for alias in one.aliases]
        pairs += [(name, "a warning") for name in description.advice]
        pairs += [(name, here.replace("{{service}}", "<service>")) for name, here in description.secrets.items()]
        for theirs, ours in pairs:
            assert any(f"`{theirs}`" in row and ours in row for row in rows), theirs
