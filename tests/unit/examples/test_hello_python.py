"""The example's program: it checks its own start, shows no secret, and stops cleanly."""

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "hello-python"
DELIVERED = {"API_USER": "myself", "API_PASSWORD": "hunter2-pw"}


def start(*arguments: str, **more: str) -> "subprocess.Popen[str]":
    """The program with the delivered environment and what a test adds."""
    return subprocess.Popen(
        [sys.executable, "print_env.py", *arguments],
        cwd=EXAMPLE,
        env={**DELIVERED, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_greets_checks_and_stops() -> None:
    """With exactly what was delivered: greeting, checksum, never the value; SIGTERM ends it with 0."""
    with start() as program:
        assert program.stdout is not None
        lines = [program.stdout.readline() for _ in range(3)]
        program.send_signal(signal.SIGTERM)
        rest = "".join(program.communicate(timeout=10))
    checksum = hashlib.sha256(DELIVERED["API_PASSWORD"].encode()).hexdigest()
    assert lines == [
        "Hello, 'myself' - thanks for passing along the API_PASSWORD\n",
        f"Checksum of API_PASSWORD = '{checksum}'\n",
        "Integrity OK\n",
    ]
    assert (program.returncode, rest) == (0, "")


@pytest.mark.parametrize(("arguments", "more"), [(("extra",), {}), ((), {"LD_DEBUG_OUTPUT": "x"})])
def test_it_notices_what_was_not_delivered(arguments: tuple[str, ...], more: dict[str, str]) -> None:
    """One more argument or variable is named, and ends the program with an error instead of an OK."""
    with start(*arguments, **more) as program:
        out, err = program.communicate(timeout=10)
    assert program.returncode == 1
    assert "Integrity OK" not in out
    assert "Integrity violated" in err
    assert "hunter2" not in out + err
