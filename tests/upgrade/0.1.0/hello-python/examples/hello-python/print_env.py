"""Says hello with what the policy delivers, checks that nothing else came along, and stays until it is stopped."""

import hashlib
import os
import signal
import sys
from types import FrameType

ARGUMENTS = ["print_env.py"]
VARIABLES = {"API_USER", "API_PASSWORD"}
SET_BY_PYTHON = {"LC_CTYPE"}  # the interpreter adds it where no locale is set


def stop(_signal: int, _frame: FrameType | None) -> None:
    """End at once, and cleanly: nothing here needs to be finished."""
    sys.exit(0)


def main() -> None:
    """Print, check, wait."""
    signal.signal(signal.SIGTERM, stop)
    user, password = os.environ["API_USER"], os.environ["API_PASSWORD"]
    print(f"Hello, '{user}' - thanks for passing along the API_PASSWORD")
    print(f"Checksum of API_PASSWORD = '{hashlib.sha256(password.encode()).hexdigest()}'")
    if sys.argv != ARGUMENTS:
        sys.exit(f"Integrity violated: the arguments are {sys.argv}, not {ARGUMENTS}")
    if unexpected := set(os.environ) - VARIABLES - SET_BY_PYTHON:
        sys.exit(f"Integrity violated: unexpected variables {sorted(unexpected)}")
    print("Integrity OK", flush=True)
    while True:
        signal.pause()


main()
