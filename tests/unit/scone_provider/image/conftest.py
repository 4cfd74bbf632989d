"""A cache of base images of its own for each test."""

from pathlib import Path

import pytest

from scone_provider.image.base.cache import BaseCache


@pytest.fixture
def cache(tmp_path: Path) -> BaseCache:
    """An empty cache."""
    return BaseCache(tmp_path / "cache")
