"""`ConfidentialImage` as the engine speaks with it: all that is known of an image before anything is pushed."""

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pulumi.runtime.rpc import UNKNOWN

from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.registry.client import Registry
from scone_provider.resources.confidential_image import ConfidentialImageProvider
from support.provider_process import ProviderProcess
from support.real_registry import RealRegistry
from support.tiny_image import TinyImage, tiny_image

Start = Callable[[Mapping[str, str]], ProviderProcess]
Store = Callable[[RealRegistry, str, TinyImage], None]
Inputs = Callable[..., dict[str, Any]]

IMAGE_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
PLANTED = "planted-51d0-source"
COMPUTED = {"base", "files", "fspf_tag", "digest", "reference", "measurement"}


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """Makes the inputs of a service of one file, as the component sends them; changes win."""
    (tmp_path / "app.py").write_text(f"print({PLANTED!r})\n")

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "name": "hello",
            "identity": "team/hello",
            "to": "registry.test/team/hello:1",
            "from": "registry.test/base:1",
            "command": "python3 app.py",
            "folder": str(tmp_path),
            "copy": {"app.py": True},
            "dirs": {"/python": True},
            "injected": {},
            "environment": {"SCONE_HEAP": "64M"},
            "pwd": "/python",
            "preview": True,
        } | changes

    return make


@pytest.fixture
def process(start: Start, base_registry: RealRegistry) -> ProviderProcess:
    """With an image key, and a mirror that has the base."""
    return start({"scone:imageKey": IMAGE_KEY, "scone:registryMirrors": f"registry.test={base_registry.host}"})


@pytest.fixture
def keyless(start: Start, base_registry: RealRegistry) -> ProviderProcess:
    """Without an image key."""
    return start({"scone:registryMirrors": f"registry.test={base_registry.host}"})


@pytest.fixture
def offline(start: Start, closed_port: str) -> ProviderProcess:
    """With an image key; where the registry should be, nobody listens."""
    return start({"scone:imageKey": IMAGE_KEY, "scone:registryMirrors": f"registry.test={closed_port}"})


def check(process: ProviderProcess, news: Mapping[str, Any], olds: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The checked inputs, without failures."""
    found, failures = process.check(ConfidentialImageProvider, news, olds)
    assert failures == []
    return found


def refusal(process: ProviderProcess, news: Mapping[str, Any], olds: Mapping[str, Any] | None = None) -> str:
    """The one failure's text, which is not tied to a property and holds no secret."""
    _, failures = process.check(ConfidentialImageProvider, news, olds)
    ((name, reason),) = failures
    assert name == ""
    assert PLANTED not in reason
    assert IMAGE_KEY not in reason
    assert "Traceback" not in reason
    return reason


def test_all_is_known_and_nothing_in_clear(process: ProviderProcess, inputs: Inputs) -> None:
    """Digest, tag, measurement, base and each file are known before a push; a file is its keyed fingerprint."""
    found = check(process, inputs())
    assert set(found) >= COMPUTED
    assert UNKNOWN not in str(found)
    assert found["reference"] == f"registry.test/team/hello@{found['digest']}"
    assert found["base"]["digest"] == tiny_image().digest
    plain = hashlib.sha256(f"print({PLANTED!r})\n".encode()).hexdigest()
    assert found["files"].keys() == {"/python/app.py"}
    assert found["files"]["/python/app.py"] not in {plain, plain[:16]}


def test_preview_is_consumed_and_changes_nothing(process: ProviderProcess, inputs: Inputs) -> None:
    """`preview` never comes back, and what is known is the same with and without it."""
    first, second = (check(process, inputs(preview=preview)) for preview in (True, False))
    assert "preview" not in first
    assert first == second


@pytest.mark.parametrize(
    ("dirs", "why"), [({}, "whoever may pull the image can read"), ({"/python": True}, "encrypted")]
)
def test_a_private_file_is_told(
    process: ProviderProcess, inputs: Inputs, tmp_path: Path, dirs: dict[str, bool], why: str
) -> None:
    """A file that only its owner may read is none in the image: a preview says so, by its path, once."""
    (tmp_path / "app.py").chmod(0o600)
    before = process.messages()
    found = check(process, inputs(dirs=dirs, where={"copy": "service.yaml:9"}))
    said = process.messages().removeprefix(before)
    (line,) = [line for line in said.splitlines() if "only their owner" in line]
    assert "/python/app.py" in line
    assert "service.yaml:9" in line
    assert why in line
    (tmp_path / "app.py").chmod(0o644)
    after = process.messages()
    assert check(process, inputs(dirs=dirs)) == found
    assert "only their owner" not in process.messages().removeprefix(after)


@pytest.mark.parametrize("key", ["to", "from"])
def test_secret_references(process: ProviderProcess, inputs: Inputs, key: str) -> None:
    """The name of an image cannot be a secret; a base that is one stays one, in what is computed of it, too."""
    wanted = inputs(secret={key: True})
    if key == "to":
        assert "the name of an image cannot be a secret" in refusal(process, wanted)
    else:
        found = check(process, wanted)
        assert "secret" not in found
        assert found["base"].keys() == {"4dabf18193072939515e22adb298388d", "value"}
        assert found["base"]["value"] == check(process, inputs())["base"]


def test_computed_inputs_of_the_user_do_not_count(process: ProviderProcess, inputs: Inputs) -> None:
    """Nobody can bring a digest, a base or a measurement of their own."""
    forged = dict.fromkeys(COMPUTED, "forged")
    assert check(process, inputs(**forged)) == check(process, inputs())


def test_edited_file_keeps_the_measurement(process: ProviderProcess, inputs: Inputs, tmp_path: Path) -> None:
    """Another line of the program is another tag, digest and fingerprint, and the same measurement."""
    before = check(process, inputs())
    (tmp_path / "app.py").write_text("print('other')\n")
    after = check(process, inputs(), before)
    assert {key for key in after if after[key] != before[key]} == {"files", "fspf_tag", "digest", "reference"}


def test_heap_changes_the_measurement(process: ProviderProcess, inputs: Inputs) -> None:
    """SCONE_HEAP enters the measurement, and the label that names it; the files' tag stays."""
    before = check(process, inputs())
    after = check(process, inputs(environment={"SCONE_HEAP": "65M"}), before)
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {"environment", "measurement", "digest", "reference"}


def test_unknown_input_leaves_the_others_known(process: ProviderProcess, inputs: Inputs) -> None:
    """An Output in `to` is unknown itself, with all that is computed; what else was given is shown."""
    found = check(process, inputs(to=UNKNOWN))
    given = {key: value for key, value in inputs(to=UNKNOWN).items() if key != "preview"}
    assert found == given | dict.fromkeys(COMPUTED, UNKNOWN)


def test_preview_without_key(keyless: ProviderProcess, process: ProviderProcess, inputs: Inputs) -> None:
    """A pull request without the image key: fingerprints, tag, digest and reference are unknown, and nothing else."""
    known = check(process, inputs())
    found = check(keyless, inputs())
    hidden = {"files": {"/python/app.py": UNKNOWN}, **dict.fromkeys(("fspf_tag", "digest", "reference"), UNKNOWN)}
    assert found == known | hidden


def test_up_without_key_is_refused(keyless: ProviderProcess, inputs: Inputs) -> None:
    """What is not a preview needs the key, and says how to get one."""
    reason = refusal(keyless, inputs(preview=False))
    assert reason.startswith("scone:imageKey: there is no image key")
    assert "pulumi-scone identity create" in reason


def test_unreachable_base_is_unknown_in_preview(
    offline: ProviderProcess, process: ProviderProcess, inputs: Inputs
) -> None:
    """On the very first preview, without registry and cache: what depends on the base is honestly unknown.

    The fingerprints of the files depend on no base.
    """
    found = check(offline, inputs())
    given = {key: value for key, value in inputs().items() if key != "preview"}
    files = check(process, inputs())["files"]
    assert found == given | dict.fromkeys(COMPUTED, UNKNOWN) | {"files": files}


def test_unreachable_registry_is_waited_for_once(offline: ProviderProcess, inputs: Inputs) -> None:
    """A preview of many images does not pay for one silent registry again with each of them."""
    check(offline, inputs())
    started = time.monotonic()
    for number in range(5):
        assert check(offline, inputs(name=f"other{number}"))["digest"] == UNKNOWN
    assert time.monotonic() - started < 2


def test_unbuilt_native_image_leaves_the_rest_known(process: ProviderProcess, inputs: Inputs) -> None:
    """Where only `from` is unknown, because a builder has yet to make it, the files' fingerprints are shown."""
    found = check(process, inputs(**{"from": UNKNOWN}))
    assert {key for key in found if found[key] == UNKNOWN} == (COMPUTED - {"files"}) | {"from"}
    assert found["files"] == check(process, inputs())["files"]


def test_lines_of_the_manifest_are_told_and_forgotten(process: ProviderProcess, inputs: Inputs) -> None:
    """A missing file is an error at its line; the line's number is no input that could differ."""
    where = {"copy gone.py": "service.yaml:21: build.copy[0]"}
    assert refusal(process, inputs(copy={"gone.py": True}, where=where)).startswith("service.yaml:21: build.copy[0]: ")
    assert check(process, inputs(where=where)) == check(process, inputs())


def test_unreachable_base_is_refused_on_up(offline: ProviderProcess, inputs: Inputs) -> None:
    """Outside of a preview it is a failure that names the registry."""
    assert "127.0.0.1:" in refusal(offline, inputs(preview=False))


def test_locked_base_needs_no_registry(process: ProviderProcess, offline: ProviderProcess, inputs: Inputs) -> None:
    """With the base locked in the old inputs nobody is asked: without registry and cache the same comes out."""
    locked = check(process, inputs())
    assert check(offline, inputs(), locked) == locked
    assert check(offline, inputs(preview=False), locked) == locked


def test_refresh_base_asks_again(
    start: Start, base_registry: RealRegistry, store: Store, inputs: Inputs, closed_port: str
) -> None:
    """A tag that moved changes nothing until `refresh_base`; then its new digest is locked."""
    wanted = inputs(**{"from": "registry.test/moving:1"})
    process = start({"scone:imageKey": IMAGE_KEY, "scone:registryMirrors": f"registry.test={base_registry.host}"})
    store(base_registry, "moving:1", tiny_image())
    locked = check(process, wanted)
    other = tiny_image(config={"Env": ["PATH=/usr/bin", "MOVED=1"]})
    store(base_registry, "moving:1", other)
    assert check(process, wanted, locked) == locked
    refreshed = check(process, {**wanted, "refresh_base": True}, locked)
    assert refreshed["base"]["digest"] == other.digest
    assert refreshed["digest"] != locked["digest"]
    silent = start({"scone:imageKey": IMAGE_KEY, "scone:registryMirrors": f"registry.test={closed_port}"})
    assert check(silent, {**wanted, "refresh_base": True}, locked)["base"] == UNKNOWN


def test_another_base_is_not_the_locked_one(offline: ProviderProcess, process: ProviderProcess, inputs: Inputs) -> None:
    """A lock holds for the reference that it was made for, and for no other."""
    locked = check(process, inputs())
    assert check(offline, inputs(**{"from": "registry.test/base:2"}), locked)["base"] == UNKNOWN


def test_missing_file_and_base_are_refused(process: ProviderProcess, inputs: Inputs) -> None:
    """In a preview too, what cannot be built is said: by its name, with what to do."""
    missing = refusal(process, inputs(copy={"gone.py": True}))
    assert "'gone.py' does not exist" in missing
    assert "build.copy" in missing
    base = refusal(process, inputs(**{"from": "registry.test/nowhere:1"}))
    assert "registry.test/nowhere:1 does not exist" in base
    assert "→" in base


def test_program_that_the_base_lacks_is_refused(process: ProviderProcess, inputs: Inputs) -> None:
    """The command must start a program of the base."""
    assert "ruby" in refusal(process, inputs(command="ruby app.rb"))


def test_create_refuses_other_files_than_were_checked(
    process: ProviderProcess, inputs: Inputs, tmp_path: Path, base_registry: RealRegistry
) -> None:
    """A file that changed between plan and push stops the push: nothing is in the registry."""
    target = f"{base_registry.host}/team/changed:1"
    planned = check(process, inputs(to=target, preview=False))
    (tmp_path / "app.py").write_text("print('changed')\n")
    with pytest.raises(Exception, match="the files changed since this deployment was planned; nothing was pushed"):
        process.create(ConfidentialImageProvider, planned)
    assert Registry().target(parse_reference(target)).manifest("1") is None


def test_only_another_identity_replaces(process: ProviderProcess, inputs: Inputs) -> None:
    """The repository path is what an image is; everything else is the next version of it."""
    old = check(process, inputs())
    for change, replaces in (
        ({"identity": "team/other"}, ["identity"]),
        ({"to": "registry.test/team/hello:2"}, []),
        ({"command": "python3 app.py --verbose"}, []),
    ):
        new = check(process, inputs(**change), old)
        assert list(process.diff(ConfidentialImageProvider, "id", old, new).replaces) == replaces


def test_signed_image(process: ProviderProcess, inputs: Inputs, base_registry: RealRegistry, tmp_path: Path) -> None:
    """The public key is known in preview; the signature is pushed beside the image, and another key is an update."""
    target = f"{base_registry.host}/team/signed:1"
    planned = check(process, inputs(to=target, signature={"sign": True}))
    assert planned["signature"]["public_key"].startswith("-----BEGIN PUBLIC KEY-----")
    assert planned["digest"] == check(process, inputs(to=target))["digest"]
    _, outputs = process.create(ConfidentialImageProvider, planned)
    tag = f"{planned['digest'].replace(':', '-')}.sig"
    repository = Registry().target(parse_reference(target))
    first = repository.manifest(tag)
    assert first is not None
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "sign.pem").write_bytes(pem)
    other = check(process, inputs(to=target, signature={"sign": True, "key": "sign.pem"}), planned)
    assert {key for key in other if other[key] != planned[key]} == {"signature"}
    assert pem.decode().splitlines()[1] not in str(other)
    process.update(ConfidentialImageProvider, "id", outputs, other)
    second = repository.manifest(tag)
    assert second is not None
    assert second.digest != first.digest


def test_signing_key_stays_out_of_the_image(process: ProviderProcess, inputs: Inputs, tmp_path: Path) -> None:
    """A key file that `copy` would bring into the image is refused, before its content is looked at."""
    (tmp_path / "sign.pem").write_text(PLANTED)
    reason = refusal(process, inputs(copy={"sign.pem": True}, signature={"sign": True, "key": "sign.pem"}))
    assert "would be copied into the image" in reason


def test_signing_without_any_key_is_unknown_in_preview(keyless: ProviderProcess, inputs: Inputs) -> None:
    """A pull request without the image key: the public key is unknown, nothing is made up."""
    assert check(keyless, inputs(signature={"sign": True}))["signature"] == {"sign": True, "public_key": UNKNOWN}


def test_wrapped_image(process: ProviderProcess, inputs: Inputs) -> None:
    """`sconify_image` needs no files and no `pwd`; the base's program is measured as Python's is."""
    wanted = inputs(kind="sconify_image", copy={}, dirs={}, command="/usr/bin/python3 -V")
    del wanted["pwd"]
    found = check(process, wanted)
    assert found["files"] == {}
    assert found["measurement"] == check(process, inputs())["measurement"]


def test_what_is_not_protected_is_said_in_preview(
    base_registry: RealRegistry,
    inputs: Inputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A path that nobody verifies is told to whoever reads the preview, once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PULUMI_SCONE_REGISTRY_MIRRORS", raising=False)  # the stack's own would win
    config = {"scone:imageKey": IMAGE_KEY, "scone:registryMirrors": f"registry.test={base_registry.host}"}
    provider = ConfidentialImageProvider()
    provider.configure(SimpleNamespace(config=config))  # type: ignore[arg-type]
    wanted = inputs(plain_files={"/usr/bin/tool": True})
    assert provider.check({}, wanted).failures == []
    assert "hello: plain_files: nobody notices when /usr/bin/tool is changed" in capsys.readouterr().out
    assert provider.check({}, {**wanted, "preview": False}).failures == []
    assert "nobody notices" not in capsys.readouterr().out


@pytest.mark.parametrize("first", [0, 1])
def test_an_image_goes_with_its_last_resource(
    process: ProviderProcess, inputs: Inputs, base_registry: RealRegistry, store: Store, first: int
) -> None:
    """Two resources of one digest, one of them created and updated: the one that goes first leaves it, the last one
    removes it, with the image of its native stage; nothing of who owns it is an input.
    """
    place = f"{base_registry.host}/team/owned{first}"
    store(base_registry, f"team/owned{first}:native-1", tiny_image())
    native = f"{place}:native-1@{tiny_image().digest}"
    wanted = inputs(to=f"{place}:1", native_stage=True, delete_images=True, **{"from": native})
    planned = check(process, wanted)
    states = [process.create(ConfidentialImageProvider, planned) for _ in range(2)]
    assert states[0][1]["owner"] != states[1][1]["owner"]
    later = check(process, wanted | {"to": f"{place}:2"}, planned)
    states[1] = (states[1][0], process.update(ConfidentialImageProvider, *states[1], later))
    repository = Registry().reader(parse_reference(f"{place}:1"))
    assert process.read(ConfidentialImageProvider, *states[0])[2].keys() == planned.keys()
    process.delete(ConfidentialImageProvider, *states[first])
    assert repository.has_manifest(str(planned["digest"]))
    assert repository.has_manifest(tiny_image().digest)
    process.delete(ConfidentialImageProvider, *states[1 - first])
    assert repository.tags() == frozenset()
    assert not repository.has_manifest(str(planned["digest"]))
    assert not repository.has_manifest(tiny_image().digest)


def test_another_digest_than_the_one_demanded(process: ProviderProcess, inputs: Inputs) -> None:
    """A preview already refuses to build another image than the one that the Meshfile names by digest."""
    known = check(process, inputs())
    places = {"demanded": "mesh.yaml:9: services.api.image"}
    assert check(process, inputs(demanded=known["digest"], where=places))["reference"] == known["reference"]
    text = refusal(process, inputs(demanded=f"sha256:{'12' * 32}", where=places))
    assert text.startswith("mesh.yaml:9: services.api.image: the Meshfile demands sha256:1212")
    assert f"what is built is {known['digest']}" in text
