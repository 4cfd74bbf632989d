"""Which image of an index is taken: the one that every linux/amd64 machine runs."""

import json
from typing import Any

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.base.resolve import _baseline, resolve_base
from scone_provider.image.registry.client import Registry
from support.tiny_image import tiny_image


def image(number: int, platform: str | None, **more: Any) -> dict[str, Any]:
    """An entry: `os/architecture/variant`, or None for one that does not say."""
    parts = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False)) if platform else None
    return {"digest": f"sha256:{number:064x}", **({"platform": parts} if parts else {}), **more}


@pytest.mark.parametrize(
    ("platforms", "taken"),
    [
        (["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"], 2),
        (["linux/amd64/v4", "linux/amd64/v2"], 1),
        (["linux/amd64/v3"], 0),
        (["linux/amd64/v2", "linux/amd64/v1"], 1),
        (["linux/amd64", "linux/amd64"], 0),
        (["linux/amd64/v10", "linux/amd64/v2"], 1),
        (["linux/arm64/v8", "windows/amd64", "unknown/unknown", "linux/amd64"], 3),
        ([None], 0),
        ([None, "linux/amd64"], 1),
        ([None, None], None),
        (["linux/arm64"], None),
        ([], None),
    ],
)
def test_the_baseline_is_taken(platforms: list[str | None], taken: int | None) -> None:
    """Not the first entry, but the one that needs the least of a processor."""
    index = {"manifests": [image(number, platform) for number, platform in enumerate(platforms)]}
    assert _baseline(index) == (None if taken is None else image(taken, None)["digest"])


def test_what_is_no_image_is_passed_over() -> None:
    """An artifact that stands in an index, whatever platform it names."""
    index = {"manifests": [image(0, "linux/amd64", artifactType="application/vnd.example"), image(1, "linux/amd64")]}
    assert _baseline(index) == image(1, None)["digest"]


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False)])
def test_the_largest_configuration(cache: BaseCache, more: int, fits: bool) -> None:  # noqa: FBT001
    """A configuration of 8 MiB is taken, one with a byte more is refused before it is read."""
    empty = json.loads(tiny_image(config={"Labels": {"x": ""}}).manifest)["config"]["size"]
    image = tiny_image(config={"Labels": {"x": "y" * ((8 << 20) - empty + more)}})
    image.fill(cache)
    reference = f"registry.test/base@{image.digest}"
    if fits:
        assert resolve_base(reference, program="python3", registry=Registry(), cache=cache).digest == image.digest
        return
    with pytest.raises(ImageError, match="configuration is malformed"):
        resolve_base(reference, program="python3", registry=Registry(), cache=cache)
