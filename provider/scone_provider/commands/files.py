"""What the commands share: reading a document from disk, and values given on the command line."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scone_policy.syntax.holes import Holes
from scone_policy.syntax.yaml_source import MAX_BYTES
from scone_provider.file_errors import file_reason


class UsageError(Exception):
    """The command line cannot be carried out as it stands. The text says why."""


def text_of(file: str, *, limit: int = MAX_BYTES) -> str:
    """The UTF-8 text of a file of at most `limit` bytes. Raises UsageError."""
    path = Path(file)
    try:
        if path.stat().st_size > limit:
            raise UsageError(f"{file}: the file is larger than {limit >> 20} MiB")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{file}: the file is not UTF-8 text") from None
    except (OSError, ValueError) as problem:
        raise UsageError(f"{file}: the file cannot be read: {file_reason(problem)}") from None


def assignments(given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE texts as a map. Raises UsageError."""
    found = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--set takes NAME=VALUE, not {item.partition('=')[0]!r}: write --set NAME=VALUE")
        found[name] = value
    return found


def command_words(given: str | None) -> list[str]:
    """A command as `scone:builder` has it, a JSON list of words, or as a shell reads it. Raises UsageError."""
    if given is None:
        return []
    try:
        words = json.loads(given) if given.lstrip().startswith("[") else shlex.split(given)
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise UsageError("--builder takes a command: 'python3 builder.py', or a JSON list of its words")
    return words


class OpenVariables(Mapping[str, str]):
    """Variables of which some are given; any other one is a value that is not known yet, and passes every check."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._holes = Holes()
        self._open: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name in self._given:
            return self._given[name]
        return self._open.setdefault(name, self._holes.punch(name))

    def get(self, name: str, default: object = None) -> str:  # noqa: ARG002 - there is always a value
        """The value, or what stands for it."""
        return self[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)
