"""`ConfidentialImage` alone, through the real engine and a real registry."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scone_provider.image.oci.layers import bytes_blob
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import OCI_MANIFEST
from support.interrupted_up import HANGING, edit_state, killed_when_hanging, with_other_pickles
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
    store_base(server)
    yield server
    server.kill()


def store_base(server: RealRegistry) -> None:
    """Give a registry the base image."""
    image = tiny_image()
    target = Registry().target(parse_reference(f"{server.host}/base:1"))
    for data in image.blobs.values():
        target.upload(bytes_blob(data, media_type="application/octet-stream"))
    target.put_manifest("1", image.manifest, media_type=OCI_MANIFEST)


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


def login(folder: Path, host: str, user: str) -> str:
    """Only this user may use the registry, and docker's configuration has the login; the registry's `auth`."""
    # bcrypt of the password below, as `htpasswd -nbB` wrote it.
    (folder / "htpasswd").write_text(f"{user}:$2y$05$M4pcyBwfiiGq87n/MALjEelfiwCwF61o9Y1ROFQzzyhQQFttAFA5m\n")
    auth = base64.b64encode(f"{user}:pa55-word-of-the-test".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}"


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealRegistry]:
    """A registry with a base image that wants a login, which DOCKER_CONFIG has."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    server = RealRegistry(tmp_path / "registry", auth=login(tmp_path, "", "robot"))
    login(tmp_path, server.host, "robot")
    store_base(server)
    yield server
    server.kill()


ANOTHER_PROVIDER = """pulumi.ResourceOptions(providers={"pulumi-python": pulumi.ProviderResource(
    "pulumi-python", "p", {"scone:imageKey": pulumi.Config("scone").require_secret("imageKey")})}),"""


class MovedImage:
    """A stack with one image that goes with its last owner, after each step looked at."""

    def __init__(self, project: PulumiProject) -> None:
        self.project = project
        project.up()
        self.reference: str = project.outputs()["reference"]

    def urns(self, name: str) -> list[str]:
        """Of the component and its image, the image last."""
        found = [str(one["urn"]) for one in self.project.state()["deployment"]["resources"]]
        return sorted((urn for urn in found if urn.endswith(f"ConfidentialImage::{name}")), key=len)

    def assert_settled(self) -> None:
        """The image is there, refresh finds it, and a preview has nothing to do, and nothing to tell."""
        assert there(self.reference)
        text = self.project.pulumi("preview", "--refresh", "--diff", "--color=never").text
        for word in ("to create", "to update", "to delete", "to replace", "warning", "error"):
            assert word not in text, text

    def killed(self, *arguments: str) -> None:
        """An `up` of the program as it is, killed when the image is made and the old one not yet gone; then a whole."""
        main = self.project.folder / "__main__.py"
        text = main.read_text()
        main.write_text(f"{text}\nfound = image\n{HANGING}")
        killed_when_hanging(self.project, *arguments)
        assert there(self.reference)
        main.write_text(text)
        self.project.up()
        self.assert_settled()

    def moved(self, urns: list[str]) -> PulumiProject:
        """All of it in another stack of the project, which the same program is then of."""
        project = self.project
        project.pulumi("stack", "init", "second")
        project.pulumi("state", "move", "--source", "dev", "--dest", "second", "--yes", *urns)
        key = project.run("pulumi", "config", "get", "scone:imageKey")
        del project.transcripts[-1]
        settings = {
            name: project.run("pulumi", "config", "get", name).strip() for name in ("test:registry", "test:delete")
        }
        main = project.folder / "__main__.py"
        text = main.read_text()
        main.write_text("")
        project.up()
        main.write_text(text)
        project.environment["PULUMI_STACK"] = "second"
        project.pulumi("config", "set", "--secret", "scone:imageKey", stdin=key)
        for name, value in settings.items():
            project.pulumi("config", "set", name, value)
        return project


def test_the_image_that_runs_stays_with_another_provider_login_process_and_stack(
    new_project: Make, guarded: RealRegistry, tmp_path: Path
) -> None:
    """With delete_images: a provider in other bytes, another login, another provider; `up` killed between create and
    delete, of another name and of a replacement; `state rename`, `state move`, a creation that the state lost. It goes
    with its last owner, or stays and is named where one of them is known to nobody.
    """
    project = image_project(new_project, guarded, name="here", delete=True)
    project.environment["DOCKER_CONFIG"] = str(tmp_path)
    image = MovedImage(project)
    edit_state(project, with_other_pickles)
    login(tmp_path, guarded.host, "another-robot")
    assert list(project.preview_steps()) == [IMAGE]
    project.up()
    image.assert_settled()
    rename(project, "api", "api", options=f"\n    {ANOTHER_PROVIDER}")
    project.up()
    assert project.resources()[IMAGE]["provider"].split("::")[-2] == "p"
    image.assert_settled()
    rename(project, "api", "two")
    image.killed()
    image.killed("--replace", image.urns("two")[-1])
    for urn in image.urns("two"):
        project.pulumi("state", "rename", urn, "three", "--yes")
    rename(project, "two", "three")
    image.assert_settled()
    main = project.folder / "__main__.py"
    main.write_text(main.read_text().replace(ANOTHER_PROVIDER, ""))
    project.up()
    image.moved(image.urns("three"))
    image.assert_settled()
    project.destroy()
    assert not there(image.reference)
    project.up()
    project.pulumi("state", "delete", image.urns("three")[-1], "--yes")
    project.up()
    image.assert_settled()
    assert "stays: another resource, of this stack or of another, uses it" in project.destroy().text
    assert there(image.reference)


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
