"""`examples/native-image`: what docker-build made of a folder answers as a confidential service."""

from collections.abc import Callable

import httpx
import pytest
from tools.devstack.paths import REGISTRY

from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.publish.cosign import signature_tag
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.connection import RegistryOptions
from support.mesh import MeshProject

NATIVE = "docker-build:index:Image::native"
IMAGE = "pulumi-python:dynamic/scone:ConfidentialImage::greetings-greeter"
POLICY = "pulumi-python:dynamic/scone:SecurityPolicy::greetings-greeter"
WHOLE = "from a wrapped image"


@pytest.fixture(scope="module")
def greetings(new_mesh: Callable[..., MeshProject]) -> MeshProject:
    """The example, deployed after a preview in which nothing was built yet."""
    project = new_mesh(example="native-image")
    steps = project.preview_steps()
    assert {steps[one]["op"] for one in (NATIVE, IMAGE, POLICY)} == {"create"}
    project.up()
    return project


def greeting(project: MeshProject, name: str) -> tuple[str, str]:
    """What the newest pod says, and its authentication code."""
    project.kube("rollout", "status", f"deployment/{project.workload()}", "--timeout=60s")
    (pod,) = [item for item in project.get("pods") if item["metadata"]["name"] == project.newest_pod()]
    text, code = httpx.get(f"http://{pod['status']['podIP']}:8080/{name}", timeout=10, trust_env=False).text.split(
        "\n"
    )[:2]
    return text, code


def test_wrapped_image_serves(greetings: MeshProject) -> None:
    """The service answers with a key that CAS made for it, which stands nowhere else, and nothing is left to do."""
    text, code = greeting(greetings, "ann")
    assert text == f"hello ann, {WHOLE}"
    assert len(code) == 64
    assert greeting(greetings, "ann") == (text, code)
    assert greeting(greetings, "bob")[1] != code
    assert greetings.preview_steps() == {}


def test_its_image_is_signed(greetings: MeshProject) -> None:
    """`signature: sign: true` also holds for what the program handed in."""
    reference = parse_reference(greetings.outputs()["images"]["greeter"])
    registry = Registry(RegistryOptions(insecure_registries=frozenset({REGISTRY})))
    assert registry.target(reference).manifest(signature_tag(str(reference.digest))) is not None


def test_edit_of_the_native_image_reaches_the_pod(greetings: MeshProject) -> None:
    """Another `greet.py`: another native image, another tag of the file system in the policy, the same key."""
    code = greeting(greetings, "ann")[1]
    greetings.edit("app/greet.py", WHOLE, "from a wrapped and changed image")
    steps = greetings.preview_steps()
    assert {steps[one]["op"] for one in (NATIVE, IMAGE, POLICY)} == {"update"}
    greetings.up()
    assert greeting(greetings, "ann")[0] == "hello ann, from a wrapped and changed image"
    assert greeting(greetings, "ann")[1] != code
    greetings.edit("app/greet.py", "from a wrapped and changed image", WHOLE)
    greetings.up()
    assert greeting(greetings, "ann") == (f"hello ann, {WHOLE}", code)
