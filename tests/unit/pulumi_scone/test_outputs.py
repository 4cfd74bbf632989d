"""Outputs in the arguments of components: told apart by what they are, not by where they stand."""

import base64
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.rpc import UNKNOWN

from pulumi_scone import CasNamespace, ConfidentialImage, MeshDeployment, SecurityPolicy
from support.component_meshes import MESH, SERVICE, TYPED
from unit.pulumi_scone.conftest import KEY, Result, Run
from unit.pulumi_scone.test_resource_graph import RELEASE, SECRET_MARK

CAS: Any = {**MESH["cas"][0]}
TO = "localhost:5000/team/api:1"


def later(value: Any) -> Any:
    """An Output of it."""
    return pulumi.Output.from_input(value)


def deploy(run: Run, *, to: Any = TO, image: Any = TO, preview: bool = False, **changes: Any) -> Result:
    """The mesh of one service, made while the program runs; what is callable gives its value there."""

    def program() -> None:
        given = {key: value() if callable(value) else value for key, value in changes.items()}
        pushed = to() if callable(to) else to
        named = pushed if image is None else image() if callable(image) else image
        mesh: Any = {**MESH, "services": [{"name": "api", "image": named}], **given.pop("mesh", {})}
        manifest: Any = {**SERVICE, "build": {**SERVICE["build"], "to": pushed}, **given.pop("manifest", {})}
        args: Any = {"mesh": mesh, "manifests": [manifest], **given}
        MeshDeployment("app", args)

    return run(program, preview=preview)


def test_one_output_is_one_image(run: Run) -> None:
    """`build.to` and `image` that are one Output are one image, as with plain text."""
    inputs = deploy(run, to=lambda: later(TO), image=None).only("dynamic/scone:ConfidentialImage").inputs
    plain = deploy(run).only("dynamic/scone:ConfidentialImage").inputs
    assert inputs == plain


def test_two_outputs_of_one_image_are_told_by_name(run: Run) -> None:
    """Two Outputs that will be one reference are one image, where service and build have one name."""
    found = deploy(run, to=lambda: later(TO), image=lambda: pulumi.Output.concat("localhost:5000", "/team/api:1"))
    assert found.only("dynamic/scone:ConfidentialImage").inputs["to"] == TO


def test_two_outputs_without_a_common_name(run: Run) -> None:
    """Where nothing tells, the error says what would."""
    with pytest.raises(pulumi.RunError, match="one and the same Output, or give the service the name of the build"):
        deploy(
            run,
            image=lambda: later(TO),
            manifest=lambda: {"build": {**SERVICE["build"], "name": "other", "to": later(TO)}},
        )


def test_addresses_are_made_of_known_text(run: Run) -> None:
    """The enclave port takes the place of the client's, and images move, when address and folder are known."""
    found = deploy(
        run,
        mesh=lambda: {
            "cas": [{**CAS, "cas_url": later("https://cas.example:8081/")}],
            "repo": {"destination": later("prod.example/apps/")},
        },
    )
    assert found.only(RELEASE).inputs["values"]["services"]["api"]["cas"] == "cas.example:18765"
    assert found.only("dynamic/scone:ConfidentialImage").inputs["to"] == "prod.example/apps/api:1"


@pytest.mark.parametrize(
    ("variable", "value", "key", "wanted"),
    [
        ("replicaCount", 2, "replicas", 2),
        ("APP_SERVICE_PORT", "8443", "port", 8443),
        ("useSGXDevPlugin", "azure", "sgx", "azure"),
        ("sgxEpcMem", 64, "epcMem", 64),
    ],
)
def test_numbers_and_words_of_the_chart(run: Run, variable: str, value: Any, key: str, wanted: Any) -> None:
    """What the chart counts arrives as a number."""

    def env(given: Any) -> Any:
        return lambda: {"env": [{"service": "api", "env": [{"name": variable, "value": later(given)}, *USER]}]}

    found = deploy(run, mesh=env(value)).only(RELEASE).inputs["values"]["services"]["api"]
    assert found[key] == wanted


USER = ({"name": "API_USER", "value": "me"},)


def test_values_of_the_container_are_text(run: Run) -> None:
    """A number that an Output gives is the text that it was, not what JSON makes of it."""
    environment = lambda: {  # noqa: E731  one line
        "environment": {
            "local": [{"name": "SCONE_HEAP", "value": later(67108864)}, {"name": "N", "value": later(True)}],
            "global": [{"name": "API_USER"}],
        }
    }
    found = deploy(run, manifest=environment)
    assert found.only(RELEASE).inputs["values"]["services"]["api"]["env"]["SCONE_HEAP"] == "67108864"


def test_numbers_inside_of_texts(run: Run) -> None:
    """Text around an Output that is no text is written as manifests write it."""

    def program(value: Any) -> Any:
        policy = "name: a\nversion: '0.3.10'\nservices: [{name: s, command: [a, 'n=$N'], mrenclaves: [%s]}]" % (
            "ab" * 32
        )
        return lambda: SecurityPolicy("p", cas={"url": "cas"}, policy=policy, variables={"N": later(value)})

    found = run(program(8080)).only(":SecurityPolicy").inputs["policy"]
    assert found["services"]["s"]["command"] == "a n=8080"


def test_a_value_of_a_manifest_is_a_secret_however_it_is_given(run: Run) -> None:
    """A given secret that is an Output becomes a Pulumi secret, as one that stands in the manifest does."""
    secrets: Any = lambda: {"secrets": {"local": [{"name": "password", "kind": "ascii", "value": later("planted-3")}]}}  # noqa: E731
    policy = deploy(run, manifest=secrets).only(":SecurityPolicy", "app-api").inputs
    assert policy["policy"]["secrets"]["password"]["value"] == {
        SECRET_MARK: "1b47061264138c4ac30d75fd1eb44270",
        "value": "planted-3",
    }
    assert "private" not in policy


def test_owners_of_a_mesh_and_of_a_namespace(run: Run) -> None:
    """A key hash that is known later may own policies."""
    found = deploy(run, owners=lambda: ["CREATOR", later(KEY)])
    for name in ("app", "app-api"):
        read = found.only(":SecurityPolicy", name).inputs["policy"]["access_policy"]["read"]
        assert read == {"CREATOR": True, "unknown-0": KEY} or set(read.values()) == {True, KEY}

    def alone() -> None:
        CasNamespace("ns", {"namespace": later("acme"), "cas_url": "cas", "owners": ["CREATOR", later(KEY)]})

    policy = run(alone).only(":SecurityPolicy").inputs["policy"]
    assert policy["name"] == "acme"
    assert set(policy["access_policy"]["read"].values()) == {True, KEY}


def test_what_a_component_shows_is_no_placeholder(run: Run) -> None:
    """The namespace of a mesh may be an Output: nothing that stands for it is ever sent."""
    found = deploy(run, mesh=lambda: {"policy": {"namespace": later("north"), "tolerate": "debug-mode"}})
    assert found.only("scone:index:MeshDeployment").inputs["namespace"] == "north"
    assert found.only(":SecurityPolicy", "app-api").inputs["policy"]["name"] == "north/api"
    assert [r.name for r in found.resources if "hole:" in json.dumps(r.inputs)] == []


def test_something_to_await(run: Run) -> None:
    """A coroutine is an input as good as an Output, and is awaited once however often it is used."""

    async def url() -> str:
        return "cas.example"

    found = run(lambda: CasNamespace("ns", {"namespace": "acme", "cas_url": url()}))
    assert found.only("dynamic/scone:Cas").inputs["url"] == "cas.example"
    assert found.only(":SecurityPolicy").inputs["cas"]["url"] == "cas.example"


def test_key_of_cas_in_an_image(run: Run) -> None:
    """`cas_key` of an image may be the key that the program's CAS was attested with."""
    (Path.cwd() / "api.py").touch()

    def program() -> None:
        space = CasNamespace("ns", {"namespace": "acme", "cas_url": "cas"})
        manifest: Any = SERVICE
        ConfidentialImage(
            "i", {"manifest": manifest, "cas_key": space.attested_key, "environment": {"API_USER": later("me")}}
        )

    assert run(program).only("dynamic/scone:ConfidentialImage").inputs["cas_key"] == KEY


def test_pull_secret_of_a_repository_that_is_known_later(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials are looked up when the registry is known; where they are given, nobody has to know it."""
    (tmp_path / "docker").mkdir()
    auth = base64.b64encode(b"u:planted").decode()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {"localhost:5000": {"auth": auth}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    found = deploy(run, to=lambda: later(TO), image=None, pull_secret=True)
    content = found.only("core/v1:Secret").inputs["stringData"]
    assert auth in str(content)
    assert SECRET_MARK in str(content)
    given = deploy(run, to=lambda: later(TO), image=None, pull_secret=True, registry_credentials=lambda: later("{}"))
    assert given.only("core/v1:Secret").inputs["stringData"]["value"] == {".dockerconfigjson": "{}"} or "{}" in str(
        given.only("core/v1:Secret").inputs["stringData"]
    )


def test_the_key_of_an_image_in_a_policy(run: Run) -> None:
    """`fspf_key=image.key` is no secret in clear: it stands for the key, before and after it is known."""

    def program(key: Any) -> Any:
        service = {"command": "a", "fspf_tag": "cd" * 16, "attestation": {"mrenclave": "ab" * 32}}

        def made() -> None:
            policy = {"name": "a", "version": "0.3.10", "services": {"s": {**service, "fspf_key": key()}}}
            SecurityPolicy("p", cas={"url": "cas"}, policy=policy)

        return made

    unknown: Any = pulumi.UNKNOWN
    taken = run(program(lambda: later("derived: team/api"))).only(":SecurityPolicy").inputs
    assert taken["policy"]["services"]["s"]["fspf_key"] == "derived: team/api"
    assert "private" not in taken
    open_yet = run(program(lambda: pulumi.Output.from_input(unknown)), preview=True).only(":SecurityPolicy").inputs
    assert open_yet["policy"]["services"]["s"]["fspf_key"] == UNKNOWN
    assert "private" not in open_yet
    for plain in ("ab" * 32, "AB" * 32):
        found = run(program(lambda plain=plain: later(plain))).only(":SecurityPolicy").inputs
        assert found["private"] == {"plain": "services.s.fspf_key"}


def test_files_and_python_name_one_image(run: Run, tmp_path: Path) -> None:
    """The unit of this table: with plain text nothing of it makes a difference."""
    (tmp_path / "api.py").touch()
    assert deploy(run).only(RELEASE).inputs == run(lambda: MeshDeployment("app", TYPED)).only(RELEASE).inputs
