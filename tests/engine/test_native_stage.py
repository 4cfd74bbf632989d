"""`requirements`, `run` and native images of the program's own, through the real engine, BuildKit and a registry."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scone_provider.image.reference import parse_reference
from scone_provider.image.registry import Registry
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
