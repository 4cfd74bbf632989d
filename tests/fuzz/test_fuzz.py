"""A bounded time of fuzzing: every seed, small changes of them, and in `make test-long` minutes of atheris."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS, seeds

ROOT = Path(__file__).parents[2]
SECONDS = 300
BITS = (
    *(b"\n", b"  ", b"- ", b": ", b"{", b"}", b"[", b"]", b"&a ", b"*a", b"$$SCONE::", b"$$", b'"', b"~", b"null"),
    *(b"!akv ", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xc2\x85", b"0o7", b"1e999", b".nan", b"-0", b"\\u0000", b"<<"),
)
PIECES = st.binary(max_size=6) | st.sampled_from(BITS)
Edits = list[tuple[int, int, bytes]]
EDITS: st.SearchStrategy[Edits] = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.integers(0, 30), PIECES), min_size=1, max_size=4
)


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target: str) -> None:
    """The seeds themselves are read without an error that is not ours."""
    for seed in seeds(target):
        TARGETS[target](seed)


@pytest.mark.parametrize("target", TARGETS)
def test_changed_seeds(target: str) -> None:
    """Seeds with pieces cut out, put in and repeated: taken, or refused with an error of ours, never another."""
    found = seeds(target)

    @settings(max_examples=150)
    @given(st.sampled_from(found), EDITS)
    def change(seed: bytes, edits: Edits) -> None:
        for at, length, piece in edits:
            place = at % (len(seed) + 1)
            seed = seed[:place] + piece + seed[place + length :]
        TARGETS[target](seed)

    change()


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("target", TARGETS)
def test_minutes_of_atheris(target: str, tmp_path: Path) -> None:
    """Minutes of coverage-guided fuzzing find nothing; what they find is kept in the test's folder."""
    command = [sys.executable, "-m", "fuzz", target, "--seconds", str(SECONDS), "--finds", str(tmp_path)]
    path = os.pathsep.join([str(ROOT / "provider"), str(ROOT / "tests")])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert list(tmp_path.iterdir()) == []
