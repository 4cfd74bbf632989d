"""Wrong input through the real CLI: each mistake ends in words with a place and a way out, and nothing is half done."""

import datetime as dt
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.conftest import IMAGE_KEY, PULUMI_YAML, free_ports
from scone_provider.cas.identity import Identity
from scone_provider.image.oci.layers import bytes_blob
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import OCI_MANIFEST
from support.embedded_cas import EmbeddedCas
from support.pulumi_project import PulumiProject, Run
from support.real_registry import RealRegistry
from support.tiny_image import tiny_image

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello-python"
PLANTED = "planted-b7d1-secret"
FILES = ("mesh.yaml", "service.yaml", "print_env.py", "__main__.py")
SERVICE = "session=myPythonApp/pythonapp"


@pytest.fixture(scope="module")
def cas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCas]:
    """One CAS for all mistakes: its log shows at the end that none of them uploaded the service's policy."""
    port, enclave_port = free_ports(2)
    server = EmbeddedCas(tmp_path_factory.mktemp("cas") / "cas", host="127.0.0.1", port=port, enclave_port=enclave_port)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A registry with a base image in the place of the example's."""
    server = RealRegistry(tmp_path_factory.mktemp("registry"))
    image = tiny_image()
    target = Registry().target(parse_reference(f"{server.host}/base:1"))
    for data in image.blobs.values():
        target.upload(bytes_blob(data, media_type="application/octet-stream"))
    target.put_manifest("1", image.manifest, media_type=OCI_MANIFEST)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def project(
    cli_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    cas: EmbeddedCas,
    registry: RealRegistry,
) -> PulumiProject:
    """The example with a small base and an explicit secret, as nobody has broken it yet."""
    folder = tmp_path_factory.mktemp("bad-input") / "project"
    folder.mkdir()
    for name in FILES:
        shutil.copy(EXAMPLE / name, folder)
    (folder / "Pulumi.yaml").write_text(PULUMI_YAML.format(called="engine-test"))
    manifest = (folder / "service.yaml").read_text()
    manifest = manifest.replace("size: 10", f"value: {PLANTED}").replace(
        "  kind: python\n", "  kind: python\n  from: $APP_IMAGE_REPO/base:1\n"
    )
    (folder / "service.yaml").write_text(manifest)
    made = PulumiProject(folder, environment={**cli_environment, "KUBECONFIG": str(folder / "no-kubeconfig")})
    config = {
        "pulumi-scone:casUrl": f"127.0.0.1:{cas.port}",
        "pulumi-scone:imageRepo": registry.host,
        "pulumi-scone:kubernetesNamespace": "default",
    }
    identity = Identity.create(common_name="bad-input", now=dt.datetime.now(dt.UTC)).to_pem()
    made.init(config, {"scone:imageKey": IMAGE_KEY, "scone:identity": identity})
    return made


@contextmanager
def broken(project: PulumiProject, file: str, old: str, new: str) -> Iterator[None]:
    """The project with one edit."""
    path = project.folder / file
    content = path.read_text()
    assert content.count(old) == 1, (file, old)
    path.write_text(content.replace(old, new))
    try:
        yield
    finally:
        path.write_text(content)


def safely(done: Run) -> Run:
    """A run that shows neither a traceback nor the secret."""
    assert "Traceback" not in done.text
    assert PLANTED not in done.text
    return done


def numbered(text: str, content: str) -> str:
    """`<token>` in `text` replaced by the number of the line of `content` that has the token."""
    match = re.search("<(.+)>", text)
    if match is None:
        return text
    (line,) = [number for number, line in enumerate(content.splitlines(), 1) if match[1] in line]
    return text.replace(match[0], str(line))


MISTAKES = {
    "unknown key": (
        ("service.yaml", "  kind: python\n", "  kind: python\n  colour: red\n"),
        ("service.yaml:<colour>: build.colour: unknown key",),
    ),
    "wrong type": (
        ("service.yaml", f"value: {PLANTED}", f"value: [{PLANTED}]"),
        ("service.yaml:<value: [>: secrets.local.password.value: must be text",),
    ),
    "missing global variable": (
        ("mesh.yaml", "      - name: API_USER\n        value: myself\n", ""),
        ("service.yaml:<- name: API_USER>: environment.global.API_USER: ", "→", "Meshfile"),
    ),
    "missing variable": (
        ("service.yaml", "$APP_IMAGE_REPO/base:1", "$BASES/base:1"),
        ("service.yaml:<$BASES>: build.from: the variable $BASES has no value", '→ Give it: variables={"BASES": …}'),
    ),
    "placeholder without secret": (
        ("service.yaml", "$$SCONE::password$$", "$$SCONE::pasword$$"),
        ("service.yaml:<- name: API_PASSWORD>: environment.local.API_PASSWORD: ", "pasword", "→ Define it"),
    ),
    "copy of a missing file": (
        ("service.yaml", "    - print_env.py", "    - gone.py"),
        ("service.yaml:<gone.py>: build.copy[0]: 'gone.py' does not exist", "→ paths of `copy` are relative to"),
    ),
    "missing manifest": (
        ("__main__.py", '"service.yaml"', '"services.yaml"'),
        ("services.yaml: the file cannot be read", "→ paths are relative to the folder of the Pulumi program"),
    ),
    "no YAML": (("mesh.yaml", "kind: mesh", "kind: [mesh"), ("mesh.yaml:", "YAML")),
}
"""Name → (file, old text, new text), (what is said; `<text>` is the number of the line with that text)."""


@pytest.mark.parametrize(("edit", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_said_in_preview(project: PulumiProject, edit: tuple[str, str, str], said: tuple[str, ...]) -> None:
    """A mistake in a manifest or its surroundings fails the preview, with its place, what is wrong and what to do."""
    with broken(project, *edit):
        done = safely(project.preview(check=False))
        expected = [numbered(text, (project.folder / "service.yaml").read_text()) for text in said]
    assert done.status != 0
    for text in expected:
        assert text in done.text


def test_registry_that_is_down(project: PulumiProject, cas: EmbeddedCas, tmp_path: Path) -> None:
    """The first preview shows what it can, and says why the rest is unknown; up is refused, and nothing goes to CAS."""
    (port,) = free_ports(1)
    never_seen = {"HOME": str(tmp_path)}  # the cache of bases is there
    with broken(project, "service.yaml", "$APP_IMAGE_REPO/base:1", f"127.0.0.1:{port}/base:1"):
        shown = safely(project.preview(environment=never_seen))
        done = safely(project.up(check=False, environment=never_seen))
    assert f"warning: 127.0.0.1:{port}/base:1: what depends on this base is unknown" in shown.text
    assert 'command    : "python3 print_env.py"' in shown.text
    assert "mrenclave: [unknown]" in shown.text
    assert done.status != 0
    assert f"127.0.0.1:{port}" in done.text
    assert "→" in done.text
    assert SERVICE not in cas.log.read_text()


def test_no_image_key_on_up(project: PulumiProject, cas: EmbeddedCas, registry: RealRegistry) -> None:
    """Up without the image key says how to make one; no image was pushed and no policy uploaded for the service."""
    project.pulumi("config", "rm", "scone:imageKey")
    try:
        done = safely(project.up(check=False))
    finally:
        project.pulumi("config", "set", "--secret", "scone:imageKey", stdin=IMAGE_KEY)
    assert done.status != 0
    assert "scone:imageKey: there is no image key" in done.text
    assert "→ run `pulumi-scone identity create`" in done.text
    assert SERVICE not in cas.log.read_text()
    assert b"python_hello_user" not in registry.blobs()


def test_no_identity_on_up(project: PulumiProject, cas: EmbeddedCas) -> None:
    """Up without an identity says how to make one, and uploads nothing: none is made silently."""
    identity = project.pulumi("config", "get", "scone:identity").text
    del project.transcripts[-1]
    project.pulumi("config", "rm", "scone:identity")
    before = cas.log.read_text().count("session-stored")
    try:
        # Without the image: what is under test is the policy of the namespace.
        with broken(project, "mesh.yaml", "namespace: myPythonApp", "namespace: anotherNamespace"):
            done = safely(project.up(check=False))
    finally:
        project.pulumi("config", "set", "--secret", "scone:identity", stdin=identity)
    assert done.status != 0
    assert "scone:identity: there is no identity" in done.text
    assert "→ run `pulumi-scone identity create`" in done.text
    assert cas.log.read_text().count("session-stored") == before


def test_no_mistake_left_the_secret_anywhere(project: PulumiProject, cas: EmbeddedCas) -> None:
    """The secret of the manifest is in no transcript, state or log in clear, even where its own definition is wrong."""
    with broken(project, "service.yaml", f"value: {PLANTED}", f"value: {PLANTED}\n      colour: red"):
        assert "secrets.local.password.colour: unknown key" in project.preview(check=False).text
    assert PLANTED.encode() not in project.everything_written()
    assert PLANTED not in cas.log.read_text()
