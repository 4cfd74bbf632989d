"""Native stages, native images of the program's own, and foreign builders, as the components register them."""

from pathlib import Path
from typing import Any

import pulumi
import pulumi_docker as docker
import pulumi_docker_build as docker_build
import pytest
from pulumi.runtime.rpc import UNKNOWN

from pulumi_scone import ConfidentialImage, MeshDeployment
from support.component_meshes import MESH, SERVICE
from unit.pulumi_scone.conftest import DYNAMIC, Run

DIGEST = "sha256:" + "77" * 32
NATIVE = "docker-build:index:Image"
IMAGE = "dynamic/scone:ConfidentialImage"
NATIVE_FACTS = {"ref": f"localhost:5000/team/api:native-1@{DIGEST}", "digest": DIGEST}


def manifest(**build: Any) -> Any:
    """The usual service, with some build keys."""
    found: dict[str, Any] = {**SERVICE["build"], **build}
    return {**SERVICE, "build": {key: value for key, value in found.items() if value is not None}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files that the manifest names."""
    (tmp_path / "api.py").write_text("print('planted-0c')\n")
    (tmp_path / "requirements.txt").write_text("flask\n")
    return tmp_path


def test_native_stage(run: Run, project: Path) -> None:
    """A docker-build image, not built in previews, whose digest is the base of the confidential one."""

    def program() -> None:
        ConfidentialImage("api", {"manifest": manifest(requirements="requirements.txt", run=["true"])})

    found = run(program, native=NATIVE_FACTS)
    native = found.only(NATIVE)
    assert native.parent == "scone:index:ConfidentialImage::api"
    assert native.inputs["buildOnPreview"] is False
    assert native.inputs["push"] is True
    assert native.inputs["platforms"] == ["linux/amd64"]
    assert native.inputs["tags"] == ["localhost:5000/team/api:native-1"]
    assert native.inputs["context"] == {"location": "./.pulumi-scone/native/stack/api"}
    assert native.inputs["dockerfile"]["inline"].startswith("FROM python:3.11-slim\nWORKDIR /app\nRUN --mount=")
    assert "secrets" not in native.inputs
    image = found.only(IMAGE)
    assert image.inputs["from"] == NATIVE_FACTS["ref"]
    assert image.inputs["native_stage"] is True
    assert f"{NATIVE}::api" in image.after
    context = project / ".pulumi-scone/native/stack/api"
    assert {path.name for path in context.rglob("*") if path.is_file()} == {"requirements.txt"}


@pytest.mark.usefixtures("project")
def test_unbuilt_native_stage_leaves_one_input_unknown(run: Run) -> None:
    """In a preview in which it has to be built, `from` is unknown; what else the image is made of is shown."""

    def program() -> None:
        ConfidentialImage("api", {"manifest": manifest(run=["true"])})

    inputs = run(program, preview=True, native={}).only(IMAGE).inputs
    assert {key for key, value in inputs.items() if value == UNKNOWN} == {"from"}


@pytest.mark.usefixtures("project")
def test_rebuild_in_a_preview_is_unknown(run: Run) -> None:
    """There the builder's plug-in gives a tag without a digest, which still names the image before: it is not taken."""

    def program() -> None:
        ConfidentialImage("api", {"manifest": manifest(run=["true"])})

    inputs = (
        run(program, preview=True, native={"ref": "localhost:5000/team/api:native-1", "digest": ""}).only(IMAGE).inputs
    )
    assert inputs["from"] == UNKNOWN


@pytest.mark.usefixtures("project")
def test_settings_of_the_native_stage(run: Run) -> None:
    """The package index is a build secret, wrapped as one, and no difference; builder and arguments are handed on."""
    stage: Any = {"builder": "mine", "pip_config": "planted-99", "build_args": {"HTTPS_PROXY": "http://proxy:3128"}}

    def program() -> None:
        ConfidentialImage("api", {"manifest": manifest(requirements="requirements.txt"), "native_stage": stage})

    inputs = run(program, native=NATIVE_FACTS).only(NATIVE).inputs
    assert inputs["builder"] == {"name": "mine"}
    assert inputs["buildArgs"] == {"SOURCE_DATE_EPOCH": "0", "HTTPS_PROXY": "http://proxy:3128"}
    assert inputs["ignoreSecretsInDiffCalculation"] == ["pip_config"]
    secret = inputs["secrets"]
    secret = secret.get("value", secret)["pip_config"] if "value" in secret else secret["pip_config"]
    assert isinstance(secret, str) or secret["value"] == "planted-99"
    assert str(inputs).count("planted-99") == 1
    assert "4dabf18193072939515e22adb298388d" in str(inputs["secrets"])


@pytest.mark.usefixtures("project")
def test_images_of_the_program(run: Run) -> None:
    """An image that the program makes with any of the three resources, or an Output, takes the place of `from`."""
    facts = {
        NATIVE: {"ref": f"r.test/a:1@{DIGEST}", "digest": DIGEST},
        "docker:index/image:Image": {"repoDigest": f"r.test/b@{DIGEST}"},
        "docker:index/registryImage:RegistryImage": {"sha256Digest": DIGEST},
    }

    def program() -> None:
        images: dict[str, Any] = {
            "a": docker_build.Image("a", push=False),
            "b": docker.Image("b", image_name="r.test/b:1"),
            "c": docker.RegistryImage("c", name="localhost:5000/team/c:1"),
            "d": pulumi.Output.from_input("r.test/d:1"),
        }
        for name, image in images.items():
            ConfidentialImage(f"of-{name}", {"manifest": manifest(kind="sconify_image"), "native_image": image})

    found = run(program, computed=facts)
    assert {name: found.only(IMAGE, f"of-{name}").inputs["from"] for name in "abcd"} == {
        "a": f"r.test/a:1@{DIGEST}",
        "b": f"r.test/b@{DIGEST}",
        "c": f"localhost:5000/team/c@{DIGEST}",
        "d": "r.test/d:1",
    }


@pytest.mark.usefixtures("project")
def test_native_image_of_a_mesh_is_per_service(run: Run) -> None:
    """`native_images` names the service whose image is wrapped."""

    def program() -> None:
        native = pulumi.Output.from_input(f"r.test/x@{DIGEST}")
        MeshDeployment(
            "app", {"mesh": MESH, "manifests": [manifest(kind="sconify_image")], "native_images": {"api": native}}
        )

    assert run(program).only(IMAGE).inputs["from"] == f"r.test/x@{DIGEST}"


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"manifest": manifest(kind="sconify_image")}, "nothing says which image is to become confidential"),
        ({"manifest": manifest(), "native_image": 5}, "a int is no image"),
        ({"manifest": manifest(kind="java17")}, "needs the vendor's SCONE toolchain"),
        ({"manifest": manifest(), "builder": {"command": "sconectl"}}, "this is no list of words"),
    ],
)
def test_mistakes(run: Run, args: Any, words: str) -> None:
    """Each is one error in words, before anything is registered."""

    def program() -> None:
        ConfidentialImage("api", args)

    with pytest.raises(pulumi.RunError, match=words):
        run(program)


@pytest.mark.usefixtures("project")
def test_builder_of_another_toolchain(run: Run) -> None:
    """With `scone:builder`, kinds of the vendor's are built by it; its facts and its key's marker reach the policy."""
    made = {
        "key": "derived: sealed key 00ff",
        "reference": "r/x@" + DIGEST,
        "measurement": "01" * 32,
        "fspf_tag": "02" * 16,
    }

    def program() -> None:
        signed = {"sign": True, "key": "sign.pem"}
        content = manifest(kind="java17", requirements="requirements.txt", signature=signed)
        MeshDeployment("app", {"mesh": MESH, "manifests": [content]})

    config = {"scone:builder": '["python3", "builder.py"]'}
    found = run(program, config=config, computed={DYNAMIC + "VendorImage": made})
    image = found.only("dynamic/scone:VendorImage")
    assert image.inputs["builder"] == {"0": "python3", "1": "builder.py"}
    assert image.inputs["manifest"]["build"]["kind"] == "java17"
    assert image.inputs["requirements"] == "requirements.txt"
    assert image.inputs["signature"] == {"sign": True, "key": "sign.pem"}
    policy = found.only(":SecurityPolicy", "app-api").inputs
    assert "private" not in policy
    service = policy["policy"]["services"]["api"]
    assert service["fspf_key"]["value"] == "derived: sealed key 00ff"
    assert service["attestation"] == {"mrenclave": "01" * 32}
    assert found.only(":Release").inputs["values"]["services"]["api"]["memory"] == {}
