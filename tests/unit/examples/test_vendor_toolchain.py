"""`examples/vendor-toolchain/builder.py` under the real contract; `sconectl` and `docker` are recorded fakes."""

import json
import os
import sys
from pathlib import Path

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.build.vendor_builder import Builder, BuiltImage

WRAPPER = Path(__file__).parents[3] / "examples" / "vendor-toolchain" / "builder.py"
TO = "registry.test/team/api:1"
IMAGE = "registry.test/team/api@sha256:" + "ab" * 32
MANIFEST = {
    "build": {"kind": "java17", "from": "old"},
    "environment": {"local": [{"name": "SCONE_HEAP", "value": "1G"}]},
}
DOCKER = f"""#!/bin/sh
echo "docker $*" >> "$RECORD"
case "$*" in
  inspect*) echo {IMAGE} ;;
  *image.keytag*) echo "tag: {"ef" * 16} key: {"5f" * 32}" ;;
  *SCONE_HASH=1*) echo "Enclave hash: {"cd" * 32}" ;;
esac
"""
SCONECTL = """#!/bin/sh
echo "sconectl $1 $2" >> "$RECORD"
cat "$3" > "$RECORD.manifest"
"""


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """The wrapper, with the fakes first on its PATH and a home of its own."""
    for name, text in (("docker", DOCKER), ("sconectl", SCONECTL)):
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(text)
        tool.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Builder([sys.executable, str(WRAPPER)], tell=lambda _: None)


def test_wrapper_builds_pushes_and_measures(builder: Builder, tmp_path: Path) -> None:
    """Its answers pass the contract: image by digest, tag, a private key file, and the hash that the image prints."""
    native = "registry.test/native@sha256:" + "12" * 32
    built = builder.build(manifest=MANIFEST, folder=tmp_path, to=TO, native_image=native)
    assert built == BuiltImage(image=IMAGE, measurement="cd" * 32, fspf_tag="ef" * 16, fspf_key="5f" * 32)
    manifest = json.loads((tmp_path / "record.manifest").read_text())
    assert manifest == {**MANIFEST, "build": {"kind": "java17", "from": native}}
    assert (tmp_path / "record").read_text().splitlines() == [
        "sconectl apply -f",
        f"docker push {TO}",
        f"docker inspect --format {{{{index .RepoDigests 0}}}} {TO}",
        f"docker run --rm --entrypoint cat {IMAGE} /image.keytag",
        f"docker run --rm -e SCONE_HASH=1 -e SCONE_HEAP=1G {IMAGE}",
    ]
    assert list(tmp_path.glob("*.yaml")) == []


def test_wrapper_fails_when_the_toolchain_does(builder: Builder, tmp_path: Path) -> None:
    """A failing sconectl ends the build: nothing is pushed."""
    (tmp_path / "bin" / "sconectl").write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(ImageError, match="the builder failed to build"):
        builder.build(manifest=MANIFEST, folder=tmp_path, to=TO, native_image=None)
    assert not (tmp_path / "record").exists()
