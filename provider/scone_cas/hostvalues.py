"""Values from the untrusted host: `@@1` in a command, `@@NAME` in an environment (session language, section 2)."""

import re
from collections.abc import Mapping, Sequence

from scone_cas.errors import Reason, Refusal, RequestError

_POSITION = re.compile(r"@@([1-9][0-9]{0,2})")
_NAME = re.compile(r"@@([A-Za-z_][A-Za-z0-9_]*)")


class MissingHostValueError(RequestError):
    """The policy names a host argument that was not given. The text says which."""


def check_positions(where: str, command: Sequence[str]) -> None:
    """Raises Refusal unless the positions are 1, 2, 3 …, each once."""
    positions = sorted(int(match[1]) for argument in command if (match := _POSITION.fullmatch(argument)))
    for expected, position in enumerate(positions, start=1):
        if position < expected:
            raise Refusal(Reason.INVALID, f"{where}: the host argument @@{position} stands there twice")
        if position > expected:
            raise Refusal(Reason.INVALID, f"{where}: @@{position} stands there, but @@{expected} does not")


def host_argument(argument: str, given: Sequence[str]) -> str | None:
    """The host's value if the argument is `@@N`, None if it is not. Raises MissingHostValueError."""
    match = _POSITION.fullmatch(argument)
    if match is None:
        return None
    position = int(match[1])
    if position > len(given):
        raise MissingHostValueError(f"the host argument @@{position} was not given")
    return given[position - 1]


def host_variable(text: str, given: Mapping[str, str]) -> str | None:
    """The host's value, empty if it is unset, if the text is `@@NAME`; None if it is not."""
    match = _NAME.fullmatch(text)
    return None if match is None else given.get(match[1], "")
