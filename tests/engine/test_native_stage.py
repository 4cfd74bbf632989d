"""`requirements`, `run` and native images of the program's own, through the real engine, BuildKit and a registry."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.publish.cosign import signature_tag
from scone_provider.image.registry.client import Registry
from support.pulumi_project import PulumiProject
from support.real_registry import RealRegistry

Make = Callable[..., PulumiProject]
NATIVE = "docker-build:index:Image::api"
IMAGE = "pulumi-python:dynamic/scone:ConfidentialImage::api"
PLANTED = "planted source line 5d20"
PLANTED_NAME = "tell_tale_7c1e.py"
MANIFEST = """apiVersion: scone/5.8
kind: genservice
environment:
  local:
    - name: SCONE_HEAP
      value: 64M
build:
  name: api
  kind: python
  from: python:3.11-slim
  to: $REGISTRY/team/api:1
  pwd: /app
  command: python3 api.py
  requirements: requirements.txt
  run:
    - >
     echo one line
     && echo another > /etc/made-by-run
  copy: [api.py, lib]
"""
PROGRAM = """
import pulumi
from pulumi_scone import ConfidentialImage

config = pulumi.Config("test")
image = ConfidentialImage(
    "api",
    {"manifest_file": "service/manifest.yaml", "variables": {"REGISTRY": config.require("registry")}},
)
pulumi.export("reference", image.reference)
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """An empty registry."""
    server = RealRegistry(tmp_path / "registry")
    yield server
    server.kill()


def native_project(new_project: Make, registry: RealRegistry, *, manifest: str = MANIFEST) -> PulumiProject:
    """A project with one image that has a native stage; what `.dockerignore` names is there and must not be taken."""
    project = new_project(PROGRAM, {"test:registry": registry.host})
    folder = project.folder / "service"
    (folder / "lib").mkdir(parents=True)
    (folder / "manifest.yaml").write_text(manifest)
    (folder / "requirements.txt").write_text("flask\n")
    (folder / "api.py").write_text(f"print({PLANTED!r})\n")
    (folder / "lib" / PLANTED_NAME).write_text("x = 1\n")
    (folder / "lib" / "left_out.log").write_text("ignored")
    (folder / ".dockerignore").write_text("**/*.log\n")
    return project


def layers_of(reference: str) -> dict[str, bytes]:
    """Every file of every layer of an image: path to content, in the order of the layers."""
    parsed = parse_reference(reference)
    repository = Registry().target(parsed)
    found = repository.manifest(parsed.version)
    assert found is not None
    manifest: Any = json.loads(found.data)
    files: dict[str, bytes] = {}
    for entry in manifest["layers"]:
        buffer = io.BytesIO()
        repository.download(entry["digest"], size=entry["size"], into=buffer)
        data = buffer.getvalue()
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive.getmembers():
                content = archive.extractfile(member) if member.isreg() else None
                files["/" + member.name.removeprefix("./")] = content.read() if content else b""
    return files


def test_requirements_and_run_end_in_the_image_and_the_program_does_not(
    new_project: Make, registry: RealRegistry
) -> None:
    """Flask and what `run` wrote are in the image; no layer of any image has a line or a name of what is encrypted.

    The preview leaves unknown what depends on the unbuilt image, and nothing besides; afterwards nothing is to be done.
    """
    project = native_project(new_project, registry)
    first = project.preview_steps()
    assert first[NATIVE]["op"] == "create"
    project.up()
    files = layers_of(project.outputs()["reference"])
    assert files["/etc/made-by-run"] == b"another\n"
    assert any(path.endswith("site-packages/flask/app.py") or "/flask/app.py" in path for path in files)
    assert "/app/api.py" not in files
    everything = registry.blobs()
    for planted in (PLANTED, PLANTED_NAME, "left_out.log"):
        assert planted.encode() not in everything
        assert not any(planted.encode() in content or planted in path for path, content in files.items())
    assert project.preview_steps() == {}
    assert PLANTED.encode() not in project.everything_written()


def edit(project: PulumiProject, file: str, old: str, new: str) -> None:
    """Replaces a text in a file of the service."""
    path = project.folder / "service" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_an_edit_shows_in_a_preview(new_project: Make, registry: RealRegistry) -> None:
    """An encrypted file's edit leaves the native image alone and is known to the bit; an edit of `run` leaves exactly
    what depends on the unbuilt image unknown; a build that writes into an encrypted folder is refused with the line.
    """
    manifest = MANIFEST.replace("  requirements: requirements.txt\n", "")
    project = native_project(new_project, registry, manifest=manifest)
    project.up()
    edit(project, "api.py", PLANTED, "another line")
    steps = project.preview_steps()
    assert NATIVE not in steps
    assert set(steps[IMAGE]["diff"]) == {"digest", 'files["/app/api.py"]', "fspf_tag", "reference"}
    project.up()
    edit(project, "manifest.yaml", "echo one line", "echo one other line")
    steps = project.preview_steps()
    assert set(steps[NATIVE]["diff"]) == {"dockerfile"}
    assert set(steps[IMAGE]["diff"]) == {"from", "base", "digest", "fspf_tag", "measurement", "reference"}
    edit(project, "manifest.yaml", "> /etc/made-by-run", "> /app/made-by-run")
    refused = project.up(check=False)
    assert refused.status != 0
    assert "'/app' is to be encrypted, but `run` or `requirements` wrote into it" in refused.text


FROM_PROGRAM = """
import pulumi
import pulumi_docker_build as docker_build
from pulumi_scone import ConfidentialImage

registry = pulumi.Config("test").require("registry")
native = docker_build.Image(
    "native",
    push=True,
    build_on_preview=False,
    tags=[f"{registry}/team/native:1"],
    context=docker_build.BuildContextArgs(location="./native"),
    dockerfile=docker_build.DockerfileArgs(
        inline="FROM redis:7\\nENV WRAPPED=yes\\nWORKDIR /data\\nCOPY extra.conf /etc/extra.conf\\n"
    ),
)
image = ConfidentialImage(
    "redis",
    {
        "native_image": native,
        "manifest": {
            "environment": {"local": [{"name": "SCONE_HEAP", "value": "64M"}]},
            "build": {
                "name": "redis",
                "kind": "sconify_image",
                "to": f"{registry}/team/redis:1",
                "command": "redis-server /etc/extra.conf",
                "fs_files": ["/etc/extra.conf"],
                "volumes": [{"name": "data", "path": "/data"}],
                "signature": {"sign": True},
            },
        },
    },
)
pulumi.export("reference", image.reference)
"""


def test_native_image_of_the_program_becomes_confidential(new_project: Make, registry: RealRegistry) -> None:
    """A docker-build image that the program makes is wrapped: its program measured, its variables kept, signed."""
    project = new_project(FROM_PROGRAM, {"test:registry": registry.host})
    (project.folder / "native").mkdir()
    (project.folder / "native/extra.conf").write_text("port 6379\n")
    project.up()
    reference = project.outputs()["reference"]
    files = layers_of(reference)
    assert files["/etc/extra.conf"] == b"port 6379\n"
    settings = json.loads(files["/.scone/launcher.json"])
    assert settings["program"].endswith("/redis-server") or settings["program"].endswith("/redis-check-rdb")
    assert settings["environment"]["WRAPPED"] == "yes"
    assert settings["pwd"] == "/data"
    parsed = parse_reference(reference)
    assert Registry().target(parsed).manifest(signature_tag(str(parsed.digest))) is not None
    image = project.resources()["pulumi-python:dynamic/scone:ConfidentialImage::redis"]
    assert "BEGIN PUBLIC KEY" in image["outputs"]["signature"]["public_key"]
    assert project.preview_steps() == {}
