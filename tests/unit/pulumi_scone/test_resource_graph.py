"""What the components register: the resource graph of the architecture, the same from files and from Python."""

from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.rpc import UNKNOWN

from pulumi_scone import Cas, CasNamespace, ConfidentialImage, MeshDeployment
from support.component_meshes import FROM_FILES, MESH, SERVICE, SWITCHES, TYPED, write_files
from unit.pulumi_scone.conftest import DYNAMIC, FACTS, Result, Run

SECRET_MARK = "4dabf18193072939515e22adb298388d"
MESH_TYPE = "scone:index:MeshDeployment"
RELEASE = "kubernetes:helm.sh/v3:Release"


def deploy(run: Run, args: Any, **options: Any) -> Result:
    """A program of one mesh."""

    def program() -> None:
        MeshDeployment("app", args)

    return run(program, **options)


def without_places(inputs: Any) -> Any:
    """`inputs` but for every `where`: files and lines, for errors only."""
    if isinstance(inputs, dict):
        return {key: without_places(value) for key, value in inputs.items() if key != "where"}
    return inputs


def paths_of(tree: Any, found: object, at: str = "") -> list[str]:
    """Where a value stands in JSON-like inputs."""
    if tree == found:
        return [at]
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path for key, value in items for path in paths_of(value, found, f"{at}.{key}".lstrip("."))]


def test_resource_tree(run: Run, tmp_path: Path) -> None:
    """Names, types and parents are exactly those of the architecture: they are in every stack's state for ever."""
    write_files(tmp_path)
    found = deploy(run, FROM_FILES)
    assert {(r.type, r.name, r.parent) for r in found.resources} == {
        (MESH_TYPE, "app", ""),
        ("scone:index:CasNamespace", "app", f"{MESH_TYPE}::app"),
        (f"{DYNAMIC}Cas", "app", "scone:index:CasNamespace::app"),
        (f"{DYNAMIC}SecurityPolicy", "app", "scone:index:CasNamespace::app"),
        ("scone:index:ConfidentialImage", "app-api", f"{MESH_TYPE}::app"),
        (f"{DYNAMIC}ConfidentialImage", "app-api", "scone:index:ConfidentialImage::app-api"),
        (f"{DYNAMIC}SecurityPolicy", "app-api", f"{MESH_TYPE}::app"),
        (RELEASE, "app", f"{MESH_TYPE}::app"),
        (f"{DYNAMIC}Rollout", "app", f"{MESH_TYPE}::app"),
    }
    assert len(found.resources) == 9


def test_order(run: Run, tmp_path: Path) -> None:
    """CAS attested → image pushed → policy uploaded → release → rollout; destroy goes the other way."""
    write_files(tmp_path)
    found = deploy(run, FROM_FILES)
    cas, namespace, policy = f"{DYNAMIC}Cas::app", f"{DYNAMIC}SecurityPolicy::app", f"{DYNAMIC}SecurityPolicy::app-api"
    image, release = f"{DYNAMIC}ConfidentialImage::app-api", f"{RELEASE}::app"
    assert cas in found.only(":SecurityPolicy", "app").after
    assert cas in found.only("dynamic/scone:ConfidentialImage").after
    assert {namespace, image} <= found.only(":SecurityPolicy", "app-api").after
    assert {policy, image} <= found.only(":Release").after
    assert release in found.only(":Rollout").after


def test_files_and_python_are_the_same(run: Run, tmp_path: Path) -> None:
    """A mesh in files and the same mesh as typed arguments register the same resources with the same inputs."""
    write_files(tmp_path)
    first, second = deploy(run, FROM_FILES), deploy(run, TYPED)
    by_name = [
        {(r.type, r.name): (r.parent, r.after, without_places(r.inputs)) for r in found.resources}
        for found in (first, second)
    ]
    assert by_name[0] == by_name[1]


def test_one_image_alone_is_the_image_of_the_mesh(run: Run, tmp_path: Path) -> None:
    """`ConfidentialImage` with the mesh's variables builds what the mesh builds: the same inputs."""
    write_files(tmp_path)
    meshed = deploy(run, FROM_FILES).only("dynamic/scone:ConfidentialImage")

    def program() -> None:
        ConfidentialImage("alone", {"manifest": SERVICE, "environment": {"API_USER": "myself"}})

    alone = run(program).only("dynamic/scone:ConfidentialImage")
    assert without_places(alone.inputs) == without_places(meshed.inputs)
    assert alone.parent == "scone:index:ConfidentialImage::alone"


def test_secret_output_stays_secret(run: Run) -> None:
    """A secret's value given as a secret Output reaches the policy wrapped as a secret, and nothing else has it."""

    def program() -> None:
        password: Any = {"name": "password", "kind": "ascii", "value": pulumi.Output.secret("planted-8c11")}
        manifest: Any = {**SERVICE, "secrets": {"local": [password]}}
        MeshDeployment("app", {"mesh": MESH, "manifests": [manifest]})

    found = run(program)
    policy = found.only(":SecurityPolicy", "app-api").inputs["policy"]
    wrapped = policy["secrets"]["password"]["value"]
    assert SECRET_MARK in wrapped
    assert wrapped["value"] == "planted-8c11"
    places = [(r.name, path) for r in found.resources for path in paths_of(r.inputs, "planted-8c11")]
    assert places == [("app-api", "policy.secrets.password.value.value")]


def test_output_as_variable(run: Run, tmp_path: Path) -> None:
    """An Output in `variables` is put where its variable stands, also inside of a longer text."""
    write_files(tmp_path)
    args: Any = {**FROM_FILES, "variables": {"REPO": pulumi.Output.from_input("registry.example.com")}}
    found = deploy(run, args)
    assert found.only("dynamic/scone:ConfidentialImage").inputs["to"] == "registry.example.com/team/api:1"


def test_unknown_output_leaves_one_field_unknown(run: Run) -> None:
    """In a preview, a value that is not known yet is one unknown field, never the policy around it."""

    def program() -> None:
        later = Cas("later", url="other.cas").attested_key
        mesh: Any = {**MESH, "env": [{"service": "global", "env": [{"name": "API_USER", "value": later}]}]}
        MeshDeployment("app", {"mesh": mesh, "manifests": [SERVICE]})

    found = run(program, preview=True, attested={})
    inputs = found.only(":SecurityPolicy", "app-api").inputs
    assert paths_of(inputs, UNKNOWN) == ["policy.services.api.environment.API_USER"]
    for name in (":Release", ":Rollout", "dynamic/scone:ConfidentialImage"):
        assert paths_of(found.only(name).inputs, UNKNOWN) == []


def test_image_that_is_not_known_leaves_its_fields_unknown(run: Run, tmp_path: Path) -> None:
    """On a first preview without registry: measurement, tag and image are unknown, and nothing beside them."""
    write_files(tmp_path)
    found = deploy(run, FROM_FILES, preview=True, facts={})
    assert set(paths_of(found.only(":SecurityPolicy", "app-api").inputs, UNKNOWN)) == {
        "policy.services.api.attestation.mrenclave",
        "policy.services.api.fspf_tag",
    }
    assert paths_of(found.only(":Release").inputs, UNKNOWN) == ["values.services.api.image"]
    assert set(paths_of(found.only(":Rollout").inputs, UNKNOWN)) == {"chart", "services.api.image"}


def test_facts_of_the_image_reach_policy_and_chart(run: Run, tmp_path: Path) -> None:
    """What was measured is what is trusted, and what was pushed is what is deployed; the key is a marker only."""
    write_files(tmp_path)
    found = deploy(run, FROM_FILES)
    service = found.only(":SecurityPolicy", "app-api").inputs["policy"]["services"]["api"]
    assert FACTS["measurement"] in str(service["attestation"])
    assert service["fspf_tag"] == FACTS["fspf_tag"]
    assert service["fspf_key"] == "derived: team/api"
    chart = found.only(":Release").inputs["values"]["services"]["api"]
    assert chart["image"] == FACTS["reference"]
    assert "digest of app-api" in chart["policyDigest"]


def test_preview_is_told_to_the_image_only(run: Run, tmp_path: Path) -> None:
    """Only the image may leave things unknown in a preview; no other resource differs between preview and up."""
    write_files(tmp_path)
    dry, real = deploy(run, FROM_FILES, preview=True), deploy(run, FROM_FILES)
    for first, second in zip(dry.resources, real.resources, strict=True):
        differing = {key for key in first.inputs if first.inputs[key] != second.inputs[key]}
        is_image = first.type == f"{DYNAMIC}ConfidentialImage"
        assert differing == ({"preview"} if is_image else set()), first.type


def test_switches_reach_their_resources(run: Run, tmp_path: Path) -> None:
    """`adopt` goes to policies, `delete_images` and `refresh_base` to images; where not given they are absent."""
    write_files(tmp_path)
    args: Any = {**FROM_FILES, "adopt": True, "delete_images": True, "refresh_base": True, "rollout_timeout": 7}
    given, plain = deploy(run, args), deploy(run, FROM_FILES)
    assert all(r.inputs["adopt"] for r in given.resources if r.type.endswith(":SecurityPolicy"))
    assert not any("adopt" in r.inputs for r in plain.resources)
    for name in ("delete_images", "refresh_base"):
        assert given.only("dynamic/scone:ConfidentialImage").inputs[name] is True
        assert name not in plain.only("dynamic/scone:ConfidentialImage").inputs
    assert given.only(":Rollout").inputs["timeout_seconds"] == 7


def test_extra_values_are_merged(run: Run) -> None:
    """`helm_extra_values` is merged by key: it adds and overrides, and takes nothing else away."""
    mesh: Any = {**MESH, "helm_extra_values": "services: {api: {replicas: 3}}\nextra: yes-please\n"}
    found = deploy(run, {**TYPED, "mesh": mesh})
    values = found.only(":Release").inputs["values"]
    assert values["services"]["api"]["replicas"] == 3
    assert values["services"]["api"]["configId"] == "acme/api/api"
    assert values["extra"] == "yes-please"


def test_namespace_alone(run: Run) -> None:
    """A namespace whose owners are named: they may read, update and create sessions, and nobody else."""

    def program() -> None:
        CasNamespace("team", {"namespace": "acme", "cas_url": "cas.default", "tolerance": "-G", "owners": ["ANY"]})

    found = run(program)
    policy = found.only(":SecurityPolicy").inputs["policy"]
    assert policy["access_policy"] == {key: {"ANY": True} for key in ("read", "update", "create_sessions")}
    assert found.only(":Cas").inputs == {"url": "cas.default", "tolerance": {"-G": True}}


def test_namespace_of_a_meshfile(run: Run, tmp_path: Path) -> None:
    """A namespace may take its CAS and its name from a Meshfile."""
    write_files(tmp_path)

    def program() -> None:
        CasNamespace("team", {"mesh_file": "mesh.yaml", "variables": {"REPO": "r.example.com"}})

    found = run(program)
    assert found.only(":SecurityPolicy").inputs["policy"]["name"] == "acme"
    assert set(found.only(":Cas").inputs["tolerance"]) == set(SWITCHES.split())
