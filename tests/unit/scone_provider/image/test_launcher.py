"""The launcher that is packaged is the one that was recorded, or it is not used."""

import hashlib
from importlib import resources
from pathlib import Path

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.launcher import launcher_bytes


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder that the test fills itself."""
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    return tmp_path


def test_the_packaged_launcher_is_the_recorded_one() -> None:
    """The digest beside it is that of its bytes, and it is a program."""
    recorded = (resources.files("scone_provider.image") / "launcher.sha256").read_text("ascii").split()[0]
    binary = launcher_bytes()
    assert hashlib.sha256(binary).hexdigest() == recorded
    assert binary.startswith(b"\x7fELF")


def test_a_missing_launcher_says_how_to_build_it(package: Path) -> None:
    """Somebody who runs from a checkout needs one command, and reads it."""
    (package / "launcher.sha256").write_text("0" * 64)
    with pytest.raises(ImageError) as caught:
        launcher_bytes()
    assert "python provider/launcher/hatch_build.py" in str(caught.value)


@pytest.mark.parametrize("record", ["0" * 64, ""])
def test_another_launcher_is_refused(package: Path, record: str) -> None:
    """A launcher that was replaced after the build never gets into an image."""
    (package / "launcher-linux-amd64").write_bytes(b"\x7fELF evil")
    (package / "launcher.sha256").write_text(record)
    with pytest.raises(ImageError):
        launcher_bytes()
