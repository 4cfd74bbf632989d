"""Variables of the mesh in keys of images, paths and places: filled once, the same for image, policy and chart."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_provider.derive.image import encrypted_paths, image_inputs
from scone_provider.derive.variable_substitution import filled_mesh
from scone_provider.errors import ManifestError
from scone_provider.manifest import Mesh, load_mesh, load_service
from scone_provider.manifest.overrides import ServiceFiles, overridden, read_override
from support.derive_meshes import derive, facts, filled_services, with_destination

MESH = """\
apiVersion: scone/5.8
kind: mesh
cas:
  - {name: cas, alias: [security, access, attestation], cas_url: "{{where}}.example", mode: "{{mode}}"}
  - {name: image, cas_url: "central.{{where}}:8082", cas_key: 3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1}
policy: {namespace: "{{ team }}/shop", tolerate: "{{tcb}}", maa: ""}
repo: {destination: "{{repo}}/mirror"}
env:
  - service: global
    env:
      - {name: where, value: cas}
      - {name: mode, value: Upload}
      - {name: team, value: blue}
      - {name: tcb, value: outdated-tcb}
      - {name: repo, value: r.test}
      - {name: place, value: everywhere}
  - service: api
    env:
      - {name: place, value: "{{folder}}"}
      - {name: folder, value: srv}
services:
  - {name: api, image: "{{repo}}/{{team}}/api:1"}
"""
SERVICE = """\
apiVersion: scone/5.8
kind: genservice
build:
  name: api
  kind: python
  to: "{{ repo }}/blue/api:1"
  from: "{{repo}}/python:3.11"
  pwd: /{{place}}
  command: "{{place}}/run --in {{namespace}}"
  copy: ["{{place}}.py"]
  run: [echo {{release}}]
  requirements: "{{place}}.txt"
  dirs: ["{{place}}/secret"]
  fs_files: ["/etc/{{place}}"]
  volumes: [{name: "{{place}}", path: "/var/{{place}}/"}]
environment: {}
injection_files:
  - {path: "/etc/{{place}}.conf", content: "{{place}} on {{cas_cas_cas_url}}"}
"""


def shop(**edits: str) -> Mesh:
    """The Meshfile, its parts replaced, filled."""
    text = MESH
    for old, new in edits.items():
        text = text.replace(f"value: {old}}}", f"value: {new}}}")
    return filled_mesh(load_mesh(text, file="mesh.yaml"), release="rel")


def test_a_meshfile_is_filled() -> None:
    """Places, images and what is tolerated are as if written out, and keep their lines; `env` is for its readers."""
    mesh = shop()
    assert [cas.cas_url for cas in mesh.cas.values()] == ["cas.example", "central.cas:8082"]
    assert mesh.cas["cas"].mode == "Upload"
    assert (mesh.policy.namespace, mesh.policy.tolerate) == ("blue/shop", ("outdated-tcb",))
    assert mesh.services["api"].image == "r.test/blue/api:1"
    assert mesh.repo is not None
    assert mesh.repo.destination == "r.test/mirror"
    assert mesh.env["api"].env["place"] == "{{folder}}"
    assert mesh.where("services", "api", "image") == "mesh.yaml:22: services.api.image"
    assert filled_mesh(mesh, release="rel") is mesh


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("cas", "'a b'"), "mesh.yaml:4: cas.cas.cas_url: this is not the address of a CAS"),
        (("Upload", "Download"), "mesh.yaml:4: cas.cas.mode: must be one of Upload"),
        (("blue", "'a b'"), "mesh.yaml:6: policy.namespace: each part between /"),
        (("outdated-tcb", "anything"), "mesh.yaml:6: policy.tolerate: 'anything' is "),
        (("r.test", "'{{gone}}'"), "mesh.yaml:15: env.global.env.repo: the variable {{gone}} has no value"),
        (("blue", "'{{namespace}}'"), "the variable {{"),
    ],
)
def test_what_is_filled_is_judged(edit: tuple[str, str], said: str) -> None:
    """A value that does not fit where it is used is refused there; one that is missing where it was asked for."""
    with pytest.raises(ManifestError) as caught:
        shop(**dict([edit]))
    assert said in str(caught.value)


def test_image_policy_and_chart_agree() -> None:
    """Every key of `build` and every injected path has one value, wherever it is used."""
    mesh = shop()
    written = {"api": with_destination(load_service(SERVICE, file="api.yaml"), mesh, release="rel")}
    assert written["api"].build.to == mesh.services["api"].image
    found = filled_services(mesh, written, release="rel", cas_keys={})["api"]
    assert encrypted_paths(found) == ("/srv",)
    inputs = image_inputs(found, folder=".", environment={}, identity="blue/api")
    assert {key: inputs[key] for key in ("to", "from", "pwd", "command", "copy", "native", "fs_files", "injected")} == {
        "to": "r.test/blue/api:1",
        "from": "r.test/python:3.11",
        "pwd": "/srv",
        "command": "srv/run --in blue/shop",
        "copy": {"srv.py": True},
        "native": {"run": ("echo rel",), "requirements": "srv.txt"},
        "fs_files": {"/etc/srv": True},
        "injected": {"/etc/srv.conf": True},
    }
    assert "{{" not in str(inputs)
    assert inputs["where"]["injection_files /etc/srv.conf"] == "api.yaml:18: injection_files./etc/srv.conf"
    plan = derive(mesh, written, {"api": facts("blue/api")}, release="rel")
    policy: Any = plan.policies["api"]
    assert policy["name"] == "blue/shop/api"
    assert policy["services"]["api"]["pwd"] == "/srv"
    assert policy["services"]["api"]["command"] == "srv/run --in blue/shop"
    assert policy["images"]["api"] == {
        "injection_files": {"/etc/srv.conf": {"content": "srv on cas.example"}},
        "volumes": {"/var/srv": {"name": "srv"}},
    }
    chart = plan.chart["services"]["api"]
    assert (chart["cas"], chart["volumes"]) == ("cas.example:18765", {"srv": {"path": "/var/srv"}})


def test_a_plan_is_the_same_of_what_is_filled_and_of_what_is_not() -> None:
    """`derive` fills what nobody filled before it, by the same rules."""
    raw, mesh = load_mesh(MESH, file="mesh.yaml"), shop()
    service = {"api": load_service(SERVICE, file="api.yaml")}
    filled = filled_services(
        mesh, {"api": with_destination(service["api"], mesh, release="rel")}, release="rel", cas_keys={}
    )
    images = {"api": facts("blue/api")}
    assert derive(raw, service, images, release="rel") == derive(mesh, filled, images, release="rel")


def test_what_cannot_be_filled_is_refused_at_its_line() -> None:
    """A key without a value for its variable, and one whose value does not fit, name the manifest's line."""
    mesh = shop()
    for old, new, said in (
        ("/{{place}}\n", "/{{nowhere}}\n", "api.yaml:8: build.pwd: the variable {{nowhere}} has no value for the ser"),
        ("/{{place}}\n", "{{place}}\n", "api.yaml:8: build.pwd: must be an absolute path"),
        ("/etc/{{place}}.conf", "{{place}}.conf", "api.yaml:18: injection_files.srv.conf: must be an absolute path"),
        ("/{{place}}.conf", "/{{x}}.conf", "api.yaml:18: injection_files[0].path: the variable {{x}} has"),
    ):
        assert old in SERVICE
        manifest = load_service(SERVICE.replace(old, new), file="api.yaml")
        with pytest.raises(ManifestError) as caught:
            filled_services(mesh, {"api": manifest}, release="rel", cas_keys={})
        assert str(caught.value).startswith(said)
    odd = load_service(SERVICE.replace("{{ repo }}", "{{folder}}"), file="api.yaml")
    with pytest.raises(ManifestError, match=r"^api\.yaml:6: build\.to: the variable {{folder}} has no value\n"):
        with_destination(odd, mesh, release="rel")


TEXTS = st.sampled_from(["{{place}}", "{{ gone }}", "/{{place}}", "..", "$$SCONE::{{place}}$$", "/a"]) | st.text(
    max_size=4
)
VALUES = st.recursive(
    st.booleans() | st.integers() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.sampled_from(["name", "path", "export", "content"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.sampled_from(["pwd", "copy", "dirs", "run", "volumes", "command", "from", "signature"]), VALUES, VALUES)
def test_whatever_stands_there_is_filled_or_refused(key: str, value: Any, files: Any) -> None:
    """No value of a key of `build`, and none of `injection_files`, ends in another error than one with words."""
    build = {"name": "api", "kind": "python", "to": "r.test/api:1", "command": "x", key: value}
    try:
        manifest = load_service({"build": build, "environment": {}, "injection_files": files}, file="<any>")
        found = filled_services(shop(), {"api": manifest}, release="rel", cas_keys={})["api"]
    except ManifestError as error:
        assert "Traceback" not in str(error)  # noqa: PT017 - either outcome is fine
    else:
        assert "{{place}}" not in str((found.build, list(found.injection_files)))


def test_python_may_write_blanks_too() -> None:
    """`{{ name }}` in a map means what it means in a file; paths that are keys are filled like those in lists."""
    content: dict[str, Any] = {
        "build": {"name": "a", "kind": "python", "to": "r.test/a:1", "command": "x", "pwd": "/{{ place }}"},
        "environment": {"local": [{"name": "A", "value": "{{ place }}-{{\tteam }}"}]},
        "injection_files": {"/{{ place }}/{{team}}": {"content": "{{ place }}"}},
        "secrets": {"local": [{"name": "s", "kind": "ascii", "value": "{{ place }}"}]},
    }
    mesh = load_mesh(MESH.replace("{{repo}}/{{team}}/api:1", "r.test/a:1"), file="mesh.yaml")
    policy: Any = derive(mesh, {"api": load_service(content, file="<a>")}, {"api": facts("a")}, release="r").policies[
        "api"
    ]
    assert policy["services"]["api"]["pwd"] == "/srv"
    assert policy["services"]["api"]["environment"] == {"A": "srv-blue"}
    assert policy["images"]["api"]["injection_files"] == {"/srv/blue": {"content": "srv"}}
    assert policy["secrets"]["s"]["value"] == "srv"


def test_files_beside_a_service_stay_where_they_are() -> None:
    """Filling a manifest keeps what a Meshfile's files replaced in it, and where that is written."""
    env = read_override("local:\n  - {name: X, value: 1}\n", file="e.yaml", variables={})
    manifest = overridden(load_service(SERVICE, file="api.yaml"), ServiceFiles(env=env))
    found = filled_services(shop(), {"api": manifest}, release="rel", cas_keys={})["api"]
    assert found.environment.local == {"X": "1"}
    assert found.where("environment", "local", "X") == "e.yaml:2: local.X"
    assert found.where("build", "pwd") == "api.yaml:8: build.pwd"
