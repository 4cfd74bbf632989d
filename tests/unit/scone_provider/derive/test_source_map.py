"""Errors of derived policies: at the line of what a person wrote, in the words of the rule."""

from typing import Any

import pytest

from scone_policy.syntax.yaml_source import load
from scone_provider.errors import ManifestError
from support.derive_meshes import DATABASE, SHOP, SHOP_IMAGES, WEB, derive, shop

CERTIFICATE = "{name: c, kind: x509, private_key: nowhere}"
MAA = "  tolerate: hyperthreading\n  maa: https://maa.example"


def refused(*, mesh: str = SHOP, web: str = WEB, db: str = DATABASE, **options: Any) -> str:
    """What is said about the shop with this mistake in it."""
    with pytest.raises(ManifestError) as caught:
        derive(*shop(mesh=mesh, web=web, db=db), SHOP_IMAGES, release="shop", **options)
    return str(caught.value)


def test_secrets() -> None:
    """Of a service, of what services share, and of what both are made with: the manifest that defines it."""
    local = refused(web=WEB.replace("  import: [db", f"    - {CERTIFICATE}\n  import: [db"))
    assert local.startswith(
        "web.yaml:22: secrets.local.c.private_key: must name a secret of this session, of kind private-key"
    )
    shared = DATABASE.replace(
        "{name: db_password, kind: ascii, size: 16}", CERTIFICATE.replace("name: c", "name: db_password")
    )
    assert refused(db=shared.replace("::db_password$$", "::db_password:crt$$")).startswith(
        "db.yaml:16: secrets.global.db_password.private_key: must name a secret"
    )


def test_section_security_is_the_meshfiles() -> None:
    """What attestation needs beside a mode of the Meshfile's is said at that mode."""
    said = refused(mesh=SHOP.replace("  tolerate: hyperthreading", MAA))
    assert said.startswith("mesh.yaml:11: policy.maa: mode maa needs maa-managed-tcb among the tolerations")


def test_several_rules_are_told_together() -> None:
    """Each on a line of its own, with its own place."""
    two = f"    - {CERTIFICATE}\n    - {{name: d, kind: x509, private_key: nowhere, issuer: nobody}}\n  import: [db"
    said = refused(web=WEB.replace("  import: [db", two))
    assert said.splitlines()[0] == "3 rules are broken"
    assert [line.split(": ")[1] for line in said.splitlines()[1:]] == [
        "secrets.local.c.private_key",
        "secrets.local.d.private_key",
        "secrets.local.d.issuer",
    ]


def test_a_template_answers_for_what_it_says() -> None:
    """A rule that the template breaks names its line; one that the manifest breaks beside it, the manifest's."""
    template = load("secrets:\n  - {name: t, kind: x509, private_key: nowhere}\n", file="p.yaml")
    said = refused(templates={"web_front": template})
    assert said.startswith("p.yaml:2: secrets.t.private_key: must name a secret")
    web = WEB.replace("  import: [db", f"    - {CERTIFICATE}\n  import: [db")
    said = refused(templates={"web_front": load("secrets: [{name: t, kind: ascii}]\n", file="p.yaml")}, web=web)
    assert said.startswith("web.yaml:22: secrets.local.c.private_key: ")


def test_what_nobody_wrote_names_the_policy() -> None:
    """A fact about an image that is none is a fault of ours: path and policy are said, and whose image it is."""
    images = {
        **SHOP_IMAGES,
        "db": SHOP_IMAGES["db"].__class__(reference="r", measurement="none", fspf_tag="", identity="x"),
    }
    with pytest.raises(ManifestError) as caught:
        derive(*shop(), images, release="shop")
    assert "db.yaml:4: build.name: the derived policy company/shop/db breaks a rule: services.db." in str(caught.value)


def test_a_value_is_blamed_where_it_was_said() -> None:
    """A variable that only stands for another one leads to the line of that one's value."""
    mesh = SHOP.replace("{name: APP_SERVICE_PORT, value: 8080}", '{name: APP_SERVICE_PORT, value: "{{port}}"}')
    mesh = mesh.replace(
        "      - {name: title, value: everyone}\n",
        "      - {name: title, value: everyone}\n      - {name: port, value: 99999}\n",
    )
    assert refused(mesh=mesh).startswith("mesh.yaml:18: env.global.env.port: APP_SERVICE_PORT must be a number from 1 ")


def test_images_that_would_take_each_others_place() -> None:
    """Two images of one name and one destination are refused where the second is named."""
    repo = "repo: {destination: mirror.example/x}\n"
    mesh = SHOP.replace("registry.example/shop/db:1", "registry.example/other/web:1") + repo
    said = refused(mesh=mesh, db=DATABASE.replace("registry.example/shop/db:1", "registry.example/other/web:1"))
    assert said.startswith(
        "db.yaml:6: build.to: registry.example/other/web:1 and registry.example/shop/web:1 would both"
    )
    assert "pushed to mirror.example/x/web:1" in said
    unpushed = mesh.replace("mirror.example/x}", "mirror.example/x, push: false}")
    derive(
        *shop(mesh=unpushed, db=DATABASE.replace("registry.example/shop/db:1", "registry.example/other/web:1")),
        SHOP_IMAGES,
        release="shop",
    )


@pytest.mark.parametrize(("section", "whose"), [("global", "no service"), ("db", "not the service db")])
def test_sizes_of_volumes_that_are_not_there(section: str, whose: str) -> None:
    """Room for a volume that nobody has would be ignored without a word."""
    old = {"global": "      - {name: SCONE_LOG", "db": "      - {name: restartPolicy"}[section]
    mesh = SHOP.replace(old, f"      - {{name: volume_x_size, value: 1Gi}}\n{old}", 1)
    said = refused(mesh=mesh)
    assert f"env.{section}.env.volume_x_size: volume_x_size asks for room for the volume x, which {whose} has" in said


def test_variables_without_effect_are_warned_about() -> None:
    """A service's own variable for which nothing of it asks, with a near one; Kubernetes' copies of a Job."""
    mesh = SHOP.replace("- {name: title, value: The Shop}", "- {name: titel, value: The Shop}")
    mesh = mesh.replace(
        "- {name: restartPolicy, value: OnFailure}",
        "- {name: restartPolicy, value: OnFailure}\n      - {name: replicaCount, value: 2}",
    )
    found = derive(*shop(mesh=mesh), SHOP_IMAGES, release="shop").warnings
    said = "nothing of the service web_front uses the variable titel: did you mean title? "
    assert f"{said}(mesh.yaml:26: env.web_front.env.titel)" in found
    assert "replicaCount of the service db has no effect: restartPolicy OnFailure makes a Job, one pod" in found


def test_variables_with_an_effect_are_not_warned_about() -> None:
    """Names for the chart, references from manifests, other variables, secrets, templates: all of them count as use."""
    names = (
        "APP_SERVICE_PORT",
        "imagePullSecrets",
        "useSGXDevPlugin",
        "sgxEpcMem",
        "a",
        "b",
        "c",
        "d",
        "volume_data_size",
    )
    values = {
        "APP_SERVICE_PORT": "1",
        "useSGXDevPlugin": "scone",
        "sgxEpcMem": "1",
        "a": "'{{b}}'",
        "volume_data_size": "1Gi",
    }
    given = "".join(f"      - {{name: {name}, value: {values.get(name, 'x')}}}\n" for name in names)
    mesh = SHOP.replace("      - {name: replicaCount, value: 3}\n", given)
    web = WEB.replace("name: session_key, kind: binary, size: 32", "name: session_key, kind: ascii, value: '{{c}}'")
    web = web.replace(":hex$$", "$$").replace("pwd: /app", "pwd: /{{a}}\n  volumes: [{name: data, path: /data}]")
    template = load("services: {web_front: {environment: {D: '{{d}}'}}}\n", file="p.yaml")
    found = derive(*shop(mesh=mesh, web=web), SHOP_IMAGES, release="shop", templates={"web_front": template}).warnings
    assert [warning for warning in found if "nothing of the service" in warning] == []
