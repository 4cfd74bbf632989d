"""Documents as the field writes them: what is taken, what is warned of, what is refused and with which words."""

from typing import Any

import pytest
import yaml

from scone_policy.errors import SconeError
from scone_policy.syntax.holes import Holes
from scone_provider.derive import ImageFacts, MeshPlan
from scone_provider.derive.variable_substitution import filled_mesh
from scone_provider.errors import ManifestError
from scone_provider.manifest import ManifestErrors, Mesh, ServiceManifest, load_mesh, load_service
from scone_provider.manifest.cautions import cautions, sentences
from scone_provider.manifest.image_assignment import assigned
from support.derive_meshes import derive, with_destination

CAS = {"name": "cas", "alias": ["image", "security", "access", "attestation"], "cas_url": "cas.example"}
SERVICE: dict[str, Any] = {
    "apiVersion": "scone/5.8",
    "kind": "genservice",
    "build": {"name": "api", "kind": "python", "to": "r.example/team/api:1", "command": "python3 api.py"},
    "environment": {"local": [{"name": "SCONE_HEAP", "value": "1G"}]},
}
MESH: dict[str, Any] = {
    "apiVersion": "scone/5.8",
    "kind": "mesh",
    "cas": [CAS],
    "policy": {"namespace": "shop"},
    "env": [],
    "services": [{"name": "api", "image": "r.example/team/api:1"}],
}


def service(*, build: dict[str, Any] | None = None, toolchain: Any = "embedded", **sections: Any) -> ServiceManifest:
    """A manifest with these keys of `build` and these sections, from YAML so that lines are known."""
    content = {**SERVICE, "build": {**SERVICE["build"], **(build or {})}, **sections}
    return load_service(yaml.safe_dump(content, sort_keys=False), file="api.yaml", toolchain=toolchain)


def mesh_of(**sections: Any) -> Mesh:
    """A Meshfile with these sections, from YAML."""
    return load_mesh(yaml.safe_dump({**MESH, **sections}, sort_keys=False), file="mesh.yaml")


def plan(mesh: Mesh, *manifests: ServiceManifest) -> MeshPlan:
    """What is derived from a mesh of these manifests, found by their images."""
    mesh = filled_mesh(mesh, release="rel")
    found = [with_destination(one, mesh, release="rel") for one in manifests]
    services = {name: found[number] for name, number in assigned(mesh, found).items()}
    images = {
        name: ImageFacts(reference="r@sha256:" + "ab" * 32, measurement="cd" * 32, fspf_tag="ef" * 16, identity=name)
        for name in services
    }
    return derive(mesh, services, images, release="rel", owners=["CREATOR"])


@pytest.mark.parametrize("kind", ["java", "java8", "java21", "java21-ubuntu", "java17-glibc", "node_18", "go"])
def test_any_kind_with_a_builder(kind: str) -> None:
    """A builder knows its own kinds; without one the refusal names the contract and the three ways to give one."""
    assert service(build={"kind": kind}, toolchain="vendor").build.kind == kind
    with pytest.raises(ManifestError) as caught:
        service(build={"kind": kind})
    assert caught.value.where == "api.yaml:5: build.kind"
    for words in ("docs/vendor-toolchain.md", "scone:builder", "--builder", "kind: sconify_image"):
        assert words in caught.value.fix


@pytest.mark.parametrize(
    ("kind", "meant"), [("Python", "python"), ("pyhton", "python"), ("sconify-image", "sconify_image")]
)
def test_kind_that_is_misspelt(kind: str, meant: str) -> None:
    """A kind of ours that is nearly right is asked for."""
    with pytest.raises(ManifestError, match=f"Did you mean {meant}"):
        service(build={"kind": kind})


@pytest.mark.parametrize("kind", ["java 8", "", "{{kind}}", "../x"])
def test_kind_that_is_no_word(kind: str) -> None:
    """Not even a builder gets what is no word."""
    with pytest.raises(ManifestError, match=r"build\.kind: must be a word"):
        service(build={"kind": kind}, toolchain="vendor")


@pytest.mark.parametrize("to", ["r.example/team/api", "r.example:5000/team/api", "api"])
@pytest.mark.parametrize("tagged", [False, True])
def test_image_without_a_tag_is_latest(to: str, *, tagged: bool) -> None:
    """As every tool has it; the service that uses it may write the tag or not, and a warning asks for one."""
    manifest = service(build={"to": to})
    assert manifest.build.to == f"{to}:latest"
    image = f"{to}:latest" if tagged else to
    found = plan(mesh_of(services=[{"name": "api", "image": image}]), manifest)
    (warning,) = [text for text in found.warnings if "has no tag" in text]
    assert warning.startswith("build.to has no tag, so latest is taken")
    assert "(api.yaml:6: build.to): write a tag" in warning
    assert cautions(service(build={"to": f"{to}:1"})) == []


def test_image_without_a_tag_behind_an_output() -> None:
    """The registry may not be known yet; where the end of the name is not, the tag is not guessed."""
    hole = Holes().punch(None)
    content = {**SERVICE, "build": {**SERVICE["build"], "to": f"{hole}/team/api"}}
    assert load_service(content, file="<m>").build.to == f"{hole}/team/api:latest"
    content["build"]["to"] = f"r.example/{hole}"
    assert load_service(content, file="<m>").build.to == f"r.example/{hole}"


FLAT = [{"name": "API_USER", "value": "me"}, {"name": "PORT", "value": 443}]


@pytest.mark.parametrize(
    "env",
    [
        FLAT,
        [*FLAT, {"service": "api", "env": [{"name": "PORT", "value": 8443}]}],
        [FLAT[0], {"service": "api", "env": []}, FLAT[1]],
        [{"service": "helm", "env": [FLAT[1]]}, FLAT[0]],
    ],
)
def test_flat_env(env: list[dict[str, Any]]) -> None:
    """Variables without a service around them are all services', beside sections of services or without."""
    mesh = mesh_of(env=env)
    assert mesh.env["global"].env["API_USER"] == "me"
    named = {"environment": {"global": [{"name": "API_USER"}, {"name": "PORT"}]}}
    delivered = plan(mesh, service(**named)).policies["api"]["services"]["api"]["environment"]
    assert delivered == {"API_USER": "me", "PORT": "8443" if "8443" in str(env) else "443"}


@pytest.mark.parametrize(
    ("env", "place", "words"),
    [
        ([*FLAT, FLAT[0]], "env[2]", "API_USER stands here twice"),
        ([{"name": "A"}], "env.A", "A has no value"),
        ([{"name": "A=B", "value": 1}], "env[0].name", "must not be empty or hold ="),
        ([{"name": "A", "value": 1, "x": 2}], "env[0].x", "unknown key"),
        ([{"name": "A", "value": [1]}], "env.A.value", "must be text"),
        ([*FLAT, {"service": "global", "env": FLAT}], "env[2]", "in a section global and beside it"),
        ([{"key": "A", "value": 1}], "env[0]", "must be a map with service and env"),
    ],
)
def test_flat_env_with_a_mistake(env: list[dict[str, Any]], place: str, words: str) -> None:
    """Each is one error, with the line of the entry and a next step."""
    with pytest.raises(ManifestError) as caught:
        mesh_of(env=env)
    assert caught.value.parts == ()
    assert caught.value.where.endswith(f": {place}")
    assert words in caught.value.what
    assert caught.value.fix


def test_flat_env_keeps_its_lines() -> None:
    """What is wrong with a value is told where it was written."""
    with pytest.raises(ManifestError, match=r"mesh\.yaml:1[0-9]: env\.replicaCount: replicaCount must be a number"):
        plan(mesh_of(env=[FLAT[0], {"name": "replicaCount", "value": "many"}]), service())


HELM = {"services": {"api": {"resources": {"limits": {"memory": "1Gi", "cpu": 2}}, "labels": {"team": "{{team}}"}}}}


@pytest.mark.parametrize("as_text", [False, True])
def test_helm_values_as_a_map_and_as_text(*, as_text: bool) -> None:
    """Both are the same, variables of the mesh included; numbers stay numbers."""
    values = yaml.safe_dump(HELM) if as_text else HELM
    env = [{"name": "team", "value": "blue"}]
    extra = plan(mesh_of(env=env, helm_extra_values=values), service()).chart["extra"]
    assert extra == {
        "services": {"api": {"resources": {"limits": {"memory": "1Gi", "cpu": 2}}, "labels": {"team": "blue"}}}
    }


def test_helm_values_as_a_map_in_python() -> None:
    """Numbers that went through Pulumi are whole again, and Outputs may stand in it: it is no text."""
    hole = Holes().punch(None)
    values = {"services": {"api": {"replicas": 2.0, "labels": {"team": hole}, "share": 0.5}}}
    mesh = load_mesh({**MESH, "helm_extra_values": values}, file="<mesh>")
    assert plan(mesh, service()).chart["extra"]["services"]["api"] == {
        "replicas": 2,
        "labels": {"team": hole},
        "share": 0.5,
    }


def test_helm_values_as_a_map_with_a_mistake() -> None:
    """The line is that of the Meshfile itself."""
    mesh = mesh_of(helm_extra_values={"services": {"apo": {"replicas": 2}}, "mariadb-scone": {"size": "1Gi"}})
    with pytest.raises(
        ManifestError, match=r"mesh\.yaml:19: helm_extra_values\.services\.apo: services\.apo: the chart"
    ):
        plan(mesh, service())
    found = plan(mesh_of(helm_extra_values={"mariadb-scone": {"size": "1Gi"}}), service()).warnings
    assert any(text.startswith("mariadb-scone has no effect") for text in found)
    assert any(text.endswith("(mesh.yaml:18: helm_extra_values.mariadb-scone)") for text in found)


def test_repository_options_that_are_null() -> None:
    """Null is the vendor's default: images are pushed."""
    mesh = mesh_of(repo={"destination": "r.example/x", "push": None, "strip": None, "squash": None})
    assert mesh.repo is not None
    assert (mesh.repo.push, mesh.repo.strip, mesh.repo.squash) == (True, True, False)


def test_variables_that_nothing_reads() -> None:
    """Of all services and of one: each is told with its line, a near one is suggested; what something reads is not."""
    env = [
        {"name": "API_USER", "value": "me"},
        {"name": "host", "value": "{{inner}}"},
        {"name": "inner", "value": "x"},
        {"name": "namespace_of_images", "value": "team"},
        {"name": "imagePullSecrets", "value": ""},
        {"name": "API_USR", "value": "typo"},
        {"name": "session_secrets", "value": "../secrets"},
        {"name": "HEAP", "value": "1G"},
        {"service": "helm", "env": [{"name": "chart_only", "value": 1}]},
        {"service": "api", "env": [{"name": "just_mine", "value": 1}]},
    ]
    build = {"to": "r.example/{{namespace_of_images}}/api:1", "command": "python3 api.py {{host}}"}
    variables = {"local": [{"name": "HEAP", "value": "2G"}], "global": [{"name": "API_USER"}]}
    image = [{"name": "api", "image": "r.example/{{namespace_of_images}}/api:1"}]
    found = plan(mesh_of(env=env, services=image), service(build=build, environment=variables)).warnings
    told = {text.split()[0] if "local" in text else text.split("variable ")[1].split()[0] for text in found}
    assert told == {"API_USR:", "session_secrets", "HEAP", "chart_only", "just_mine"}
    assert any(
        text.startswith("nothing of this mesh uses the variable API_USR: did you mean API_USER? (") for text in found
    )
    assert all("mesh.yaml:" in text for text in found)


JAVA = {
    "kind": "java17",
    "host_path": ["/etc/ssl/certs"],
    "copy": ["PrintEnv.java"],
    "signature": {"sign": True},
}


def test_host_path_is_host_paths() -> None:
    """As the vendor's tutorial for Java spells it: taken, and told, because it opens the image to its host."""
    manifest = service(build=JAVA, toolchain="vendor")
    assert manifest.build.host_paths == ("/etc/ssl/certs",)
    (warning,) = sentences(manifest)
    assert "(api.yaml:8: build.host_path)" in warning
    with pytest.raises(ManifestError, match=r"api\.yaml:8: build\.host_path: must be a list"):
        service(build={**JAVA, "host_path": "/etc"}, toolchain="vendor")
    with pytest.raises(ManifestError, match=r"build\.host_path: unknown key"):
        service(build={**JAVA, "host_paths": ["/etc"]}, toolchain="vendor")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (
            [{"name": "INIT_CONTAINER1_ENABLE", "value": "true"}],
            ["INIT_CONTAINER1_ENABLE makes no init container here"],
        ),
        ([{"name": "INIT_CONTAINER1_ENABLE", "value": "false"}, {"name": "INIT_CONTAINER1", "value": "db"}], []),
        ([{"name": "A", "value": "{{cas.cas.cas_url}}"}], ["something in double braces is no variable"]),
        ([{"name": "A", "value": "{{#if x}}y{{/if}}"}], ["something in double braces is no variable"]),
        ([{"name": "A", "value": "{{ x }} {"}], []),
    ],
)
def test_what_only_the_vendors_chart_reads(variables: list[dict[str, Any]], told: list[str]) -> None:
    """What the vendor's templates would do something with, and ours do not, is no silence."""
    manifest = service(environment={"local": variables, "global": [{"name": "x", "value": "1"}]})
    assert [one.rule[: len(words)] for one, words in zip(cautions(manifest), told, strict=True)] == told


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        ({**SERVICE, "requirements": "r.txt"}, "requirements", "It belongs elsewhere: build.requirements."),
        ({**SERVICE, "local": []}, "local", "It belongs elsewhere: environment.local."),
        ({**SERVICE, "kind": "mesh"}, "kind", "This is a Meshfile"),
    ],
)
def test_key_at_the_wrong_place(content: dict[str, Any], place: str, words: str) -> None:
    """A key that another section knows is sent there; a Meshfile in the place of a manifest is one error."""
    with pytest.raises(ManifestError) as caught:
        load_service(yaml.safe_dump(content), file="m.yaml")
    assert (caught.value.parts, caught.value.where.endswith(f": {place}")) == ((), True)
    assert words in caught.value.fix


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"helm": ["a.b=1"]}, "Write helm_extra_values"),
        ({"repo": {"destination": "r.example/x", "signature": "cosign.key"}}, "build.signature of its manifest"),
        ({"namespace": "shop"}, "It belongs elsewhere: policy.namespace."),
    ],
)
def test_meshfiles_of_earlier_drafts(sections: dict[str, Any], words: str) -> None:
    """Keys that drafts of the vendor's had say what they have become."""
    with pytest.raises(ManifestError) as caught:
        mesh_of(**sections)
    assert words in caught.value.fix


BROKEN = """\
apiVersion: scone/5.8
kind: genservice
zonk: 1
build: {name: api, kind: java21, to: r.example/API:1, command: python3 api.py, pwd: app, run: [" "], dirs: [.]}
environment:
  local:
    - {name: A, value: $MISSING}
    - {name: SCONE_HEAP, value: lots}
    - {name: B, value: "$$SCONE::b"}
  global: [{name: A}]
secrets:
  import: [t]
  global:
    - {name: t, kind: ascii}
    - {name: c, kind: x509, private_key: t}
    - {name: d, kind: ascii, sise: 3}
injection_files:
  - {path: relative, content: x}
"""


def test_shapes_and_references_are_told_together() -> None:
    """One run tells everything: unknown keys, wrong forms, missing values, references, what needs a builder."""
    with pytest.raises(ManifestErrors) as caught:
        load_service(BROKEN, file="m.yaml")
    told = {part.where.partition(": ")[2]: part for part in caught.value.parts}
    assert sorted(told) == sorted(
        [
            "zonk",
            "build.kind",
            "build.to",
            "build.pwd",
            "build.run[0]",
            "environment.local[0].value",
            "environment.local.SCONE_HEAP",
            "environment.local.B",
            "environment.global.A",
            "secrets.import.t",
            "secrets.global.c.private_key",
            "secrets.global.d.sise",
            "injection_files.relative",
        ]
    )
    assert all(part.fix for part in told.values())
    assert [part.where for part in told.values()] == sorted(
        (part.where for part in told.values()), key=lambda where: int(where.split(":")[1])
    )


def test_broken_meshfile_is_told_whole() -> None:
    """The same for Meshfiles; what rests on a broken part is not guessed at."""
    wrong = {
        "policy": {"namespace": "a//b", "tolerate": "debug-mode", "attestation_policy_name": "x"},
        "repo": {"destination": "r.example/x", "squash": True},
        "env": [{"service": "nobody", "env": []}],
        "extra_policies": [{"name": "x"}],
    }
    with pytest.raises(ManifestErrors) as caught:
        mesh_of(**wrong)
    told = [part.where.partition(": ")[2] for part in caught.value.parts]
    assert told == ["policy.namespace", "policy.tolerate", "env.nobody", "repo.squash", "extra_policies"]
    with pytest.raises(ManifestErrors) as caught:
        mesh_of(cas=[{**CAS, "alias": "image"}], services=["api"], env=[{"service": "api", "env": []}], repo={"x": 1})
    assert {part.where.partition(": ")[2] for part in caught.value.parts} == {
        "cas.cas.alias",
        "services[0]",
        "repo.destination",
        "repo.x",
    }


@pytest.mark.parametrize("drop", ["build", "environment", "apiVersion"])
def test_missing_sections_do_not_hide_the_rest(drop: str) -> None:
    """A section that is not there is one error, beside those of the others."""
    content = {key: value for key, value in SERVICE.items() if key != drop}
    content["secrets"] = {"import": ["t"], "local": [{"name": "t", "kind": "ascii"}]}
    with pytest.raises(SconeError) as caught:
        load_service(yaml.safe_dump(content), file="m.yaml")
    assert f"{drop}: the required key is missing" in str(caught.value)
    assert ("secrets.import.t" in str(caught.value)) == (drop != "build")
