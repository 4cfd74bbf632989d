"""BuildKit of the stack, through a real program: images are built and pushed, and hold nothing of this machine."""

import gzip
import io
import json
import secrets
import tarfile
from collections.abc import Iterator

import httpx
import pytest
from tools.devstack.paths import REGISTRY

from support.pulumi_project import PulumiProject

PROGRAM = """
import os
import pulumi
import pulumi_docker_build as docker_build

config = pulumi.Config()
image = docker_build.Image(
    "native",
    builder={"name": os.environ["BUILDX_BUILDER"]},
    build_on_preview=False,
    context={"location": "context"},
    dockerfile={"location": "context/Dockerfile"},
    platforms=[docker_build.Platform.LINUX_AMD64],
    push=True,
    tags=[config.require("tag")],
)
pulumi.export("digest", image.digest)
"""
DOCKERFILE = """FROM python:3.11-slim
COPY requirements.txt /build/
RUN pip install --no-cache-dir --root-user-action=ignore -r /build/requirements.txt
RUN python3 -c "import flask, redis; print(flask.Flask, redis.Redis)" && env > /build/environment
"""
MANIFESTS = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


class Pushed:
    """An image in the stack's registry."""

    def __init__(self, repository: str, tag: str) -> None:
        self._url = f"http://{REGISTRY}/v2/{repository}"
        manifest = self._json(f"/manifests/{tag}")
        if "manifests" in manifest:
            own = [entry for entry in manifest["manifests"] if entry["platform"]["os"] == "linux"]
            manifest = self._json(f"/manifests/{own[0]['digest']}")
        self.config = self._json(f"/blobs/{manifest['config']['digest']}")
        self._layers = [layer["digest"] for layer in manifest["layers"]]

    def _json(self, path: str) -> dict:
        return json.loads(self._get(path))

    def _get(self, path: str) -> bytes:
        answer = httpx.get(f"{self._url}{path}", headers={"Accept": MANIFESTS}, trust_env=False)
        answer.raise_for_status()
        return answer.content

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Every file that a layer above the base brought, with its content."""
        for digest in self._layers[1:]:
            data = self._get(f"/blobs/{digest}")
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)) as layer:
                for member in layer.getmembers():
                    content = layer.extractfile(member) if member.isreg() else None
                    yield member.name, content.read() if content else b""


@pytest.fixture(scope="module")
def repository() -> str:
    return f"test-{secrets.token_hex(3)}/native"


@pytest.fixture(scope="module")
def project(stack_environment: dict[str, str], repository: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A program with one image that needs packages of the Python index, brought up."""
    folder = tmp_path_factory.mktemp("native")
    (folder / "Pulumi.yaml").write_text("name: native\nruntime: python\n")
    (folder / "__main__.py").write_text(PROGRAM)
    (folder / "context").mkdir()
    (folder / "context" / "Dockerfile").write_text(DOCKERFILE)
    (folder / "context" / "requirements.txt").write_text("flask\nredis\n")
    made = PulumiProject(folder, environment=stack_environment)
    made.init({"tag": f"{REGISTRY}/{repository}:1"}, {})
    made.up()
    yield made
    made.destroy()


@pytest.fixture(scope="module")
def image(project: PulumiProject, repository: str) -> Pushed:
    assert project.outputs()["digest"].startswith("sha256:")
    return Pushed(repository, "1")


def test_a_native_image_is_built_from_the_python_index_and_pushed(image: Pushed) -> None:
    """docker-build reaches the stack's builder, `FROM python:3.11-slim` resolves, pip installs, the registry has it."""
    names = {name for name, _ in image.files()}
    assert {"usr/local/lib/python3.11/dist-packages/flask/__init__.py", "build/requirements.txt"} <= names


def test_nothing_of_this_machine_enters_the_image(image: Pushed) -> None:
    """The machine's certificates serve the steps of the build, and stand in no layer and in no configuration."""
    found = dict(image.files())
    assert b"SSL_CERT_FILE=/dev/ca-certificates.crt" in found["build/environment"].splitlines()
    assert not [name for name in found if name.startswith("dev/") or name.endswith("ca-certificates.crt")]
    text = json.dumps(image.config)
    assert "CERT" not in text
    assert "PIP_" not in text


def test_an_unchanged_context_is_no_change(project: PulumiProject) -> None:
    """A second preview finds nothing to build."""
    assert project.preview_steps() == {}
