"""The dynamic provider process, driven over gRPC."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.provider_process import ProviderProcess, started


@pytest.fixture
def provider_process(tmp_path: Path) -> Iterator[ProviderProcess]:
    """A provider process of this test's own."""
    with started(tmp_path) as process:
        yield process
