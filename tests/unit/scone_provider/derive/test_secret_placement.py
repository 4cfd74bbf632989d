"""Where secrets of a mesh live when several services and several CASes take part, and what is taken by reference."""

from typing import Any

import pytest

from scone_policy import parse
from scone_policy.syntax.holes import Holes
from scone_policy.syntax.yaml_source import load
from scone_provider.derive import MeshPlan
from scone_provider.errors import ManifestError
from scone_provider.manifest import load_mesh, load_service
from support.derive_meshes import OWNER, SHOP_IMAGES, WEB, derive, shop

KEY = OWNER
TOKEN = "kind: jwt, signer: s, alg: ES384, validity: {for: 1 day}, payload: {a: b}"
CASES = """\
cas:
  - name: cas
    cas_url: https://cas.example:8081
    cas_key: 3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1
    alias: [attestation]
  - name: image
    cas_url: image.example
    alias: [security, access]
"""
MESH = (
    """\
apiVersion: scone/5.8
kind: mesh
"""
    + CASES
    + """\
policy:
  namespace: shop
env: []
services:
  - {name: web, image: "r.example/web:1"}
  - {name: db, image: "r.example/db:1"}
"""
)
ONE_CAS = MESH.replace(
    CASES, "cas: [{name: cas, alias: [image, security, access, attestation], cas_url: cas.example}]\n"
)
CERTIFICATES = """\
  global:
    - {name: ca_key, kind: private-key}
    - {name: ca, kind: x509-ca, private_key: ca_key, export_public: true}
    - {name: db_key, kind: private-key}
    - {name: db_cert, kind: x509, private_key: db_key, issuer: ca, dns: [db]}
    - {name: client_key, kind: private-key}
    - {name: client, kind: x509, private_key: client_key, issuer: ca, endpoint: client}
    - {name: alone, kind: ascii}
"""


def service(name: str, secrets: str, **environment: str) -> str:
    """A manifest with a section of secrets, and variables in which placeholders may stand."""
    lines = "".join(f"    - {{name: {key}, value: '{value}'}}\n" for key, value in environment.items())
    return (
        f"apiVersion: scone/5.8\nkind: genservice\nbuild: {{name: {name}, kind: python, to: r.example/{name}:1, "
        f"command: run}}\nenvironment:\n  local:\n{lines}secrets:\n{secrets}"
    )


DB = service("db", CERTIFICATES, CERT="$$SCONE::db_cert.crt$$", KEY="$$SCONE::db_cert.key$$", A="$$SCONE::alone$$")
USER = service("web", "  import: [client, ca]\n", CERT="$$SCONE::client.crt$$", CA="$$SCONE::ca.chain$$")


def plan(mesh: str = ONE_CAS, *, web: str = USER, db: str = DB, **options: Any) -> MeshPlan:
    """The plan of two services."""
    services = {"web": load_service(web, file="web.yaml"), "db": load_service(db, file="db.yaml")}
    images = {"web": SHOP_IMAGES["web_front"], "db": SHOP_IMAGES["db"]}
    return derive(load_mesh(mesh, file="mesh.yaml"), services, images, release="shop", **options)


def secrets_of(policy: Any) -> dict[str, Any]:
    """The section, empty where there is none."""
    return policy.get("secrets", {})


def test_what_is_tied_to_a_shared_certificate_lives_beside_it() -> None:
    """Keys, issuer and what the issuer signs for others: one policy makes them all, and the CA's key goes nowhere."""
    found = plan()
    shared = secrets_of(found.namespace_policy)
    assert set(shared) == {"ca_key", "ca", "db_key", "db_cert", "client_key", "client"}
    exports = {name: set(one.get("export", {})) for name, one in shared.items()}
    assert exports == {
        "ca_key": set(),
        "ca": {"shop/web"},
        "db_key": set(),
        "db_cert": {"shop/db"},
        "client_key": set(),
        "client": {"shop/web"},
    }
    assert set(secrets_of(found.policies["web"])) == {"ca", "client"}
    assert set(secrets_of(found.policies["db"])) == {"db_cert", "alone"}


def test_authority_keys_survive_updates() -> None:
    """The CA's key is kept over an update, so that certificates given out before still verify."""
    shared = secrets_of(plan().namespace_policy)
    assert shared["ca_key"]["migrate"] is True
    assert "migrate" not in shared["db_key"]


def test_certificate_of_an_imported_authority_is_made_where_the_authority_is() -> None:
    """A service whose certificate an imported CA signs never gets that CA's key."""
    own = "    - {name: web_key, kind: private-key}\n    - {name: web, kind: x509, private_key: web_key, issuer: ca}\n"
    web = service("web", f"  import: [ca]\n  global:\n{own}", CERT="$$SCONE::web$$")
    found = plan(web=web)
    assert secrets_of(found.namespace_policy)["web"]["issuer"] == "ca"
    assert set(secrets_of(found.namespace_policy)["web"]["export"]) == {"shop/web"}
    imported = secrets_of(found.policies["web"])
    assert imported["web"] == {"kind": "x509", "import": {"session": "shop", "secret": "web"}}
    assert set(imported) == {"web", "ca"}


def test_secrets_that_would_share_a_name_are_refused() -> None:
    """Two services' keys of one name cannot both move to the shared policy: said with the place of the second."""
    web = service(
        "web",
        "  import: [ca]\n  global:\n    - {name: ca_key, kind: private-key}\n"
        "    - {name: w, kind: x509, private_key: ca_key, issuer: ca}\n",
    )
    with pytest.raises(ManifestError, match=r"db\.yaml:\d+: .*web and db both define a secret ca_key"):
        plan(web=web)


def test_shared_secrets_on_another_cas() -> None:
    """They live in the session of the image CAS; imports carry its url and key; the own namespace holds none."""
    found = plan(MESH, cas_keys={"image": KEY})
    assert found.shared_policy is not None
    assert found.shared_policy["name"] == "shop"
    assert secrets_of(found.namespace_policy) == {}
    wanted = {"session": "shop", "secret": "ca", "cas_url": "image.example", "cas_key": KEY}
    assert secrets_of(found.policies["web"])["ca"]["import"] == wanted
    assert found.imports["web"] == ("image.example/shop",) == (found.shared_key,)


def test_cas_whose_key_nobody_knows() -> None:
    """Importing from a CAS without saying which key it has is refused; a key that is not known yet is one hole."""
    with pytest.raises(ManifestError, match=r"mesh\.yaml:.*nobody says which key it has"):
        plan(MESH)
    hole = Holes().punch(None)
    found = plan(MESH, cas_keys={"image": hole})
    assert secrets_of(found.policies["web"])["ca"]["import"]["cas_key"] == hole


def test_image_namespace() -> None:
    """`image_policy_namespace` names the session that holds what is shared, here on the same CAS."""
    found = plan(ONE_CAS.replace("namespace: shop", "namespace: shop\n  image_policy_namespace: images/shop"))
    assert found.shared_policy is not None
    assert found.shared_policy["name"] == "images/shop"
    assert secrets_of(found.policies["web"])["ca"]["import"] == {"session": "images/shop", "secret": "ca"}


def test_sections_by_reference() -> None:
    """Security and access policies of other sessions are imported fragments, referred to by whole sections."""
    named = "namespace: shop\n  security_policy_name: central/security\n  access_policy_name: central/access"
    found = plan(MESH.replace("namespace: shop", named), cas_keys={"image": KEY})
    for policy in found.policies.values():
        assert policy["security"] == "$$SCONE::security$$"
        assert policy["access_policy"] == "$$SCONE::access_policy$$"
        assert policy["secrets"]["security"] == {
            "kind": "config-fragment",
            "import": {"session": "central/security", "secret": "security", "cas_url": "image.example", "cas_key": KEY},
        }
        assert parse(policy).canonical() == policy
    assert found.namespace_policy["access_policy"] == "$$SCONE::access_policy$$"
    assert set(found.namespace_policy["secrets"]) == {"access_policy"}
    assert found.shared_policy is not None
    assert found.shared_policy["access_policy"] == {"read": {"CREATOR": True}, "update": {"CREATOR": True}}
    assert any("central/security on the CAS image" in warning for warning in found.warnings)


def test_attestation_by_reference() -> None:
    """The attestation part alone, from the application's own CAS: no url is needed."""
    found = plan(ONE_CAS.replace("namespace: shop", "namespace: shop\n  attestation_policy_name: central/attestation"))
    assert found.policies["web"]["security"] == {"attestation": "$$SCONE::attestation$$"}
    wanted = {"session": "central/attestation", "secret": "attestation"}
    assert found.policies["web"]["secrets"]["attestation"]["import"] == wanted


def test_reference_that_meets_a_secret_of_its_name() -> None:
    """A secret named like a section that is taken from elsewhere would shadow it: refused. So are owners beside one."""
    named = ONE_CAS.replace("namespace: shop", "namespace: shop\n  access_policy_name: central/access")
    with pytest.raises(ManifestError, match="the secret access_policy has the name of a section"):
        plan(named, db=DB.replace("name: alone", "name: access_policy").replace("SCONE::alone", "SCONE::access_policy"))
    with pytest.raises(ManifestError, match=r"policy\.access_policy_name: owners are given"):
        plan(named, owners=[OWNER])


@pytest.mark.parametrize(
    ("secret", "text", "version"),
    [
        ("{name: s, kind: ascii}", "$$SCONE::s$$", "0.3.10"),
        ("{name: s, kind: private-key}, {name: p, kind: public-key, private_key: s}", "$$SCONE::p$$", "0.3.11"),
        (
            f"{{name: s, kind: private-key, key_type: P-384}}, {{name: j, {TOKEN}}}",
            "$$SCONE::j$$",
            "0.3.12",
        ),
    ],
)
def test_version_is_the_lowest_that_does(secret: str, text: str, version: str) -> None:
    """An older CAS takes whatever it can: a policy states no newer language than its features need."""
    web = service("web", f"  local: [{secret}]\n", A=text)
    assert plan(web=web, db=service("db", "  global: []\n")).policies["web"]["version"] == version


def template(text: str) -> dict[str, Any]:
    """A policy template of the service web."""
    return {"templates": {"web": load(text, file="policy.yaml")}}


def test_template_is_laid_over_the_derived_policy() -> None:
    """It adds to, and overrides by path, what was derived; variables and secrets of both sides meet."""
    text = (
        "services:\n  - name: web\n    command: serve --in '{{namespace}}'\n"
        "    environment: {EXTRA: $$SCONE::extra:hex$$}\n"
        "secrets:\n  - {name: extra, kind: binary, size: 8}\n"
        "images:\n  - name: web\n    injection_files: [{path: /etc/a, content: $$SCONE::client$$}]\n"
    )
    found = plan(**template(text)).policies["web"]
    service_ = found["services"]["web"]
    assert service_["command"] == "serve --in shop"
    assert service_["environment"]["EXTRA"] == "$$SCONE::extra:hex$$"
    assert service_["environment"]["CERT"] == "$$SCONE::client.crt$$"
    assert service_["attestation"] == plan().policies["web"]["services"]["web"]["attestation"]
    assert service_["image_name"] == "web"
    assert found["images"]["web"]["injection_files"] == {"/etc/a": {"content": "$$SCONE::client$$"}}
    assert set(found["secrets"]) == {"extra", "client", "ca"}
    assert parse(found).canonical() == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services: {web: {fspf_key: 'aa'}}\n", "services.web.fspf_key: fspf_key is derived from the image"),
        ("services: {web: {attestation: {mrenclave: aa}}}\n", "services.web.attestation: attestation is derived"),
        ("services: {web: {image_name: x}}\n", "services.web.image_name: image_name is derived"),
        ("services: {db: {pwd: /}}\n", "services.db: this is the template of the service web"),
        ("images: {db: {}}\n", "images.db: the service web has one image"),
        ("name: other\n", "name: a policy template must not say name"),
        ("creator: me\n", "creator: a policy template must not say creator"),
        ("secrets: {a: {kind: zonk}}\n", "secrets.a.kind: must be one of"),
        ("services: {web: {environment: {A: '{{nobody}}'}}}\n", "{{nobody}} has no value for the service web"),
        ("services: {web: {environment: {A: $$SCONE::none$$}}}\n", "$$SCONE::none$$ names no secret"),
        ("[]\n", "must be a map with sections of a session"),
    ],
)
def test_templates_that_are_refused(text: str, said: str) -> None:
    """A template never says what makes the service the one that was built; mistakes have the template's own place."""
    with pytest.raises(ManifestError) as caught:
        plan(**template(text))
    assert "policy.yaml:1" in str(caught.value)
    assert said in str(caught.value)


def test_volumes() -> None:
    """A volume stands in the session, at its path of the image, and in the chart; a size makes it a claim."""
    mesh = ONE_CAS.replace("env: []", "env: [{service: db, env: [{name: volume_data_size, value: 1Gi}]}]")
    found = _with_volumes(mesh, [{"name": "data", "path": "/data"}, {"name": "cache", "path": "/cache/"}])
    policy = found.policies["db"]
    assert set(policy["volumes"]) == {"data", "cache"}
    assert policy["images"]["db"]["volumes"] == {"/cache": {"name": "cache"}, "/data": {"name": "data"}}
    assert policy["services"]["db"]["image_name"] == "db"
    assert found.chart["services"]["db"]["volumes"] == {
        "cache": {"path": "/cache"},
        "data": {"path": "/data", "size": "1Gi"},
    }
    assert parse(policy).canonical() == policy


@pytest.mark.parametrize(
    ("volumes", "size", "said"),
    [
        ([{"name": "data"}], "1Gi", "a volume needs a name and an absolute path"),
        ([{"path": "/data"}], "1Gi", "a volume needs a name and an absolute path"),
        ([{"name": "data", "path": "/a"}], "much", "is written like 512Mi"),
    ],
)
def test_volumes_that_are_refused(volumes: list[dict[str, str]], size: str, said: str) -> None:
    """What neither CAS nor Kubernetes could use is said before either is asked."""
    mesh = ONE_CAS.replace("env: []", f"env: [{{service: db, env: [{{name: volume_data_size, value: {size}}}]}}]")
    with pytest.raises(ManifestError) as caught:
        _with_volumes(mesh, volumes)
    assert said in str(caught.value)


def test_volumes_are_said_to_be_clear_in_software_mode() -> None:
    """Nobody encrypts a volume after the program has begun: a preview says so wherever the CAS is for testing."""
    mesh = ONE_CAS.replace("cas_url: cas.example", "cas_url: cas.example, tolerance: --only_for_testing-debug")
    found = _with_volumes(mesh, [{"name": "data", "path": "/data"}])
    assert any("the volume data of the service db is not encrypted" in warning for warning in found.warnings)


def _with_volumes(mesh: str, volumes: list[dict[str, str]], **options: Any) -> MeshPlan:
    """The plan of a mesh whose database has volumes."""
    manifest = load_service(DB, file="db.yaml")
    build = type(manifest.build).model_validate({**manifest.build.model_dump(by_alias=True), "volumes": volumes})
    services = {"web": load_service(USER, file="web.yaml"), "db": manifest.model_copy(update={"build": build})}
    images = {"web": SHOP_IMAGES["web_front"], "db": SHOP_IMAGES["db"]}
    return derive(load_mesh(mesh, file="mesh.yaml"), services, images, release="shop", **options)


def test_volume_with_one_writer_cannot_overlap() -> None:
    """Two revisions would meet on a claim; a volume of the pod's own is no obstacle."""
    volumes = [{"name": "data", "path": "/data"}]
    overlapping = {"revisions": {"db": "db-1", "web": "web-1"}}
    found = _with_volumes(ONE_CAS, volumes, **overlapping)
    assert found.chart["services"]["db"]["configId"] == "shop/db/db-1"
    mesh = ONE_CAS.replace("env: []", "env: [{service: db, env: [{name: volume_data_size, value: 1Gi}]}]")
    with pytest.raises(ManifestError, match=r"mesh\.yaml:\d+: services\.db: the volume data has one writer"):
        _with_volumes(mesh, volumes, **overlapping)


def test_variables_of_the_cases_and_of_the_mesh() -> None:
    """A CAS exports url and key under its name and each of its roles; extra values are filled with the mesh's."""
    local = "{name: SCONE_HEAP, value: 512M}"
    web = WEB.replace(local, f"{local}\n    - {{name: C, value: '{{{{cas_image_cas_url}}}} {{{{cas_cas_cas_key}}}}'}}")
    mesh, services = shop(web=web)
    found = derive(mesh, services, SHOP_IMAGES, release="shop")
    environment = found.policies["web_front"]["services"]["web_front"]["environment"]
    assert environment["C"] == f"https://cas.example:8081 {OWNER}"
    text = ONE_CAS + "helm_extra_values: \"host: '{{release}}.{{namespace}}'\\nport: 80\\n\"\n"
    assert plan(text).chart["extra"] == {"host": "shop.shop", "port": 80}
    with pytest.raises(ManifestError, match="Did you mean namespace"):
        plan(text.replace("{{namespace}}", "{{namespac}}"))
