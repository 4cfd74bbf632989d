"""What all tests share: goldens a person can read, remade with `pytest --remake-goldens`; how properties are tried.

Generated examples are the same in every run, so that a run says something about the change it is made for;
`pytest --hypothesis-profile=explore` tries new ones.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from support.golden import Golden

# No deadlines: how long an example takes depends on what else the machine does.
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", _UNHURRIED, derandomize=True)
settings.register_profile("explore", _UNHURRIED, max_examples=1_000)
settings.register_profile(  # tools/mutants: often and fast; the smallest example is of no use there
    "mutants", _UNHURRIED, derandomize=True, max_examples=15, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--remake-goldens", action="store_true", help="write goldens instead of comparing with them")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares a text with a golden file, or writes the file when that is asked for."""
    remake = request.config.getoption("--remake-goldens")

    def compare(path: Path, text: str) -> None:
        if remake:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: make it with --remake-goldens, then read it"
        assert path.read_text(encoding="utf-8") == text

    return compare
