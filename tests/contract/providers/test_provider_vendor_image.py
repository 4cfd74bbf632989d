"""`VendorImage` as the engine speaks with it: sources looked at in check, the builder asked on create alone."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.rpc import UNKNOWN

from scone_provider.errors import ImageError
from scone_provider.policy.state import fspf_key
from scone_provider.resources.vendor_image import VendorImageProvider
from support import fake_builder
from support.provider_process import ProviderProcess

Start = Callable[[Mapping[str, str]], ProviderProcess]
IMAGE_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
KEY = "5f" * 32
PLANTED = "planted-java-3b"
REFERENCE = "registry.test/team/api@sha256:" + "ab" * 32


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    """Inputs as the component sends them, with a builder that answers."""
    (tmp_path / "App.java").write_text(PLANTED)
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    answer = {"image": REFERENCE, "mrenclave": "cd" * 32, "fspf_tag": "ef" * 16, "fspf_key": {"file": str(key)}}
    settings = tmp_path / "behaviour.json"
    settings.write_text(json.dumps({"record": str(tmp_path / "record"), "build": {"answer": answer}}))
    return {
        "name": "api",
        "identity": "team/api",
        "to": "registry.test/team/api:1",
        "manifest": {"build": {"kind": "java17"}},
        "folder": str(tmp_path),
        "copy": {"App.java": True},
        "builder": {"0": sys.executable, "1": fake_builder.__file__, "2": str(settings)},
        "where": {"copy gone": "service.yaml:9: build.copy[0]"},
    }


@pytest.fixture
def process(start: Start) -> ProviderProcess:
    """With an image key."""
    return start({"scone:imageKey": IMAGE_KEY})


def check(process: ProviderProcess, news: Mapping[str, Any]) -> dict[str, Any]:
    """The checked inputs, without failures."""
    found, failures = process.check(VendorImageProvider, news)
    assert failures == []
    return found


def test_check_looks_at_the_sources_and_asks_nobody(
    process: ProviderProcess, inputs: dict[str, Any], tmp_path: Path
) -> None:
    """A changed source is a changed keyed fingerprint; the builder does not run in a preview."""
    before = check(process, inputs)
    (tmp_path / "App.java").write_text("another")
    after = check(process, inputs)
    assert {key for key in after if after[key] != before[key]} == {"files"}
    assert not (tmp_path / "record").exists()
    assert "where" not in after


def test_without_a_key_fingerprints_are_unknown(start: Start, inputs: dict[str, Any]) -> None:
    """A pull request from outside shows which files there are, and no hash that could be guessed against."""
    assert check(start({}), inputs)["files"] == {"/App.java": UNKNOWN}


def test_create_builds_and_seals_the_key(process: ProviderProcess, inputs: dict[str, Any]) -> None:
    """What the builder made is the output; its key is there only sealed, and opens under the image key alone."""
    id_, outputs = process.create(VendorImageProvider, check(process, inputs))
    assert id_ == outputs["reference"] == REFERENCE
    assert (outputs["measurement"], outputs["fspf_tag"]) == ("cd" * 32, "ef" * 16)
    assert outputs["pushed"] == {REFERENCE: True}
    assert KEY not in str(outputs)
    assert PLANTED not in str(outputs)
    identity = outputs["key"].removeprefix("derived: ")
    assert fspf_key(bytes(range(32)), identity) == KEY
    with pytest.raises(ImageError, match="sealed under another image key"):
        fspf_key(b"x" * 32, identity)


def test_mistakes_are_failures_of_check(process: ProviderProcess, inputs: dict[str, Any]) -> None:
    """A missing file with its line, and a builder that is none."""
    _, failures = process.check(VendorImageProvider, {**inputs, "copy": {"gone": True}})
    assert failures[0][1].startswith("service.yaml:9: build.copy[0]: 'gone' does not exist")
    _, failures = process.check(VendorImageProvider, {**inputs, "builder": {}})
    assert "this is no command" in failures[0][1]


def test_requirements_and_signing_key_are_sources(
    process: ProviderProcess, inputs: dict[str, Any], tmp_path: Path
) -> None:
    """What requirements include, and another signing key, are differences; the builder is told where all of it is."""
    (tmp_path / "requirements.txt").write_text("-r more/base.txt\nflask==3.1.0\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("requests==2.32.0\n")
    (tmp_path / "sign.pem").write_text(PLANTED)
    asked = {**inputs, "requirements": "requirements.txt", "signature": {"sign": True, "key": "sign.pem"}}
    before = check(process, asked)
    assert set(before["files"]) == {"/App.java", "requirements.txt", "more/base.txt", "sign.pem"}
    for file, text in (("more/base.txt", "requests==2.32.5\n"), ("sign.pem", "another")):
        (tmp_path / file).write_text(text)
        after = check(process, asked)
        assert {path for path in after["files"] if after["files"][path] != before["files"][path]} == {file}
        before = after
    process.create(VendorImageProvider, before)
    (told,) = [json.loads(line)["request"] for line in (tmp_path / "record").read_text().splitlines()]
    assert told["requirements"] == ["requirements.txt", "more/base.txt"]
    assert told["signing_key"] == {"file": str(tmp_path / "sign.pem")}
    assert PLANTED not in str(before)


def test_signing_key_stays_outside(process: ProviderProcess, inputs: dict[str, Any], tmp_path: Path) -> None:
    """A key that `copy` takes along, or that is not there, is a failure with its line."""
    (tmp_path / "sign.pem").write_text(PLANTED)
    places = {"signature": "service.yaml:12: build.signature"}
    for key, copy, words in (("sign.pem", "sign.pem", "would be copied"), ("gone.pem", "App.java", "cannot be read")):
        news = {**inputs, "copy": {copy: True}, "signature": {"sign": True, "key": key}, "where": places}
        _, failures = process.check(VendorImageProvider, news)
        assert failures[0][1].startswith("service.yaml:12: build.signature: ")
        assert words in failures[0][1]


def test_files_that_change_between_plan_and_build(
    process: ProviderProcess, inputs: dict[str, Any], tmp_path: Path
) -> None:
    """Nobody approved what is built of other files than `check` saw: the builder is not asked."""
    planned = check(process, inputs)
    (tmp_path / "App.java").write_text("slipped in")
    with pytest.raises(Exception, match="the files changed since this deployment was planned"):
        process.create(VendorImageProvider, planned)
    assert not (tmp_path / "record").exists()


def test_another_digest_than_the_one_demanded(process: ProviderProcess, inputs: dict[str, Any]) -> None:
    """What the Meshfile demands by digest is what is deployed, or nothing is."""
    right = REFERENCE.rpartition("@")[2]
    process.create(VendorImageProvider, check(process, {**inputs, "demanded": right}))
    wrong = check(process, {**inputs, "demanded": f"sha256:{'12' * 32}"})
    with pytest.raises(Exception, match=f"api: image: the Meshfile demands sha256:(12)+, and what is built is {right}"):
        process.create(VendorImageProvider, wrong)
