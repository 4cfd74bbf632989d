"""Fixtures: people, and names of sessions, for suites that talk to a CAS."""

import re
from datetime import UTC, datetime

import pytest

from scone_provider.cas.identity import Identity

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def ann() -> Identity:
    """Whose stack it is."""
    return Identity.create(common_name="ann", now=NOW)


@pytest.fixture(scope="session")
def bob() -> Identity:
    """Somebody else."""
    return Identity.create(common_name="bob", now=NOW)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A session name of this test alone."""
    return re.sub(r"[^A-Za-z0-9_.~-]+", "-", request.node.name)[:100]
