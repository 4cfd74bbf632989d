"""Composing an image: predicted to the byte, the same everywhere, and without a trace of what is encrypted."""

import io
import itertools
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_provider.errors import ImageError
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.base.locked_base import LockedBase
from scone_provider.image.build.plan import ImagePlan, KeylessPlan, plan_image, plan_without_key
from scone_provider.image.protection.image_keys import derive_keys
from scone_provider.image.protection.measurement import MeasuredEnvironment
from scone_provider.image.protection.seal import ROOT_LABEL, file_label, unseal
from support.tiny_image import IMAGE_KEY, LAUNCHER, TinyImage, base_for, digest_of, service, tiny_image

SECRET_LINE = "print('the line that nobody may see', 48151623)"


@pytest.fixture
def plan(tmp_path: Path, cache: BaseCache) -> Any:
    """Plans a service on a tiny base."""
    folders = itertools.count()

    def plan(
        *, image: TinyImage | None = None, key: bytes = IMAGE_KEY, launcher: bytes = LAUNCHER, **changes: Any
    ) -> Any:
        inputs = service(tmp_path / f"project-{next(folders)}", **changes)
        return plan_image(inputs, base_for(inputs, cache, image), image_key=key, launcher=launcher)

    return plan


def files_of(plan: ImagePlan) -> dict[str, Any]:
    """Everything in our layers: path to content, None for directories, the target in brackets for links."""
    found = {}
    for blob in plan.blobs[:2]:
        with tarfile.open(fileobj=io.BytesIO(b"".join(blob.read()))) as archive:
            for m in archive.getmembers():
                content = archive.extractfile(m) if m.isreg() else None
                found["/" + m.name] = [m.linkname] if m.issym() else content and content.read()
    return found


def test_two_folders_give_one_digest(plan: Callable[..., ImagePlan]) -> None:
    """Nothing of the place enters: the same files elsewhere are the same image."""
    files = {"app.py": "print(1)\n", "lib/x.py": "2\n"}
    assert plan(files=files) == plan(files=files)
    assert plan(files=files).digest == plan(files=files).digest


def test_the_digest_is_that_of_what_would_be_pushed(plan: Callable[..., ImagePlan]) -> None:
    """Manifest, config and layers name each other by the digests of their real bytes."""
    made = plan()
    manifest = json.loads(made.manifest)
    assert made.digest == digest_of(made.manifest)
    assert made.pinned == f"registry.invalid/team/hello@{made.digest}"
    for blob in made.blobs:
        assert digest_of(b"".join(blob.read())) == blob.digest
    launcher, service_layer, config = made.blobs
    assert manifest["config"]["digest"] == config.digest
    assert [entry["digest"] for entry in manifest["layers"]] == [
        *(entry.digest for entry in made.base_layers),
        launcher.digest,
        made.base_protection.digest,
        service_layer.digest,
    ]
    assert json.loads(b"".join(config.read()))["rootfs"]["diff_ids"][-3:] == [
        launcher.digest,
        made.base_protection.digest,
        service_layer.digest,
    ]


def test_the_image_opens_with_the_key_that_the_policy_delivers(plan: Callable[..., ImagePlan]) -> None:
    """With `fspf_key` alone the root opens, names what lies there, and every file comes out as it was."""
    made = plan(files={"app.py": SECRET_LINE, "bin/run": "x"}, injected=("/tls/key",))
    key = bytes.fromhex(derive_keys(IMAGE_KEY, identity="team/hello").fspf_key)
    found = files_of(made)
    root = found["/.scone/service.fspf"]
    assert made.fspf_tag == digest_of(root).removeprefix("sha256:")[:32]
    protection = json.loads(unseal(key, ROOT_LABEL, root))
    assert digest_of(found["/.scone/launcher"]) == f"sha256:{protection['launcher']}"
    assert digest_of(found["/.scone/launcher.json"]) == f"sha256:{protection['configuration']}"
    for path, entry in protection["encrypted"]["/python"]["entries"].items():
        if entry[0] == "f":
            blob = found[f"/.scone/blobs/{entry[4]}"]
            assert digest_of(blob) == f"sha256:{entry[5]}"
            content = unseal(key, file_label(f"/python/{path}", entry[1]), blob)
            assert (digest_of(content), len(content)) == (f"sha256:{entry[3]}", entry[2])
    listed = {path: entry[0] for path, entry in protection["entries"].items()}
    outside = {path for path in found if path != "/.scone" and not path.startswith("/.scone/")}
    assert listed == {"/python": "d", "/tls": "d", "/tls/key": "l"}
    assert outside == set(listed)
    assert len([path for path in found if path.startswith("/.scone/blobs/")]) == 2


def test_nothing_of_the_program_or_the_key_is_in_any_byte(plan: Callable[..., ImagePlan]) -> None:
    """No line of the source, no file name and no key stands in a layer, the config, the manifest or the repr."""
    made = plan(files={"tell_tale_name.py": SECRET_LINE, "hidden_folder/x.py": "y"})
    everything = b"".join(itertools.chain(*(blob.read() for blob in made.blobs))) + made.manifest
    everything += repr(made).replace(repr(made.files), "").replace(repr(made.fingerprints), "").encode()
    keys = derive_keys(IMAGE_KEY, identity="team/hello")
    for planted in (SECRET_LINE, "nobody may see", "tell_tale_name", "hidden_folder"):
        assert planted.encode() not in everything
    for key in (IMAGE_KEY, keys.encryption, keys.nonces, keys.names, keys.fingerprints):
        assert key not in everything
        assert key.hex().encode() not in everything


def test_an_edited_file_changes_the_tag_but_not_the_measurement(plan: Callable[..., ImagePlan]) -> None:
    """Exactly that file's fingerprint changes, and with it tag and digest."""
    one = plan(files={"a.py": "1", "b.py": "2"})
    two = plan(files={"a.py": "1", "b.py": "3"})
    assert one.measurement == two.measurement
    assert one.fspf_tag != two.fspf_tag
    assert one.digest != two.digest
    assert [path for path in one.fingerprints if one.fingerprints[path] != two.fingerprints[path]] == ["/python/b.py"]
    assert one.base_protection == two.base_protection


@pytest.mark.parametrize(
    "change",
    [
        {"environment": MeasuredEnvironment(heap="1G")},
        {"environment": MeasuredEnvironment(stack="8M")},
        {"environment": MeasuredEnvironment(dlopen="1")},
        {"launcher": b"another launcher"},
    ],
    ids=str,
)
def test_what_is_measured_changes_the_measurement(plan: Callable[..., ImagePlan], change: dict[str, Any]) -> None:
    """SCONE_HEAP, SCONE_STACK, SCONE_ALLOW_DLOPEN and the launcher, each by itself."""
    assert plan(**change).measurement != plan().measurement


def test_another_key_or_repository_gives_other_ciphertext(plan: Callable[..., ImagePlan]) -> None:
    """Two images never share an encryption key, even of the same stack; a tag is no part of the identity."""
    one = files_of(plan())
    blobs = {path: content for path, content in one.items() if "/blobs/" in path}
    for other in (plan(key=bytes(32)), plan(to="registry.invalid/team/other:1")):
        assert not blobs.keys() & files_of(other).keys()
        assert not set(blobs.values()) & set(filter(lambda c: isinstance(c, bytes), files_of(other).values()))
    moved = plan(to="elsewhere.invalid/team/hello:2")
    assert moved.fspf_tag == plan().fspf_tag


def test_without_the_key_everything_else_is_known(
    plan: Callable[..., ImagePlan], tmp_path: Path, cache: BaseCache
) -> None:
    """A pull request from outside sees measurement, paths and notes; digest and tag are not even attributes."""
    inputs = service(tmp_path / "project", injected=("/etc/hosts",))
    facts = plan_without_key(inputs, base_for(inputs, cache), launcher=LAUNCHER)
    made = plan(injected=("/etc/hosts",))
    assert isinstance(facts, KeylessPlan)
    assert {name: getattr(facts, name) for name in ("measurement", "encrypted", "files", "notes", "reference")} == {
        name: getattr(made, name) for name in ("measurement", "encrypted", "files", "notes", "reference")
    }
    assert not hasattr(facts, "digest")
    assert "unknown" in facts.reason


def test_the_configuration_starts_the_launcher_and_nothing_of_the_base(plan: Callable[..., ImagePlan]) -> None:
    """Entrypoint, user and labels are ours; the base's command, volumes, health check and dates are gone."""
    base = {
        "Env": ["PATH=/usr/bin"],
        "Cmd": ["sh"],
        "Entrypoint": ["/x"],
        "Volumes": {"/data": {}},
        "Healthcheck": {"Test": ["x"]},
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"a": "b"},
    }
    made = plan(image=tiny_image(config=base))
    config = json.loads(b"".join(made.blobs[2].read()))
    labels = config["config"].pop("Labels")
    assert config["config"] == {
        "Entrypoint": ["/.scone/launcher"],
        "Env": ["PATH=/usr/bin"],
        "ExposedPorts": {"80/tcp": {}},
        "User": "65532:65532",
        "WorkingDir": "/",
    }
    assert config["created"] == "1970-01-01T00:00:00Z"
    assert labels["a"] == "b"
    assert labels["org.pulumi-scone.measurement"] == made.measurement
    assert labels["org.pulumi-scone.fspf-tag"] == made.fspf_tag
    assert {**labels, "a": ""} == {"a": ""} | json.loads(made.manifest)["annotations"]


def test_a_user_of_the_base_stays(plan: Callable[..., ImagePlan]) -> None:
    """A base that chose whom to run as knows why."""
    config = json.loads(b"".join(plan(image=tiny_image(config={"User": "postgres"})).blobs[2].read()))
    assert config["config"]["User"] == "postgres"


def test_the_launcher_is_told_what_to_measure(plan: Callable[..., ImagePlan]) -> None:
    """`launcher.json` names the resolved program, its loader, and the pinned CAS where there is one."""
    assert json.loads(files_of(plan())["/.scone/launcher.json"]) == {
        "version": 1,
        "program": "/usr/bin/python3.11",
        "loader": "/lib64/ld.so",
    }
    assert json.loads(files_of(plan(cas_key="3pin"))["/.scone/launcher.json"])["cas_key"] == "3pin"


def test_layers_of_docker_keep_their_bytes_under_the_name_of_oci(tmp_path: Path, cache: BaseCache) -> None:
    """A mixed manifest is refused by some registries: the digest stays, the type is OCI's."""
    made = tiny_image(compressed=True)
    manifest = json.loads(made.manifest)
    for layer in manifest["layers"]:
        layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    docker = type(made)(manifest=json.dumps(manifest).encode(), blobs=made.blobs)
    inputs = service(tmp_path / "project")
    plan = plan_image(inputs, base_for(inputs, cache, docker), image_key=IMAGE_KEY, launcher=LAUNCHER)
    types = [layer["mediaType"] for layer in json.loads(plan.manifest)["layers"]]
    assert types[0] == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert json.loads(plan.manifest)["layers"][0]["digest"] == manifest["layers"][0]["digest"]


def test_a_file_that_changes_between_plan_and_push_is_caught(tmp_path: Path, cache: BaseCache) -> None:
    """The blobs of a plan are what was planned, or an error; never a mixture."""
    inputs = service(tmp_path / "project")
    made = plan_image(inputs, base_for(inputs, cache), image_key=IMAGE_KEY, launcher=LAUNCHER)
    (tmp_path / "project" / "app.py").write_text("print('olleh')\n")
    with pytest.raises(ImageError, match="changed while the image was built"):
        b"".join(made.blobs[1].read())


def test_an_image_is_not_built_to_a_digest(plan: Callable[..., ImagePlan]) -> None:
    """The digest is what comes out."""
    with pytest.raises(ImageError, match="to a tag, not to a digest"):
        plan(to=f"registry.invalid/a@{digest_of(b'')}")


def test_a_plan_from_remembered_inputs_is_the_same(tmp_path: Path, cache: BaseCache) -> None:
    """The base survives Pulumi's inputs, where integers become floats: the prediction is the same byte for byte."""
    inputs = service(tmp_path / "project")
    base = base_for(inputs, cache)
    text = json.dumps(base.to_dict())
    remembered = LockedBase.from_dict(json.loads(text, parse_int=float))
    options = {"image_key": IMAGE_KEY, "launcher": LAUNCHER}
    assert remembered == base
    assert plan_image(inputs, remembered, **options) == plan_image(inputs, base, **options)


CONTENT = st.dictionaries(
    st.sampled_from(["a.py", "b/c.py", "b/ü.txt"]), st.text(st.characters(codec="utf-8"), max_size=20), min_size=1
)


@given(CONTENT, CONTENT)
def test_equal_files_and_only_those_give_equal_tags(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, str], second: dict[str, str]
) -> None:
    """The tag tells any two sets of files apart."""
    plans = []
    cache_folder = tmp_path_factory.mktemp("cache")
    from scone_provider.image.base.cache import BaseCache

    for files in (first, second):
        inputs = service(tmp_path_factory.mktemp("project"), files=files)
        base = base_for(inputs, BaseCache(cache_folder))
        plans.append(plan_image(inputs, base, image_key=IMAGE_KEY, launcher=LAUNCHER))
    assert (plans[0].fspf_tag == plans[1].fspf_tag) is (first == second)
