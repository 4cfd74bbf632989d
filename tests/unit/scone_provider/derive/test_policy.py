"""The derivation's rules, one by one: precedence, secrets, names, refusals with their place."""

import re
from typing import Any

import pytest

from scone_policy import parse
from scone_policy.syntax.holes import Holes, has_hole
from scone_provider.derive import MeshPlan
from scone_provider.derive.chart import enclave_address
from scone_provider.errors import ManifestError
from scone_provider.manifest.names import kubernetes_name
from support.derive_meshes import DATABASE, SHOP, SHOP_IMAGES, WEB, derive, facts, shop


def plan(**texts: str) -> MeshPlan:
    """The shop's plan with some of its manifests replaced."""
    mesh, services = shop(**texts)
    return derive(mesh, services, SHOP_IMAGES, release="shop")


def with_service(name: str) -> str:
    """The shop's Meshfile with one more service, of the database's image, before the database."""
    return SHOP.replace("  - {name: db,", f'  - {{name: {name}, image: "registry.example/shop/db:1"}}\n  - {{name: db,')


def service(found: MeshPlan, name: str = "web_front") -> dict[str, Any]:
    """The one service in a derived policy."""
    return dict(found.policies[name]["services"][name])


@pytest.mark.parametrize(
    ("removed", "title"),
    [
        ([], "The Shop"),
        (["The Shop"], "charts"),
        (["The Shop", "charts"], "everyone"),
        (["The Shop", "charts", "everyone"], "Shop"),
    ],
)
def test_precedence_of_variables(removed: list[str], title: str) -> None:
    """The service's own value wins, then helm, then global, then the manifest's default."""
    mesh = "\n".join(line for line in SHOP.splitlines() if not any(f"value: {value}}}" in line for value in removed))
    found = service(plan(mesh=mesh))
    assert found["environment"]["title"] == title
    assert found["environment"]["TITLE"] == f"{title} by company/shop"
    assert f"--title {title!r}" in found["command"] or f"--title {title}" in found["command"]


def test_a_variable_stays_one_argument_only_inside_quotes() -> None:
    """A quoted variable is one argument, whatever its value: The Shop does not become two."""
    assert service(plan())["command"] == "python3 web.py --title 'The Shop' --host shop-db"


def test_pre_attestation_variables_go_to_the_container() -> None:
    """`SCONE_*` acts before CAS delivers anything: it is in the chart, and not in the policy."""
    found = plan()
    assert found.chart["services"]["web-front"]["env"] == {"SCONE_HEAP": "512M", "SCONE_LOG": "error"}
    assert not [name for name in service(found)["environment"] if name.startswith("SCONE_")]


def test_shared_secret_lives_in_the_namespace() -> None:
    """An imported secret is held by the namespace's policy and exported to exactly its users."""
    found = plan()
    shared = found.namespace_policy["secrets"]
    assert shared == {
        "db_password": {
            "kind": "ascii",
            "size": 16,
            "export": {"company/shop/db": {"session": True}, "company/shop/web_front": {"session": True}},
        }
    }
    imported = {"kind": "ascii", "import": {"session": "company/shop", "secret": "db_password"}}
    assert found.policies["web_front"]["secrets"]["db_password"] == imported
    assert found.policies["db"]["secrets"]["db_password"] == imported
    assert found.imports == {"web_front": ("company/shop",), "db": ("company/shop",)}


def test_secret_without_importer_stays_at_home() -> None:
    """A global secret that nobody imports is held by its own service's policy."""
    found = plan()
    assert found.policies["db"]["secrets"]["admin"] == {"kind": "ascii", "size": 20}
    assert "admin" not in found.namespace_policy["secrets"]


def test_unknown_image_facts_stay_small() -> None:
    """While an image is not built, exactly its own fields are unknown, in the policy and in the chart."""
    holes = Holes()
    hole = {key: holes.punch(key) for key in ("reference", "measurement", "fspf_tag")}
    mesh, services = shop()
    images = {**SHOP_IMAGES, "db": facts("shop/database", "/db", **hole)}
    known, found = plan(), derive(mesh, services, images, release="shop")
    assert found.policies["web_front"] == known.policies["web_front"]
    policy: Any = found.policies["db"]
    assert policy["services"]["db"]["fspf_tag"] == hole["fspf_tag"]
    assert policy["services"]["db"]["attestation"] == {"mrenclave": hole["measurement"]}
    assert [key for key, value in policy["services"]["db"].items() if has_hole(value)] == ["attestation", "fspf_tag"]
    assert [key for key, value in found.chart["services"]["db"].items() if has_hole(value)] == ["image"]


def test_derived_policies_are_valid_sessions() -> None:
    """Every derived policy parses to itself, so that what a preview shows is what CAS gets."""
    found = plan()
    for policy in (found.namespace_policy, *found.policies.values()):
        assert parse(policy).canonical() == policy


def test_no_secret_reaches_the_chart() -> None:
    """An explicit secret value is in the policy that holds it, and nowhere in the values or warnings."""
    found = plan(db=DATABASE.replace("kind: ascii}", "kind: ascii, value: hunter2}"))
    assert "hunter2" in str(found.policies["db"])
    assert "hunter2" not in str(found.chart) + str(found.warnings) + repr(found)


REFUSED = [
    ("mesh", "      - {name: SCONE_LOG, value: error}\n", "", "web.yaml:18: environment.global.SCONE_LOG", "SCONE_LOG"),
    ("mesh", "value: 8080", "value: 80800", "env.global.env.APP_SERVICE_PORT", "from 1 to 65535"),
    ("mesh", "value: 3}", "value: many}", "env.web_front.env.replicaCount", "number"),
    ("mesh", "value: 128", "value: 128Mi", "env.helm.env.sgxEpcMem", "number"),
    ("mesh", "OnFailure", "Sometimes", "env.db.env.restartPolicy", "Always, OnFailure, Never"),
    ("mesh", "value: azure", "value: amd", "env.helm.env.useSGXDevPlugin", "scone, azure, disabled"),
    ("mesh", "/web:1", "/web:2", "mesh.yaml:33: services.web_front.image", "its manifest builds"),
    ("mesh", "ingress: {", "ingress: [", "helm_extra_values", "YAML"),
    ("mesh", '"{{release}}-db"', '"{{nobody}}"', "env.global.env.db_host", "{{nobody}} has no value"),
    ("mesh", '"{{release}}-db"', '"{{db_host}}"', "env.global.env.db_host", "defined by itself"),
    ("web", "--host {{db_host}}", "--host {{db}}", "web.yaml:8: build.command", "{{db}} has no value"),
    ("web", "--host {{db_host}}", "$$SCONE::none$$", "web.yaml:8: build.command", "names no secret of the service"),
    ("web", "::session_key:hex", "::session_key:pem", "environment.local.SESSION_KEY", "does not fit"),
    ("web", "password = $$SCONE::db", "x = $$SCONE::", "injection_files./etc/web.conf.content", "names no secret"),
    ("web", "value: 512M", 'value: "$$SCONE::session_key$$"', "environment.local.SCONE_HEAP", "cannot hold a secret"),
    ("web", "name: SCONE_HEAP", "name: SCONE_CONFIG_ID", "environment.local.SCONE_CONFIG_ID", "set by the chart"),
    ("web", "import: [db_password]", "import: [nothing]", "secrets.import.nothing", "no other service"),
    (
        "web",
        "import: [db_password]",
        "import: [session_key]",
        "secrets.import.session_key",
        "both imported and defined",
    ),
    ("db", "name: admin, kind: ascii}", "name: x, kind: ascii}", "environment.local.ADMIN", "$$SCONE::admin$$"),
]


@pytest.mark.parametrize(("which", "old", "new", "place", "words"), REFUSED, ids=[f"{c[3]} {c[4]}" for c in REFUSED])
def test_refusals_name_place_and_rule(which: str, old: str, new: str, place: str, words: str) -> None:
    """What cannot be derived is an error with file, line and path in the manifest that must be changed."""
    texts = {"mesh": SHOP, "web": WEB, "db": DATABASE}
    assert old in texts[which]
    with pytest.raises(ManifestError) as caught:
        plan(**{which: texts[which].replace(old, new, 1)})
    assert re.match(r"(mesh|web|db)\.yaml:[0-9]+: ", str(caught.value))
    assert place in str(caught.value)
    assert words in str(caught.value)


def test_ambiguous_import_is_refused() -> None:
    """Two siblings with a secret of the imported name: nobody guesses which is meant."""
    mesh, services = shop(mesh=with_service("db2"))
    with pytest.raises(ManifestError, match="db2 and db: which one is meant"):
        derive(mesh, {**services, "db2": services["db"]}, {**SHOP_IMAGES, "db2": SHOP_IMAGES["db"]}, release="shop")


def test_service_without_manifest_is_refused_by_name() -> None:
    """A curated image brings its own policy: not supported yet, and said so."""
    mesh, services = shop()
    with pytest.raises(ManifestError, match=r"mesh.yaml:34: services.db: the service db has no service manifest"):
        derive(mesh, {"web_front": services["web_front"]}, SHOP_IMAGES, release="shop")


def test_names_that_collide_in_kubernetes_are_refused() -> None:
    """Lowering names must not make two services one."""
    mesh, services = shop(mesh=with_service("web-front"))
    with pytest.raises(ManifestError, match="would both be named web-front"):
        derive(
            mesh,
            {**services, "web-front": services["db"]},
            {**SHOP_IMAGES, "web-front": SHOP_IMAGES["db"]},
            release="shop",
        )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SconeApps", "sconeapps"),
        ("python_hello_user", "python-hello-user"),
        ("a.b~c", "a-b-c"),
        ("9to5", "s-9to5"),
        ("~", ""),
    ],
)
def test_kubernetes_names(name: str, expected: str) -> None:
    """Lower case, dashes for the rest, a letter first."""
    assert kubernetes_name(name) == expected


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("cas.default", "cas.default:18765"),
        ("cas.default:8081", "cas.default:18765"),
        ("https://cas.example:8081/", "cas.example:18765"),
        ("[::1]:8081", "[::1]:18765"),
    ],
)
def test_services_use_the_enclave_port(url: str, address: str) -> None:
    """However the Meshfile spells the CAS, pods connect to its enclave port."""
    assert enclave_address(url) == address


def test_warnings_say_what_is_risky() -> None:
    """Test switches, ignored advisories, debug enclaves, Kubernetes' own files, overridden locals: each said once."""
    risky = SHOP.replace("    cas_key", "    tolerance: --only_for_testing-debug\n    cas_key", 1)
    risky = risky.replace("ignore_advisories: INTEL-SA-00586", 'ignore_advisories: "*"')
    risky = risky.replace("tolerate: hyperthreading", "tolerate: debug-mode")
    risky = risky.replace("- {name: title, value: The Shop}", "- {name: TITLE, value: mine}")
    warnings = "\n".join(plan(mesh=risky).warnings)
    for words in (
        "no owners",
        "--only_for_testing-debug is",
        "ignore_advisories is *",
        "debug-mode is tolerated",
        "/etc/hosts belongs",
        "TITLE is local",
    ):
        assert warnings.count(words) == 1, words
    assert "no owners" not in "\n".join(derive(*shop(), SHOP_IMAGES, release="x", owners=["CREATOR"]).warnings)


def test_a_variable_that_several_services_have_as_local() -> None:
    """Its services are named in the order of their names, whatever the Meshfile's order."""
    mesh = SHOP.replace("- {name: db_host,", "- {name: TITLE, value: mine}\n      - {name: db_host,")
    db = DATABASE.replace("    - {name: PASSWORD", "    - {name: TITLE, value: Base}\n    - {name: PASSWORD")
    (found,) = (warning for warning in plan(mesh=mesh, db=db).warnings if warning.startswith("TITLE is local"))
    assert "in the manifest of db and web_front, " in found


def test_variables_in_the_exports_of_a_volume() -> None:
    """They are filled in every item of the list."""
    volume = (
        "  volumes: [{name: data, path: /data, export: [{session: '{{namespace}}/a'}, {session: '{{release}}-b'}]}]\n"
    )
    found = plan(db=DATABASE.replace("  copy: [db.py]\n", "  copy: [db.py]\n" + volume))
    (data,) = found.policies["db"]["volumes"].values()
    assert set(data["export"]) == {"company/shop/a", "shop-b"}
