"""The contract with a builder of another toolchain: a real program, asked and answered, and never believed blindly."""

import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.build.vendor_builder import Builder, BuilderLimits, BuiltImage
from support import fake_builder

DIGEST = "sha256:" + "ab" * 32
KEY = "5f" * 32
TO = "registry.test/team/api:1"
MANIFEST = {"apiVersion": "scone/5.8", "build": {"kind": "java17"}}
Build = Callable[..., BuiltImage]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Where the toolchain left the file-system key."""
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def answer(key_file: Path) -> dict[str, Any]:
    """A builder's right answer."""
    return {
        "image": f"registry.test/team/api@{DIGEST}",
        "mrenclave": "CD" * 32,
        "fspf_tag": "ef" * 16,
        "fspf_key": {"file": str(key_file)},
    }


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Has the recorded fake build, with one behaviour for each operation."""

    def build(told: list[str] | None = None, limits: BuilderLimits | None = None, **operations: Any) -> BuiltImage:
        settings = tmp_path / "behaviour.json"
        settings.write_text(json.dumps({"record": str(tmp_path / "record"), **operations}))
        command = [sys.executable, fake_builder.__file__, str(settings)]
        builder = Builder(command, limits=limits, tell=(told if told is not None else []).append)
        return builder.build(manifest=MANIFEST, folder=tmp_path, to=TO, native_image="r.test/native@" + DIGEST)

    return build


def requests(folder: Path) -> list[dict[str, Any]]:
    """What the fake was asked."""
    return [json.loads(line)["request"] for line in (folder / "record").read_text().splitlines()]


def test_question_and_answer(build: Build, answer: dict[str, Any], tmp_path: Path) -> None:
    """Manifest, folder, target and native image go out; image, measurement, tag and key come back; progress is told."""
    told: list[str] = []
    built = build(told, build={"answer": answer})
    assert built == BuiltImage(
        image=f"registry.test/team/api@{DIGEST}", measurement="cd" * 32, fspf_tag="ef" * 16, fspf_key=KEY
    )
    assert requests(tmp_path) == [
        {
            "version": 1,
            "operation": "build",
            "manifest": MANIFEST,
            "folder": str(tmp_path),
            "to": TO,
            "native_image": "r.test/native@" + DIGEST,
            "requirements": [],
            "signing_key": None,
        }
    ]
    assert told == ["pulling the toolchain"]
    assert KEY not in repr(built)


def test_a_builder_may_leave_the_measuring_to_the_image(build: Build, answer: dict[str, Any], tmp_path: Path) -> None:
    """Without `mrenclave` it is asked to measure the ready image, which says it itself under SCONE_HASH=1."""
    del answer["mrenclave"]
    built = build(build={"answer": answer}, measure={"answer": {"mrenclave": "12" * 32}})
    assert built.measurement == "12" * 32
    assert requests(tmp_path)[1] == {
        "version": 1,
        "operation": "measure",
        "image": f"registry.test/team/api@{DIGEST}",
        "manifest": MANIFEST,
    }


def test_a_failure_is_told_in_the_builders_own_last_line(build: Build) -> None:
    """Exit code and last line are the error; control characters are not passed on."""
    with pytest.raises(ImageError) as caught:
        build(build={"fail": "sconectl: no SGX driver\x1b[31m"})
    assert str(caught.value) == (
        "scone:builder: the builder failed to build (exit code 3): sconectl: no SGX driver[31m"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": "registry.test/team/api:1"}, "is not registry.test/team/api@sha256:"),
        ({"image": f"registry.test/other@{DIGEST}"}, "is not registry.test/team/api@sha256:"),
        ({"image": None}, "is not registry.test/team/api@sha256:"),
        ({"mrenclave": "cd"}, "`mrenclave` is not 64 hex digits"),
        ({"mrenclave": 5}, "`mrenclave` is not 64 hex digits"),
        ({"fspf_tag": "x" * 32}, "`fspf_tag` is not 32 hex digits"),
        ({"fspf_key": KEY}, '`fspf_key` is not {"file"'),
        ({"fspf_key": {"file": "key"}}, '`fspf_key` is not {"file"'),
        ({"fspf_key": {"file": "/dev/null"}}, "key file"),
        ({"fspf_key": {"file": "/nowhere/key"}}, "does not hold a key"),
    ],
)
def test_wrong_answers_are_refused(build: Build, answer: dict[str, Any], change: dict[str, Any], words: str) -> None:
    """Nothing gets into a policy that has not the form of what it should be; the key is in no message."""
    with pytest.raises(ImageError) as caught:
        build(build={"answer": {**answer, **change}})
    assert words in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"version": 2}', "[" * 100_000])
def test_no_answer_is_refused(build: Build, text: str) -> None:
    """A builder that prints anything else to standard output is told what belongs there."""
    with pytest.raises(ImageError, match="no JSON object of version 1"):
        build(build={"text": text})


def test_a_key_that_others_can_read_is_refused(build: Build, answer: dict[str, Any], key_file: Path) -> None:
    """What everyone on the machine could have read is no key any more."""
    key_file.chmod(0o644)
    with pytest.raises(ImageError, match="readable for others"):
        build(build={"answer": answer})


def test_too_long_an_answer_is_cut_off(build: Build) -> None:
    """A builder cannot fill the memory."""
    with pytest.raises(ImageError, match="more than 4096 bytes"):
        build(limits=BuilderLimits(answer=4096), build={"flood": 10_000_000, "answer": {}})


def test_time_is_limited_and_nothing_stays_behind(build: Build, tmp_path: Path) -> None:
    """A builder that hangs is ended, with all that it started."""
    started = time.monotonic()
    with pytest.raises(ImageError, match=r"took more than 1 s"):
        build(limits=BuilderLimits(seconds=1), build={"child": str(tmp_path / "child"), "sleep": 60, "answer": {}})
    assert time.monotonic() - started < 20
    with contextlib.suppress(ProcessLookupError):
        child = os.pidfd_open(int((tmp_path / "child").read_text()))
        assert select.select([child], [], [], 10)[0], "what the builder started still runs"
        os.close(child)


@pytest.mark.parametrize("command", [[], [""], ["a\x00b"]])
def test_what_is_no_command_is_refused(command: list[str]) -> None:
    """At once, with an example of one."""
    with pytest.raises(ImageError, match="this is no command"):
        Builder(command, tell=print)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """The error names the program and where it was configured."""
    builder = Builder([str(tmp_path / "gone")], tell=print)
    with pytest.raises(ImageError, match="cannot be started: No such file"):
        builder.build(manifest={}, folder=tmp_path, to=TO, native_image=None)
    assert os.path.lexists(tmp_path)
