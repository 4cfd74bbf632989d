"""`ConfidentialImage` alone, through the real engine and a real registry."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scone_provider.image.oci.layers import bytes_blob
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import OCI_MANIFEST
from support.pulumi_project import PulumiProject
from support.real_registry import RealRegistry
from support.tiny_image import tiny_image

Make = Callable[..., PulumiProject]
IMAGE = "pulumi-python:dynamic/scone:ConfidentialImage::api"
SOURCE_LINE = "planted source line 91c2"
MANIFEST = """apiVersion: scone/5.8
kind: genservice
environment:
  local:
    - name: SCONE_HEAP
      value: 64M
build:
  name: api
  kind: python
  from: $REGISTRY/base:1
  to: $REGISTRY/team/api:1
  pwd: /app
  command: python3 api.py
  copy: [api.py]
"""
PROGRAM = """
import pulumi
from pulumi_scone import ConfidentialImage

config = pulumi.Config("test")
image = ConfidentialImage(
    "api",
    {
        "manifest_file": "service/manifest.yaml",
        "variables": {"REGISTRY": config.require("registry")},
        "delete_images": config.get_bool("delete") or False,
    },
)
pulumi.export("reference", image.reference)
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


def image_project(new_project: Make, registry: RealRegistry, *, name: str, delete: bool = False) -> PulumiProject:
    """A project with one image."""
    config = {"test:registry": registry.host, "test:delete": str(delete).lower()}
    project = new_project(PROGRAM, config, name=name)
    folder = project.folder / "service"
    folder.mkdir()
    (folder / "manifest.yaml").write_text(MANIFEST)
    (folder / "api.py").write_text(f"print({SOURCE_LINE!r})\n")
    return project


def test_two_folders_give_one_digest(new_project: Make, registry: RealRegistry) -> None:
    """The same files under the same image key are the same image, wherever the project lies, known in preview."""
    first = image_project(new_project, registry, name="here")
    predicted = first.preview().text
    first.up()
    second = image_project(new_project, registry, name="there")
    second.up()
    reference = first.outputs()["reference"]
    assert second.outputs()["reference"] == reference
    assert f'"{reference}"' in predicted
    assert SOURCE_LINE.encode() not in registry.blobs()
    assert SOURCE_LINE.encode() not in first.everything_written()


def there(project_reference: str) -> bool:
    """Whether the registry has the image."""
    parsed = parse_reference(project_reference)
    assert parsed.digest is not None
    return Registry().reader(parsed).has_manifest(parsed.digest)


def rename(project: PulumiProject, old: str, new: str, *, options: str = "") -> None:
    """Give the component another name."""
    main = project.folder / "__main__.py"
    text = main.read_text().replace(f'"{old}",\n    {{', f'"{new}",\n    {{')
    main.write_text(text.replace("    },\n)", f"    }},{options}\n)"))


def test_the_image_that_runs_stays_whatever_becomes_of_its_resource(new_project: Make, registry: RealRegistry) -> None:
    """With delete_images: another name, a replacement, an alias, a second stack. It goes with its last owner, and its
    record with it; each preview in between is a no-op.
    """
    first = image_project(new_project, registry, name="here", delete=True)
    first.up()
    reference = first.outputs()["reference"]
    rename(first, "api", "renamed")
    assert "1 deleted" in first.up().text or "2 deleted" in first.transcripts[-1]
    assert there(reference)
    urn = first.resources()["pulumi-python:dynamic/scone:ConfidentialImage::renamed"]["urn"]
    first.pulumi("up", "--yes", "--skip-preview", "--color=never", "--replace", urn)
    assert there(reference)
    assert first.preview_steps() == {}
    rename(first, "renamed", "again", options='\n    pulumi.ResourceOptions(aliases=[pulumi.Alias(name="renamed")]),')
    first.up()
    assert first.refresh().status == 0
    assert first.preview_steps() == {}
    second = image_project(new_project, registry, name="there", delete=True)
    second.up()
    assert second.outputs()["reference"] == reference
    assert "uses it" in first.destroy().text
    assert there(reference)
    second.destroy()
    assert not there(reference)
    assert {tag for tag in Registry().reader(parse_reference(reference)).tags() if "owner" in tag} == set()


def test_the_image_that_runs_stays_when_its_resource_is_tainted_kept_or_left_out(
    new_project: Make, registry: RealRegistry
) -> None:
    """With delete_images: a taint, another parent, `--target`, `protect`, `retain_on_delete`: the image
    is in the registry after each, and no preview has anything left to do where nothing is asked for.
    """
    project = image_project(new_project, registry, name="here", delete=True)
    project.up()
    reference = project.outputs()["reference"]
    image = "pulumi-python:dynamic/scone:ConfidentialImage"

    def settled() -> None:
        assert there(reference)
        assert project.preview_steps() == {}

    state = project.state()
    (found,) = [one for one in state["deployment"]["resources"] if one["urn"].endswith(f"{image}::api")]
    found["taint"] = True
    project.pulumi("stack", "import", stdin=json.dumps(state))
    assert "1 replaced" in project.up().text
    settled()
    rename(
        project, "api", "api", options='\n    pulumi.ResourceOptions(parent=pulumi.ComponentResource("t:i:G", "g")),'
    )
    project.up()
    settled()
    main = project.folder / "__main__.py"
    main.write_text(main.read_text().replace('"api",\n    {', '"other",\n    {'))
    (urn,) = [
        str(one["urn"]) for one in project.state()["deployment"]["resources"] if one["urn"].endswith(f"{image}::api")
    ]
    project.pulumi("up", "--yes", "--skip-preview", "--target", urn.replace("::api", "::other"), check=False)
    assert there(reference)
    project.up()
    settled()
    main.write_text(main.read_text().replace('"g")),', '"g"), retain_on_delete=True),'))
    project.up()
    main.write_text(main.read_text().replace('"other",\n    {', '"third",\n    {'))
    project.up()
    settled()
    main.write_text(main.read_text().replace("retain_on_delete=True", "protect=True"))
    project.up()
    refused = project.destroy(check=False)
    assert refused.status != 0
    settled()


def test_a_stack_made_before_images_had_owners(new_project: Make, registry: RealRegistry) -> None:
    """Its state is no difference, and destroy leaves the image, which another old stack may use, and says so."""
    project = image_project(new_project, registry, name="here", delete=True)
    project.up()
    reference = project.outputs()["reference"]
    state = project.state()
    for item in state["deployment"]["resources"]:
        for key in ("owner", "owners", "tags"):
            item.get("outputs", {}).pop(key, None)
    project.pulumi("stack", "import", stdin=json.dumps(state))
    assert project.preview_steps() == {}
    said = project.destroy().text
    assert f"{reference} stays: there is no record of who uses it" in said
    assert there(reference)


def test_image_that_vanished_is_pushed_again(new_project: Make, registry: RealRegistry) -> None:
    """Refresh sees that the registry lost the image; the next up brings the same one back."""
    project = image_project(new_project, registry, name="here")
    project.up()
    parsed = parse_reference(project.outputs()["reference"])
    assert parsed.digest is not None
    Registry().target(parsed).delete_manifest(parsed.digest)
    project.refresh()
    assert project.preview_steps()[IMAGE]["op"] == "create"
    project.up()
    assert Registry().target(parsed).has_manifest(parsed.digest)


def test_moved_base_tag_changes_nothing_until_asked(new_project: Make, registry: RealRegistry) -> None:
    """The base is locked by digest: another image under its tag is no change; refresh_base takes it."""
    project = image_project(new_project, registry, name="here")
    project.up()
    other = tiny_image(config={"Env": ["PATH=/usr/bin:/bin", "NEW=1"]})
    target = Registry().target(parse_reference(f"{registry.host}/base:1"))
    for data in other.blobs.values():
        target.upload(bytes_blob(data, media_type="application/octet-stream"))
    target.put_manifest("1", other.manifest, media_type=OCI_MANIFEST)
    assert project.preview_steps() == {}
    main = project.folder / "__main__.py"
    main.write_text(main.read_text().replace('"delete_images"', '"refresh_base": True, "delete_images"'))
    assert "base.digest" in project.preview_steps()[IMAGE]["diff"]
