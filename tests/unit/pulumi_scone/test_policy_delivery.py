"""Meshes over several CASes and every way in which policies get there: which resources a program registers."""

from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.rpc import UNKNOWN

from pulumi_scone import CasNamespace, ConfidentialImage, MeshDeployment
from support.component_meshes import FROM_FILES, MESH, MESH_FILE, SERVICE, TYPED, write_files
from unit.pulumi_scone.conftest import DYNAMIC, Result, Run
from unit.pulumi_scone.test_resource_graph import SECRET_MARK, deploy, paths_of

RELEASE = ":Release"
KEY = "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"
OTHER = {"name": "image", "cas_url": "image.example", "tolerance": "-G"}
MAIN: Any = {**MESH["cas"][0], "alias": ["security", "access", "attestation"]}
DEFINER: Any = {**SERVICE, "secrets": {"global": [{"name": "password", "kind": "ascii", "size": 10}]}}
USER: Any = {
    **SERVICE,
    "secrets": {"import": ["password"]},
    "build": {**SERVICE["build"], "name": "web", "to": "localhost:5000/team/web:1"},
}
SERVICES = [*MESH["services"], {"name": "web", "image": "localhost:5000/team/web:1"}]


def two(**changes: Any) -> dict[str, Any]:
    """Two services that share a secret, on an application's CAS and one for what images share."""
    mesh = {**MESH, "cas": [MAIN, {**OTHER, **changes}], "services": SERVICES}
    return {"mesh": mesh, "manifests": [DEFINER, USER]}


def test_each_cas_is_attested_by_its_own_conditions(run: Run) -> None:
    """One `Cas` for each CAS of the Meshfile; the second one hangs below the namespace, with its own switches."""
    found = deploy(run, two())
    one, other = found.only("dynamic/scone:Cas", "app"), found.only("dynamic/scone:Cas", "app-image")
    assert set(one.inputs["tolerance"]) == set(MAIN["tolerance"].split())
    assert other.inputs == {"url": "image.example", "tolerance": {"-G": True}}
    assert other.parent == "scone:index:CasNamespace::app"


def test_shared_secrets_live_on_the_cas_of_images(run: Run) -> None:
    """The shared policy is on the other CAS, the services' policies import from it by url and key, after it."""
    found = deploy(run, two(cas_key=KEY))
    shared = found.only(":SecurityPolicy", "app-shared")
    assert shared.inputs["cas"]["url"] == "image.example"
    assert set(shared.inputs["policy"]["secrets"]["password"]["export"]) == {"acme/api", "acme/web"}
    assert f"{DYNAMIC}Cas::app-image" in shared.after
    assert "secrets" not in found.only(":SecurityPolicy", "app").inputs["policy"]
    for service in ("api", "web"):
        policy = found.only(":SecurityPolicy", f"app-{service}")
        wanted = {"session": "acme", "secret": "password", "cas_url": "image.example", "cas_key": KEY}
        assert policy.inputs["policy"]["secrets"]["password"]["import"] == wanted
        assert f"{DYNAMIC}SecurityPolicy::app-shared" in policy.after
        chart = found.only(RELEASE).inputs["values"]["services"][service]
        assert chart["policyDigest"] == f"digest of app-{service}+digest of app-shared"


FILLED: Any = {
    **two(),
    "mesh": {
        **MESH,
        "cas": [{**MAIN, "cas_url": "{{ site }}.cas"}, {**OTHER, "cas_url": "image.{{site}}"}],
        "policy": {"namespace": "{{site}}/app", "tolerate": "debug-mode"},
        "services": [{"name": "api", "image": "{{repo}}/api:1"}, SERVICES[1]],
        "env": [
            {
                "service": "global",
                "env": [
                    {"name": "API_USER", "value": "myself"},
                    {"name": "site", "value": "north"},
                    {"name": "repo", "value": "localhost:5000/team"},
                ],
            }
        ],
    },
    "manifests": [
        {**DEFINER, "build": {**SERVICE["build"], "to": "{{ repo }}/api:1", "pwd": "/{{site}}", "dirs": ["{{site}}"]}},
        USER,
    ],
}


def test_variables_of_the_mesh_reach_every_resource(run: Run) -> None:
    """Attestation, uploads, imports, images, policies and chart are all made of the same values."""
    found = deploy(run, FILLED)
    assert found.only("dynamic/scone:Cas", "app").inputs["url"] == "north.cas"
    assert found.only("dynamic/scone:Cas", "app-image").inputs["url"] == "image.north"
    shared, policy = found.only(":SecurityPolicy", "app-shared"), found.only(":SecurityPolicy", "app-api")
    assert (shared.inputs["cas"]["url"], policy.inputs["cas"]["url"]) == ("image.north", "north.cas")
    assert policy.inputs["policy"]["name"] == "north/app/api"
    assert policy.inputs["policy"]["services"]["api"]["pwd"] == "/north"
    assert policy.inputs["policy"]["secrets"]["password"]["import"]["cas_url"] == "image.north"
    image = found.only("dynamic/scone:ConfidentialImage", "app-api").inputs
    assert (image["to"], image["pwd"], image["identity"]) == ("localhost:5000/team/api:1", "/north", "team/api")
    assert set(image["dirs"]) == {"/north"}
    values = found.only(RELEASE).inputs["values"]["services"]["api"]
    assert (values["cas"], set(values["memory"])) == ("north.cas:18765", {"/north"})
    assert [r.name for r in found.resources if "{{" in str(r.inputs)] == []


def test_a_namespace_of_a_meshfile_with_variables(run: Run, tmp_path: Path) -> None:
    """`CasNamespace` reads the same place from it; what only a release knows is refused by name."""
    write_files(tmp_path, mesh=MESH_FILE.replace("namespace: acme", "namespace: '{{API_USER}}'"))
    arguments: Any = {"mesh_file": "mesh.yaml", "variables": {"REPO": "r.test"}}
    found = run(lambda: CasNamespace("ns", arguments))
    assert found.only(":SecurityPolicy").inputs["policy"]["name"] == "myself"
    write_files(tmp_path, mesh=MESH_FILE.replace("namespace: acme", "namespace: '{{release}}'"))
    with pytest.raises(pulumi.RunError, match=r"policy\.namespace: the variable {{release}} has no value"):
        run(lambda: CasNamespace("ns", arguments))


def test_an_image_without_a_mesh_has_its_global_variables(run: Run, tmp_path: Path) -> None:
    """`{{name}}` in a manifest that no mesh uses stands for what `environment` gives, or for the default."""
    (tmp_path / "north.py").write_text("print()")
    manifest: Any = {
        "build": {**SERVICE["build"], "pwd": "/{{site}}", "copy": ["{{site}}.py"]},
        "environment": {
            "global": [{"name": "site"}, {"name": "heap", "value": "64M"}],
            "local": [{"name": "SCONE_HEAP", "value": "{{ heap }}"}],
        },
    }
    found = run(lambda: ConfidentialImage("app", {"manifest": manifest, "environment": {"site": "north"}}))
    image = found.only("dynamic/scone:ConfidentialImage").inputs
    assert (image["pwd"], set(image["copy"]), image["environment"]) == ("/north", {"north.py"}, {"SCONE_HEAP": "64M"})
    with pytest.raises(pulumi.RunError, match=r"Name site in environment\.global of the manifest"):
        run(lambda: ConfidentialImage("app", {"manifest": manifest}))


def test_key_of_an_unpinned_cas_is_the_attested_one(run: Run) -> None:
    """Where the Meshfile pins no key, the one that was attested is imported from; before that only it is unknown."""
    attested = deploy(run, two()).only(":SecurityPolicy", "app-web").inputs["policy"]
    assert attested["secrets"]["password"]["import"]["cas_key"] == KEY
    inputs = deploy(run, two(), preview=True, attested={}).only(":SecurityPolicy", "app-web").inputs
    assert paths_of(inputs, UNKNOWN) == ["policy.secrets.password.import.cas_key"]


def test_image_namespace_of_its_own(run: Run) -> None:
    """`image_policy_namespace` on the same CAS: another session there, and imports without url."""
    mesh = {**MESH, "policy": {**MESH["policy"], "image_policy_namespace": "images"}, "services": SERVICES}
    found = deploy(run, {"mesh": mesh, "manifests": [DEFINER, USER]})
    assert found.only(":SecurityPolicy", "app-shared").inputs["policy"]["name"] == "images"
    imported = found.only(":SecurityPolicy", "app-web").inputs["policy"]["secrets"]["password"]["import"]
    assert imported == {"session": "images", "secret": "password"}
    assert len([r for r in found.resources if r.type == f"{DYNAMIC}Cas"]) == 1


def with_mode(mode: str, **changes: Any) -> dict[str, Any]:
    """The mesh of one service whose policies somebody else uploads."""
    cas = {**MESH["cas"][0], "mode": mode, "cas_encryption_key": "ab" * 32, **changes}
    return {**TYPED, "mesh": {**MESH, "cas": [cas]}}


def test_encrypted_manifest(run: Run) -> None:
    """Policies are sealed resources; the chart brings them as objects, namespace first; the rollout is patient."""
    found = deploy(run, with_mode("EncryptedManifest"))
    assert not [r for r in found.resources if r.type == f"{DYNAMIC}SecurityPolicy"]
    sealed = found.only(":SealedPolicy", "app-api").inputs
    assert (sealed["mode"], sealed["recipient"]) == ("EncryptedManifest", "ab" * 32)
    assert "file" not in sealed
    objects = found.only(RELEASE).inputs["values"]["policies"]
    assert [one.rpartition("-")[0] for one in sorted(objects, key=lambda name: objects[name]["weight"])] == [
        "acme",
        "acme-api",
    ]
    for one in objects.values():
        assert one["kind"] == "EncryptedPolicy"
        assert one["casAddress"] == "https://cas.default:8081"
        assert {"policy", "encryption_key", "weight"} < set(one)
    assert found.only(":Rollout").inputs["patient"] is True


def test_signed_manifest_hides_its_text(run: Run) -> None:
    """What is signed is readable and holds keys: among the chart's values it is a secret."""
    found = deploy(run, with_mode("SignedManifest"))
    (one,) = [
        one for name, one in found.only(RELEASE).inputs["values"]["policies"].items() if name.startswith("acme-api")
    ]
    assert one["kind"] == "SignedPolicy"
    assert SECRET_MARK in one["policy"]
    assert any("whoever reads Kubernetes objects reads the policies" in warning for warning in found.warnings)
    assert set(one["signatures"]["value"]) == {"0"}


@pytest.mark.parametrize(("mode", "suffix"), [("NoUpload", "yaml"), ("EncryptedOnly", "json")])
def test_modes_for_people(run: Run, mode: str, suffix: str) -> None:
    """Documents come as files and outputs; nothing is put into the chart, nobody waits, and the preview says why."""
    found = deploy(run, with_mode(mode))
    assert found.only(":SealedPolicy", "app-api").inputs["file"] == f".pulumi-scone/policies/cas/acme+api.{suffix}"
    assert "policies" not in found.only(RELEASE).inputs["values"]
    assert not [r for r in found.resources if r.type.endswith(":Rollout")]
    assert any("acme, acme/api" in warning and "nothing waits" in warning for warning in found.warnings)
    assert any("name this stack's key hash among the owners" in warning for warning in found.warnings)


def test_namespace_alone_in_a_mode(run: Run) -> None:
    """A namespace without a mesh may be sealed, too; an unknown mode is refused by name."""

    def program() -> None:
        CasNamespace("team", {"namespace": "acme", "cas_url": "cas.default", "mode": "NoUpload"})

    assert run(program).only(":SealedPolicy").inputs["mode"] == "NoUpload"

    def wrong() -> None:
        CasNamespace("team", {"namespace": "acme", "cas_url": "cas.default", "mode": "Maybe"})

    with pytest.raises(pulumi.RunError, match="mode: Maybe is no upload mode"):
        run(wrong)


def test_pull_secret(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pull secret is made of the docker configuration's entry for the mesh's registry alone, as a secret."""
    (tmp_path / "docker").mkdir()
    config = '{"auths": {"localhost:5000": {"auth": "dTpwbGFudGVk"}, "other.example": {"auth": "eDp5"}}}'
    (tmp_path / "docker" / "config.json").write_text(config)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    found = deploy(run, {**TYPED, "pull_secret": True})
    secret = found.only("core/v1:Secret")
    assert secret.inputs["metadata"] == {"name": "sconeapps", "namespace": "default"}
    assert secret.inputs["type"] == "kubernetes.io/dockerconfigjson"
    content = secret.inputs["stringData"]
    assert SECRET_MARK in str(content)
    assert "dTpwbGFudGVk" in str(content)
    assert "eDp5" not in str(content)
    assert "kubernetes:core/v1:Secret::app-sconeapps" in found.only(RELEASE).after
    places = [r.name for r in found.resources if "dTpwbGFudGVk" in str(r.inputs)]
    assert places == ["app-sconeapps"]


def test_pull_secret_without_credentials(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `up` says what is missing; a preview, which may run without them, leaves the value unknown."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(pulumi.RunError, match="localhost:5000: there are no credentials"):
        deploy(run, {**TYPED, "pull_secret": True})
    found = deploy(run, {**TYPED, "pull_secret": True}, preview=True)
    assert UNKNOWN in str(found.only("core/v1:Secret").inputs["stringData"])


def test_repository_of_the_mesh(run: Run) -> None:
    """`repo.destination` moves images, and not their keys; with `push: false` they stay where manifests say."""
    moved = deploy(run, {**TYPED, "mesh": {**MESH, "repo": {"destination": "prod.example/apps"}}})
    inputs = moved.only("dynamic/scone:ConfidentialImage").inputs
    assert inputs["to"] == "prod.example/apps/api:1"
    assert inputs["identity"] == "team/api"
    kept = deploy(run, {**TYPED, "mesh": {**MESH, "repo": {"destination": "prod.example/apps", "push": False}}})
    assert kept.only("dynamic/scone:ConfidentialImage").inputs["to"] == "localhost:5000/team/api:1"


def test_files_beside_a_service(run: Run, tmp_path: Path) -> None:
    """Variables, secrets and policy sections come from files beside the Meshfile, and replace what the image has."""
    found = deploy(run, beside(tmp_path)).only(":SecurityPolicy", "app-api").inputs["policy"]
    assert found["services"]["api"]["environment"] == {
        "API_PASSWORD": "$$SCONE::password$$",
        "API_USER": "myself",
        "EXTRA": "more",
        "PIN": "$$SCONE::pin$$",
    }
    assert found["secrets"]["pin"]["kind"] == "binary"
    assert found["security"]["attestation"]["tolerate"] == {"hyperthreading": True}


def beside(folder: Path) -> Any:
    """A project whose Meshfile, in a folder of its own, names files beside it."""
    write_files(folder)
    (folder / "deploy").mkdir()
    (folder / "deploy" / "env.yaml").write_text("- {name: EXTRA, value: more}\n")
    (folder / "deploy" / "secrets.yaml").write_text("- {name: pin, kind: binary, size: 4}\n")
    (folder / "deploy" / "policy.yaml").write_text(
        "services:\n  - name: api\n    environment:\n      PIN: $$SCONE::pin$$\n"
        "security:\n  attestation:\n    tolerate: [hyperthreading]\n"
    )
    text = (folder / "mesh.yaml").read_text()
    more = "    env: env.yaml\n    image_secrets: secrets.yaml\n    image_policy: policy.yaml\n"
    (folder / "deploy" / "mesh.yaml").write_text(text + more)
    return {**FROM_FILES, "mesh_file": "deploy/mesh.yaml"}


def test_own_chart(run: Run, tmp_path: Path) -> None:
    """A service's own chart becomes a sub-chart with the service's name and values; ours leaves it alone."""
    write_files(tmp_path)
    (tmp_path / "mine" / "templates").mkdir(parents=True)
    (tmp_path / "mine" / "Chart.yaml").write_text("apiVersion: v2\nname: whatever\nversion: 1.0.0\n")
    (tmp_path / "mine" / "templates" / "pod.yaml").write_text("kind: Pod\n")
    (tmp_path / "mesh.yaml").write_text((tmp_path / "mesh.yaml").read_text() + "    helm_chart: mine\n")
    inputs = deploy(run, FROM_FILES).only(RELEASE).inputs
    assert inputs["chart"] == "./.pulumi-scone/chart-app"
    chart = tmp_path / ".pulumi-scone" / "chart-app" / "charts" / "api"
    assert (chart / "Chart.yaml").read_text() == "apiVersion: v2\nname: api\nversion: 1.0.0\n"
    assert (chart / "templates" / "pod.yaml").read_text() == "kind: Pod\n"
    values = inputs["values"]
    assert values["services"]["api"]["ownChart"] is True
    assert values["api"]["configId"] == values["services"]["api"]["configId"] == "acme/api/api"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "secrets.yaml",
            "- {name: password, kind: ascii}\n",
            "deploy/secrets.yaml:1: password: the secret password is",
        ),
        ("secrets.yaml", "pin: 4\n", "deploy/secrets.yaml:1: must be a list of secrets"),
        ("secrets.yaml", "- {name: pin, kind: zonk}\n", "deploy/secrets.yaml:1: pin.kind: must be one of"),
        ("env.yaml", "- {name: A=B}\n", "deploy/env.yaml:1: [0].name: a variable's name"),
        ("policy.yaml", "services: {api: {mrenclaves: [aa]}}\n", "deploy/policy.yaml:1: services.api.mrenclaves: "),
        ("policy.yaml", "services: {web: {pwd: /}}\n", "deploy/policy.yaml:1: services.web: this is the template of"),
        ("policy.yaml", "predecessor: aa\n", "deploy/policy.yaml:1: predecessor: a policy template must not"),
        ("policy.yaml", "security: {attestation: {mode: zonk}}\n", "deploy/policy.yaml:1: security.attestation.mode"),
        ("policy.yaml", "access_policy: {read: ['{{who}}']}\n", "deploy/policy.yaml:1: access_policy.read[0]: the var"),
    ],
)
def test_mistakes_in_files_beside_a_service(run: Run, tmp_path: Path, file: str, content: str, said: str) -> None:
    """What is wrong in such a file is said with its name and line; what makes the service itself is not its to say."""
    args = beside(tmp_path)
    (tmp_path / "deploy" / file).write_text(content)
    with pytest.raises(pulumi.RunError) as caught:
        deploy(run, args)
    assert said in str(caught.value)


def test_switch_of_another_cas_that_nobody_knows(run: Run) -> None:
    """Every CAS's switches are judged before anything is registered, in words."""
    with pytest.raises(pulumi.RunError, match="'--trust-all' is no switch"):
        deploy(run, two(tolerance="--trust-all"))


def test_production_looks_at_every_cas(run: Run) -> None:
    """A testing switch of any CAS is refused where the stack is for production."""
    result: list[Result] = []
    args: Any = two(tolerance="--only_for_testing-debug")
    args["mesh"] = {**args["mesh"], "policy": {"namespace": "acme"}}
    args["mesh"]["cas"] = [{**MAIN, "tolerance": ""}, args["mesh"]["cas"][1]]

    def program() -> None:
        MeshDeployment("app", args)

    with pytest.raises(pulumi.RunError, match="--only_for_testing-debug"):
        result.append(run(program, config={"scone:production": "true", "project:production": "true"}))


def test_template_reaches_the_image(run: Run, tmp_path: Path) -> None:
    """What a policy template injects and mounts, image and chart are made for: else no pod would start."""
    write_files(tmp_path, mesh=MESH_FILE.replace("api:1\n", "api:1\n    image_policy: policy.yaml\n"))
    (tmp_path / "api.py").write_text("")
    (tmp_path / "policy.yaml").write_text(
        "images:\n  - name: api\n    injection_files: [{path: /new, content: x}]\n"
        "    volumes: [{name: scratch, path: /scratch}]\nvolumes: [{name: scratch}]\n"
    )
    found = run(lambda: MeshDeployment("app", FROM_FILES))
    image = found.only("dynamic/scone:ConfidentialImage").inputs
    policy = found.only("dynamic/scone:SecurityPolicy", "app-api").inputs["policy"]
    assert set(image["injected"]) == set(policy["images"]["api"]["injection_files"]) == {"/new"}
    assert set(image["volumes"]) == set(policy["images"]["api"]["volumes"]) == {"/scratch"}
    volumes = found.only("helm.sh/v3:Release").inputs["values"]["services"]["api"]["volumes"]
    assert volumes == {"scratch": {"path": "/scratch"}}


@pytest.mark.parametrize("image", ["localhost:5000/team/api:1", "localhost:5000/team/api"])
def test_image_by_digest(run: Run, tmp_path: Path, image: str) -> None:
    """A digest in the Meshfile is demanded of what is built; the manifest is found without it."""
    (tmp_path / "api.py").write_text("")
    digest = f"sha256:{'ab' * 32}"
    mesh: Any = {**MESH, "services": [{"name": "api", "image": f"{image}@{digest}"}]}
    found = deploy(run, {**TYPED, "mesh": mesh})
    inputs = found.only("dynamic/scone:ConfidentialImage").inputs
    assert (inputs["demanded"], inputs["to"]) == (digest, "localhost:5000/team/api:1")
    assert inputs["where"]["demanded"] == "<mesh>: services.api.image"
    assert "demanded" not in deploy(run, TYPED).only("dynamic/scone:ConfidentialImage").inputs


def test_memory_follows_the_files(run: Run, tmp_path: Path) -> None:
    """A service with much to decrypt gets a mount that holds it; files that are not there are the image's to refuse."""
    with (tmp_path / "api.py").open("wb") as file:
        file.truncate(100 << 20)
    assert deploy(run, TYPED).only(RELEASE).inputs["values"]["services"]["api"]["memory"] == {"/app": "256Mi"}
    (tmp_path / "api.py").unlink()
    assert deploy(run, TYPED).only(RELEASE).inputs["values"]["services"]["api"]["memory"] == {"/app": "64Mi"}
