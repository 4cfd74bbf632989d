"""Which certificate authorities count: a path that is not there is said, as OpenSSL passes over it without a word."""

import os
from pathlib import Path

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.registry.trust_store import DEFAULTS, trust_store


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("order", [1, -1])
def test_every_path_has_to_exist(tmp_path: Path, name: str, order: int) -> None:
    """One of several that is missing is refused with the variable's name; empty ones between them do not count."""
    there = str(tmp_path)
    trust_store({name: f"{there}{os.pathsep}{os.pathsep}{there}"})
    with pytest.raises(ImageError) as caught:
        trust_store({name: os.pathsep.join([there, str(tmp_path / "gone")][::order])})
    assert f"${name}: " in str(caught.value)
