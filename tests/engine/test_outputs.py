"""Every argument as programs have it, through the real engine: known, secret, known in `up` alone."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scone_provider.image.oci.layers import bytes_blob
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import OCI_MANIFEST
from support.embedded_cas import EmbeddedCas
from support.pulumi_project import PulumiProject, Run
from support.real_registry import RealRegistry
from support.tiny_image import tiny_image

Make = Callable[..., PulumiProject]
PLANTED = "planted-o4d1"
DYNAMIC = "pulumi-python:dynamic/scone:"
LATE = """
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class LateProvider(ResourceProvider):
    def create(self, props):
        return CreateResult("late", {"value": props["given"]})


class Late(Resource):
    value: pulumi.Output

    def __init__(self, name, given):
        super().__init__(LateProvider(), name, {"given": given, "value": None})


counter = iter(range(1000))


def known(value):
    return pulumi.Output.from_input(value)


def secret(value):
    return pulumi.Output.secret(value)


def late(value):
    return Late(f"late{next(counter)}", value).value

"""
SWITCHES = "--only_for_testing-debug --only_for_testing-ignore-signer --only_for_testing-trust-any"
COMMON = """
import json
import os

import flavours
import pulumi
from pulumi_scone import Cas, CasNamespace, ConfidentialImage, MeshDeployment, SealedPolicy, SecurityPolicy

flavour = os.environ["FLAVOUR"]
out = getattr(flavours, flavour)
# What names things in public cannot be a secret.
name = flavours.known if flavour == "secret" else out
cas, registry, planted = os.environ["CAS"], os.environ["REGISTRY"], os.environ["PLANTED"]
switches, KEY = "{switches}", "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"
""".replace("{switches}", SWITCHES)
PIECES = (
    COMMON
    + """
namespace = CasNamespace(
    "ns",
    {
        "namespace": name("acme"),
        "cas_url": out(cas),
        "tolerance": switches,
        "owners": ["CREATOR", out(KEY)],
    },
)
pinned = CasNamespace(
    "pinned",
    {
        "namespace": "pinned",
        "cas_url": out(cas),
        "tolerance": switches,
        "cas_key": namespace.attested_key,
        "policy": {
            "name": "pinned",
            "version": "0.3.10",
            "access_policy": {"read": [out("CREATOR")], "update": ["CREATOR"], "create_sessions": ["CREATOR"]},
        },
    },
    pulumi.ResourceOptions(depends_on=[namespace]),
)
image = ConfidentialImage(
    "img",
    {
        "manifest": {
            "build": {
                "name": "api",
                "kind": "python",
                "from": out(f"{registry}/base:1"),
                "to": name(f"{registry}/team/api:1"),
                "pwd": "/app",
                "command": pulumi.Output.concat("python3 api.py ", out(f"{planted}-command")),
                "copy": ["api.py"],
            },
            "environment": {
                "local": [{"name": "SCONE_HEAP", "value": out("64M")}],
                "global": [{"name": "SCONE_STACK"}],
            },
        },
        "environment": {"SCONE_STACK": out("4M")},
        "cas_key": out(KEY),
    },
)


def service(**more):
    return {
        "command": ["python3", out(f"{planted}-argument")],
        "environment": {"TEXT": pulumi.Output.concat("x-", out(f"{planted}-text")), "NUMBER": out(5), "PLAIN": "p"},
        "pwd": out("/app"),
        "attestation": {"mrenclave": out("ab" * 32)},
        **more,
    }


after = pulumi.ResourceOptions(depends_on=[namespace, pinned])
policy = SecurityPolicy(
    "map",
    cas={"url": out(cas), "tolerance": namespace.trust["tolerance"], "key": namespace.attested_key},
    policy={
        "name": pulumi.Output.concat(namespace.namespace, "/map"),
        "version": "0.3.10",
        "access_policy": {"read": ["CREATOR", out(KEY)], "update": ["CREATOR"]},
        "security": {"attestation": {"tolerate": [out("hyperthreading")]}},
        "services": {"api": service(fspf_key=image.key, fspf_tag=image.fspf_tag, image_name=out("api"))},
        "images": [{"name": "api", "injection_files": [{"path": "/etc/a", "content": out(f"{planted}-file")}]}],
        "secrets": {
            "given": {"kind": "ascii", "value": pulumi.Output.secret(out(f"{planted}-value"))},
            "made": {"kind": "ascii", "size": out(10)},
        },
    },
    opts=after,
)
SecurityPolicy(
    "text",
    cas=namespace.trust,
    policy_file="policy.yaml",
    variables={
        "NAME": name("acme/text"),
        "KEY": image.key,
        "TAG": image.fspf_tag,
        "GIVEN": pulumi.Output.secret(out(f"{planted}-given")),
        "USER": out(f"{planted}-user"),
        "NUMBER": out(7),
    },
    opts=after,
)
SealedPolicy(
    "sealed",
    cas=namespace.trust,
    policy={"name": "acme/sealed", "version": "0.3.10", "services": {"api": service()}},
    mode="NoUpload",
    opts=after,
)
pulumi.export("key", pulumi.Output.unsecret(image.key))
pulumi.export("reference", image.reference)
"""
)
POLICY_TEXT = """name: $NAME
version: "0.3.10"
services:
- name: api
  command: [python3, "$NUMBER"]
  environment: {USER: "x-$USER", COUNT: "n=$NUMBER"}
  fspf_key: $KEY
  fspf_tag: $TAG
  mrenclaves: [abababababababababababababababababababababababababababababababab]
secrets:
- {name: token, kind: ascii, value: "$GIVEN"}
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """A registry with a base image."""
    server = RealRegistry(tmp_path / "registry")
    image = tiny_image()
    target = Registry().target(parse_reference(f"{server.host}/base:1"))
    for data in image.blobs.values():
        target.upload(bytes_blob(data, media_type="application/octet-stream"))
    target.put_manifest("1", image.manifest, media_type=OCI_MANIFEST)
    yield server
    server.kill()


def made(new_project: Make, program: str, flavour: str, cas: EmbeddedCas, registry: RealRegistry) -> PulumiProject:
    """A project of one flavour of values; what is secret in it stands in no file of the project."""
    project = new_project(program)
    project.environment |= {
        "FLAVOUR": flavour,
        "CAS": f"127.0.0.1:{cas.port}",
        "REGISTRY": registry.host,
        "PLANTED": PLANTED,
        "KUBECONFIG": str(project.folder / "none"),
    }
    (project.folder / "flavours.py").write_text(LATE)
    (project.folder / "api.py").write_text("print()\n")
    (project.folder / "policy.yaml").write_text(POLICY_TEXT)
    return project


def safely(done: Run) -> str:
    """The text of a run in which nothing went wrong that a person could not read."""
    assert "Traceback" not in done.text
    assert "Calling __str__ on an Output" not in done.text
    assert "\x00" not in done.text
    assert "hole:" not in done.text
    return done.text


@pytest.mark.parametrize("flavour", ["secret", "late"])
def test_arguments_outside_of_a_mesh(new_project: Make, cas: EmbeddedCas, registry: RealRegistry, flavour: str) -> None:
    """Namespace, image and policies take each value in each flavour: preview, up, and nothing to do after that.

    What is secret is in no preview and no state; what is not known yet hides nothing but itself.
    """
    project = made(new_project, PIECES, flavour, cas, registry)
    shown = safely(project.preview())
    assert 'PLAIN : "p"' in shown
    if flavour == "late":
        assert "NUMBER: [unknown]" in shown
    safely(project.up())
    assert project.outputs()["key"] == "derived: team/api"
    assert project.preview_steps() == {}
    resources = project.resources()
    inputs = resources[f"{DYNAMIC}SecurityPolicy::map"]["inputs"]
    if flavour == "secret":
        written = project.everything_written()
        assert PLANTED.encode() not in written
        assert f"127.0.0.1:{cas.port}".encode() not in re.sub(rb"[0-9]+\.log", b"", written)
    else:
        service = inputs["policy"]["services"]["api"]
        assert service["environment"]["TEXT"] == f"x-{PLANTED}-text"
        assert service["fspf_key"] == "derived: team/api"
        assert f"{PLANTED}-value" not in json.dumps(inputs)
    assert f"{PLANTED}-value" not in cas.log.read_text()


MESH_YAML = """apiVersion: scone/5.8
kind: mesh
cas:
  - {name: cas, alias: [image, security, access, attestation], cas_url: $CAS_URL, tolerance: "SWITCHES"}
policy: {namespace: $NAMESPACE, tolerate: debug-mode}
env:
  - service: global
    env:
      - {name: USER, value: $USER}
      - {name: replicaCount, value: $REPLICAS}
      - {name: imagePullSecrets, value: regcred}
services:
  - {name: api, image: $APP_IMAGE_REPO/api:1}
repo: {destination: $APP_IMAGE_REPO/moved}
""".replace("SWITCHES", SWITCHES)
SERVICE_YAML = """apiVersion: scone/5.8
kind: genservice
build:
  {name: api, kind: python, from: $APP_IMAGE_REPO/base:1, to: $APP_IMAGE_REPO/api:1, pwd: /app, command: python3 api.py,
   copy: [api.py]}
environment: {global: [{name: USER}], local: [{name: SCONE_HEAP, value: $HEAP}]}
secrets: {local: [{name: token, kind: ascii, value: $TOKEN}]}
"""
MESHES = (
    COMMON
    + """
repository = name(registry)
MeshDeployment(
    "files",
    {
        "mesh_file": "mesh.yaml",
        "manifest_files": ["service.yaml"],
        "variables": {
            "CAS_URL": out(cas),
            "APP_IMAGE_REPO": repository,
            "NAMESPACE": name("files"),
            "USER": out(f"{planted}-user"),
            "REPLICAS": out(2),
            "HEAP": out("64M"),
            "TOKEN": out(f"{planted}-token"),
        },
        "kubernetes_namespace": name("default"),
        "owners": ["CREATOR", out(KEY)],
        "pull_secret": True,
        "registry_credentials": out('{"auths": {}}'),
    },
)
to, other = name(f"{registry}/typed/one:1"), pulumi.Output.concat(repository, "/typed/two:1")
alike = pulumi.Output.concat(repository, "/typed/two:1")


def manifest(named, to):
    return {
        "build": {
            "name": named,
            "kind": "python",
            "from": pulumi.Output.concat(out(registry), "/base:1"),
            "to": to,
            "pwd": "/app",
            "command": "python3 api.py",
            "copy": ["api.py"],
        },
        "environment": {"local": [{"name": "USER", "value": out(f"{planted}-local")}]},
        "injection_files": [{"path": "/etc/x", "content": out(f"{planted}-content")}],
    }


shared = CasNamespace("above", {"namespace": name("above"), "cas_url": out(cas), "tolerance": switches})
MeshDeployment(
    "typed",
    {
        "mesh": {
            "cas": [
                {
                    "name": "cas",
                    "alias": ["image", "security", "access", "attestation"],
                    "cas_url": out(cas),
                    "cas_key": shared.attested_key,
                    "tolerance": switches,
                }
            ],
            "policy": {"namespace": pulumi.Output.concat(shared.namespace, "/typed"), "tolerate": "debug-mode"},
            "env": [{"service": "global", "env": [{"name": "APP_SERVICE_PORT", "value": out(8443)}]}],
            "services": [{"name": "one", "image": to}, {"name": "two", "image": other}],
        },
        "manifests": [manifest("first", to), manifest("two", alike)],
    },
    pulumi.ResourceOptions(depends_on=[shared]),
)
"""
)
REFUSED = (
    COMMON
    + """
refused = {}
base = {"namespace": "x", "cas_url": cas, "tolerance": switches}
build = {"name": "api", "kind": "python", "to": "r.test/a:1", "command": "a"}


def tried(what, make):
    try:
        make()
    except pulumi.RunError as error:
        refused[what] = str(error)


def mesh(build=build, **more):
    whole = {
        "cas": [{"cas_url": cas, "alias": ["image", "security", "access", "attestation"], **more.pop("cas", {})}],
        "policy": {"namespace": "x", **more.pop("policy", {})},
        "env": [{"service": "helm", "env": more.pop("env", [])}],
        "services": [{"image": "r.test/a:1", **more.pop("service", {})}],
        **more.pop("mesh", {}),
    }
    manifests = [{"build": build, "environment": {}, **more.pop("manifest", {})}]
    return lambda: MeshDeployment("m", {"mesh": whole, "manifests": manifests, **more})


value = out("text")
for key in ("tolerance", "mode", "mesh_file", "policy", "adopt", "owners", "variables"):
    tried(f"CasNamespace {key}", lambda key=key: CasNamespace("n", {**base, key: value}))
tried("CasNamespace sealed", lambda: CasNamespace("n", {**base, "namespace": value, "mode": "NoUpload"}))
tried("CasNamespace key", lambda: CasNamespace("n", {**base, "policy": {value: True}}))
for key in ("manifest_file", "manifest", "variables", "environment", "builder", "native_stage", "refresh_base"):
    given = {"manifest": {"build": build, "environment": {}}, key: value}
    tried(f"ConfidentialImage {key}", lambda given=given: ConfidentialImage("i", given))
for key in ("policy", "policy_file", "cas", "variables", "adopt", "overlap"):
    given = {"cas": {"url": cas}, "policy": {"name": "a", "version": "0.3.10"}, key: value}
    tried(f"SecurityPolicy {key}", lambda given=given: SecurityPolicy("p", **given))
tried("SecurityPolicy section", lambda: SecurityPolicy("p", cas={"url": cas}, policy={"name": "a", "services": value}))
for key in ("cas", "mode", "policy"):
    given = {"cas": {"url": cas}, "policy": {"name": "a", "version": "0.3.10"}, "mode": "NoUpload", key: value}
    tried(f"SealedPolicy {key}", lambda given=given: SealedPolicy("p", **given))
tried("Cas tolerance", lambda: Cas("c", url=cas, tolerance=value))
for key in ("mesh", "manifests"):
    tried(f"MeshDeployment {key}", lambda key=key: MeshDeployment("m", {"mesh": {}, "manifests": [], key: value}))
for key in ("mesh_file", "manifest_files", "release", "owners", "rollout", "rollout_timeout", "catalogue",
            "native_images", "pull_secret", "variables", "builder"):
    tried(f"MeshDeployment {key}", mesh(**{key: value}))
for key in ("kind", "requirements", "copy", "dirs", "pwd", "volumes", "binaries"):
    tried(f"build.{key}", mesh({**build, "copy": ["api.py"], key: value}))
tried("build.copy[0]", mesh({**build, "copy": [value]}))
tried("secrets.kind", mesh(manifest={"secrets": {"local": [{"name": "a", "kind": value}]}}))
tried("injection_files.path", mesh(manifest={"injection_files": [{"path": value, "content": "x"}]}))
tried("cas.tolerance", mesh(cas={"tolerance": value}))
tried("cas.mode", mesh(cas={"mode": value}))
tried("cas.alias", mesh(cas={"alias": [value]}))
tried("services.name", mesh(service={"name": value}))
tried("services.env", mesh(service={"env": value}))
tried("services", mesh(mesh={"services": value}))
tried("env.restartPolicy", mesh(env=[{"name": "restartPolicy", "value": value}]))
tried("env.imagePullSecrets", mesh(env=[{"name": "imagePullSecrets", "value": value}]))
tried("helm_extra_values", mesh(mesh={"helm_extra_values": value}))
with open("refused.json", "w") as file:
    json.dump(refused, file)
"""
)


def test_meshes_of_outputs(new_project: Make, cas: EmbeddedCas, registry: RealRegistry) -> None:
    """A mesh from files and one in Python whose values are known only in `up`: repository, CAS, namespace and all else.

    Everything up to the release is carried out here, where no cluster is.
    """
    project = made(new_project, MESHES, "late", cas, registry)
    (project.folder / "mesh.yaml").write_text(MESH_YAML)
    (project.folder / "service.yaml").write_text(SERVICE_YAML)
    shown = safely(project.preview())
    assert "kubernetes:helm.sh/v3:Release" in shown
    targets = [
        f"--target=**{kind}**"
        for kind in ("::late", "MeshDeployment::", "CasNamespace", "scone:Cas::", "ConfidentialImage", "SecurityPolicy")
    ]
    safely(project.pulumi("up", "--yes", "--skip-preview", "--color=never", *targets))
    resources = project.resources()

    def inputs(kind: str, name: str) -> dict:
        return resources[f"{DYNAMIC}{kind}::{name}"]["inputs"]

    assert inputs("ConfidentialImage", "files-api")["to"] == f"{registry.host}/moved/api:1"
    service = inputs("SecurityPolicy", "files-api")["policy"]["services"]["api"]
    assert service["fspf_key"] == "derived: api"
    assert service["environment"]["USER"] == f"{PLANTED}-user"
    assert inputs("SecurityPolicy", "typed-one")["name"] == "above/typed/one"
    assert inputs("ConfidentialImage", "typed-two")["to"] == f"{registry.host}/typed/two:1"
    assert f"{PLANTED}-token" not in json.dumps(inputs("SecurityPolicy", "files-api"))
    assert "session=above/typed/two " in cas.log.read_text()


def test_what_cannot_be_an_output_says_so(new_project: Make, cas: EmbeddedCas, registry: RealRegistry) -> None:
    """Where a value decides what there is, an Output is refused as the program runs, with its place and the way out."""
    project = made(new_project, REFUSED, "late", cas, registry)
    safely(project.preview())
    refused = json.loads((project.folder / "refused.json").read_text())
    tried = re.findall(r"^tried\(f?\"([^{\"]+)\"", REFUSED, flags=re.MULTILINE)
    assert [what for what in tried if what not in refused] == []
    assert {what: text for what, text in refused.items() if "Output" not in text or "→" not in text} == {}
    assert len(refused) >= 55


LATE_MISTAKES = {
    "a number": (
        '{"env": [{"service": "api", "env": [{"name": "replicaCount", "value": known("many")}]}]}',
        "replicaCount must be a number",
    ),
    "another image": (
        '{"services": [{"name": "api", "image": known("r.test/b:1")}]}',
        "uses r.test/b:1, but its manifest builds r.test/a:1",
    ),
    "a list": (
        '{"env": [{"service": "api", "env": [{"name": "replicaCount", "value": known([1])}]}]}',
        "must be text, not a list or a map",
    ),
}


@pytest.mark.parametrize(("part", "words"), LATE_MISTAKES.values(), ids=LATE_MISTAKES)
def test_mistakes_that_show_when_a_value_is_known(
    new_project: Make, cas: EmbeddedCas, registry: RealRegistry, part: str, words: str
) -> None:
    """What only the value of an Output shows to be wrong is said in words as soon as that is known."""
    program = f"""{COMMON}
known = flavours.known
mesh = {{
    "cas": [{{"cas_url": cas, "alias": ["image", "security", "access", "attestation"]}}],
    "policy": {{"namespace": "x"}},
    "env": [],
    "services": [{{"name": "api", "image": known("r.test/a:1")}}],
}}
build = {{"name": "api", "kind": "sconify_image", "from": "r.test/n:1", "to": known("r.test/a:1"), "command": "a"}}
MeshDeployment("m", {{"mesh": {{**mesh, **{part}}}, "manifests": [{{"build": build, "environment": {{}}}}]}})
"""
    done = made(new_project, program, "known", cas, registry).preview(check=False)
    assert done.status != 0
    assert words in safely(done)
