"""What would start an executable, from its first bytes."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_provider.image.base.elf import FOREIGN, SCRIPT, inspect
from support.tiny_image import elf


def test_a_real_program_names_its_loader() -> None:
    """The Python that runs this test has the loader that the system's own tool reads from it."""
    real = Path("/proc/self/exe").resolve()
    listed = subprocess.run(["ldd", real], capture_output=True, text=True, check=True).stdout
    loader = inspect(real.read_bytes()[: 1 << 20]).removeprefix("elf:")
    assert loader in listed
    assert loader.startswith("/")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (elf("/lib64/ld.so"), "elf:/lib64/ld.so"),
        (elf(""), "elf:"),
        (b"#!/usr/bin/python3\n", SCRIPT),
        (elf(machine=183), FOREIGN),
        (b"\x7fELF\x01\x01" + bytes(100), FOREIGN),
        (elf("relative/ld.so"), FOREIGN),
        (elf("/lib/ld\x1b.so"), FOREIGN),
        (elf("/lib64/ld.so")[:125], FOREIGN),
        (b"", FOREIGN),
    ],
)
def test_only_x86_64_programs_that_are_understood_count(content: bytes, found: str) -> None:
    """Scripts, other machines, and loaders that cannot be paths are told apart."""
    assert inspect(content) == found


@given(st.binary(max_size=200), st.integers(0, 250))
def test_no_bytes_are_more_than_foreign(noise: bytes, position: int) -> None:
    """Whatever stands behind or in place of the header, the answer is one of four kinds."""
    data = elf()[:position] + noise
    assert inspect(data).startswith(("elf:", "script", "foreign"))
