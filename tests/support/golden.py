"""The type of the fixture `golden`, for tests that take it."""

from collections.abc import Callable
from pathlib import Path

Golden = Callable[[Path, str], None]
"""Compares a text with a golden file; with `--remake-goldens`, writes the file."""
