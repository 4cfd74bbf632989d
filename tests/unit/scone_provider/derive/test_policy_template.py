"""What a policy template may add and narrow, and that image, chart and warnings follow from the policy it ends in."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_policy import parse
from scone_policy.syntax.holes import Holes
from scone_policy.syntax.yaml_source import load
from scone_provider.derive import MeshPlan
from scone_provider.derive.image import image_inputs
from scone_provider.derive.policy_template import laid_over
from scone_provider.errors import ManifestError
from scone_provider.manifest import load_mesh, load_service
from support.derive_meshes import OWNER, derive, facts

MESH = """\
apiVersion: scone/5.8
kind: mesh
cas: [{name: cas, alias: [image, security, access, attestation], cas_url: cas.example}]
policy: {namespace: shop}
env: []
services: [{name: api, image: "r.example/api:1"}]
"""
API = """\
apiVersion: scone/5.8
kind: genservice
build:
  name: api
  kind: python
  to: r.example/api:1
  pwd: /app
  command: python3 api.py
  copy: [api.py]
  volumes: [{name: data, path: "/var/{{namespace}}/"}]
environment: {}
injection_files: [{path: /etc/own, content: x}]
"""
LAID = """\
images:
  - name: api
    injection_files: [{path: /etc/new, content: y}]
    volumes: [{name: scratch, path: /scratch}]
volumes: [{name: scratch}]
"""
DEBUG = MESH.replace("cas_url: cas.example", "cas_url: cas.example, tolerance: --only_for_testing-debug")


def plan(template: Any, *, mesh: str = MESH, api: str = API, **changes: Any) -> MeshPlan:
    """The plan of one service with a policy template."""
    services = {"api": load_service(api, file="api.yaml")}
    return derive(
        load_mesh(mesh, file="mesh.yaml"),
        services,
        {"api": facts("api", "/app", **changes)},
        release="rel",
        owners=[OWNER],
        templates={"api": load(template, file="policy.yaml") if isinstance(template, str) else template},
    )


def attestation(template: str, **policy: str) -> Any:
    """Section `attestation` of the final policy; `policy` is the Meshfile's."""
    said = ", ".join(f'{key}: "{value}"' for key, value in {"namespace": "shop", **policy}.items())
    found = plan(template, mesh=MESH.replace("{namespace: shop}", f"{{{said}}}")).policies["api"]
    assert parse(found).canonical() == found
    return found.get("security", {}).get("attestation", {})


def test_image_and_chart_are_made_for_the_final_policy() -> None:
    """Files and volumes of a template are links and mount points of the image, and mounts of the chart."""
    mesh = MESH.replace("env: []", "env: [{service: api, env: [{name: volume_scratch_size, value: 1Gi}]}]")
    found = plan(LAID, mesh=mesh)
    inputs = image_inputs(
        load_service(API, file="api.yaml"),
        folder=".",
        environment={},
        identity="api",
        container=found.containers["api"],
    )
    container = found.policies["api"]["images"]["api"]
    assert set(inputs["injected"]) == set(container["injection_files"]) == {"/etc/own", "/etc/new"}
    assert set(inputs["volumes"]) == set(container["volumes"]) == {"/var/shop", "/scratch"}
    assert found.chart["services"]["api"]["volumes"] == {
        "data": {"path": "/var/shop"},
        "scratch": {"path": "/scratch", "size": "1Gi"},
    }
    assert inputs["where"]["injection_files /etc/own"].startswith("api.yaml:12: ")
    assert inputs["where"]["volumes /var/shop"].startswith("api.yaml:10: ")
    assert inputs["where"]["injection_files /etc/new"].startswith("policy.yaml:3: ")
    assert inputs["where"]["volumes /scratch"].startswith("policy.yaml:4: ")


def test_container_that_cannot_be() -> None:
    """A volume at two paths, a file of the image as a template, a path that nobody knows yet: each with its place."""
    twice = "images: {api: {volumes: [{name: data, path: /other}]}}\n"
    with pytest.raises(ManifestError, match=r"policy\.yaml:1: .*the volume data of the service api is mounted twice"):
        plan(twice)
    empty = "images: {api: {injection_files: [/etc/new]}}\n"
    with pytest.raises(ManifestError, match=r"policy\.yaml:1: .*the injection file /etc/new has no content"):
        plan(empty)
    assert plan(empty, key=Holes().punch(None)).containers["api"].files.keys() == {"/etc/own", "/etc/new"}
    unknown: Any = load(LAID, file="policy.yaml")
    unknown.data["images"][0]["volumes"][0]["path"] = f"/{Holes().punch(None)}"
    with pytest.raises(ManifestError, match=r"policy\.yaml:\d+: .*an Output cannot stand in a path of the image"):
        plan(unknown)


def test_template_narrows_what_is_tolerated() -> None:
    """What a template says of a set is all of it, an empty one included; what it does not mention stays."""
    given = {"tolerate": "debug-mode, outdated-tcb", "ignore_advisories": "INTEL-SA-00586"}
    narrow = attestation("security: {attestation: {tolerate: [outdated-tcb]}}\n", **given)
    assert narrow == {"tolerate": {"outdated-tcb": True}, "ignore_advisories": {"INTEL-SA-00586": True}}
    none = attestation("security: {attestation: {tolerate: [], ignore_advisories: [INTEL-SA-00001]}}\n", **given)
    assert none == {"ignore_advisories": {"INTEL-SA-00001": True}}


def test_template_returns_to_hardware() -> None:
    """`mode: hardware` is said, although it is the default: the mesh's Azure attestation and its url go."""
    azure = {"tolerate": "maa-managed-tcb", "maa": "https://a.example"}
    assert attestation("security: {singleton_enclaves: true}\n", **azure)["mode"] == "maa"
    assert attestation("security: {attestation: {mode: hardware, tolerate: []}}\n", **azure) == {}


@pytest.mark.parametrize(
    ("template", "read"),
    [("[NONE]", {"NONE": True}), ("[ANY]", {"ANY": True}), ("[CREATOR]", {"CREATOR": True})],
)
def test_template_replaces_who_may_read(template: str, read: dict[str, bool]) -> None:
    """Readers are the template's alone; updaters, of whom it says nothing, are still the owners."""
    found = plan(f"access_policy: {{read: {template}}}\n").policies["api"]["access_policy"]
    assert found == {"read": read, "update": {OWNER: True}}


def test_warnings_say_what_a_template_risks() -> None:
    """Debug enclaves, ignored advisories, no attestation, clear volumes: said with the template's line, each once."""
    template = (
        "security:\n  attestation:\n    mode: none\n    tolerate: [debug-mode]\n    ignore_advisories: '*'\n"
        "images:\n  - name: api\n    injection_files: [{path: /etc/hosts, content: x}]\n"
        "    volumes: [{name: scratch, path: /s}]\nvolumes: [{name: scratch}]\n"
    )
    warnings = "\n".join(plan(template, mesh=DEBUG).warnings)
    for words in (
        "the service api (policy.yaml:3: security.attestation.mode)",
        "debug-mode is tolerated: whoever runs the node can read the memory of the service api (policy.yaml:4: ",
        "instances of the service api (policy.yaml:5: ",
        "/etc/hosts belongs to Kubernetes: the software mode does not inject it into the service api (policy.yaml:8: ",
        "the volume scratch of the service api is not encrypted in software mode (policy.yaml:9: ",
        "the volume data of the service api is not encrypted in software mode (api.yaml:10: ",
    ):
        assert warnings.count(words) == 1, (words, warnings)


def test_what_the_meshfile_says_is_not_said_again() -> None:
    """A template that repeats the Meshfile's tolerations adds no warning."""
    mesh = MESH.replace("{namespace: shop}", "{namespace: shop, tolerate: debug-mode}")
    warnings = plan("security: {attestation: {tolerate: [debug-mode]}}\n", mesh=mesh).warnings
    assert sum("debug-mode" in warning for warning in warnings) == 1


_ENTRIES = st.dictionaries(st.sampled_from("abc"), st.just(value=True), min_size=1)
_SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "access_policy": st.fixed_dictionaries({}, optional={"read": _ENTRIES, "update": _ENTRIES}),
        "security": st.fixed_dictionaries(
            {}, optional={"attestation": st.fixed_dictionaries({}, optional={"tolerate": _ENTRIES, "url": st.text()})}
        ),
        "services": st.dictionaries(
            st.just("api"), st.fixed_dictionaries({"environment": _ENTRIES}, optional={"platforms": _ENTRIES})
        ),
    },
)


@given(policy=_SECTIONS, template=_SECTIONS)
def test_what_a_template_says_is_what_holds(policy: dict[str, Any], template: dict[str, Any]) -> None:
    """Saying it again changes nothing; sets are the template's alone, maps have both sides' keys, the rest stays."""
    found = laid_over(policy, template)
    assert laid_over(found, template) == found
    assert laid_over(policy, {}) == policy
    assert found.keys() == policy.keys() | template.keys()
    for key, entries in template.get("access_policy", {}).items():
        assert found["access_policy"][key] == entries
    if "tolerate" in (said := template.get("security", {}).get("attestation", {})):
        assert found["security"]["attestation"]["tolerate"] == said["tolerate"]
    for name, service in template.get("services", {}).items():
        before = policy.get("services", {}).get(name, {}).get("environment", {})
        assert found["services"][name]["environment"] == {**before, **service["environment"]}
