"""Values from the untrusted host: `@@1` in a command, `@@NAME` in an environment (session language, section 2)."""

import re
from collections.abc import Mapping, Sequence

from scone_cas.errors import RequestError
from scone_policy.model.services import HOST_VARIABLE

_POSITION = re.compile(r"@@([1-9][0-9]{0,2})")
_NAME = re.compile(r"@@([A-Za-z_][A-Za-z0-9_]*)")


class MissingHostValueError(RequestError):
    """The policy names a host argument that was not given. The text says which."""


def host_argument(argument: str, given: Sequence[str]) -> str | None:
    """The host's value if the argument is `@@N`, None if it is not. Raises MissingHostValueError."""
    match = _POSITION.fullmatch(argument)
    if match is None:
        return None
    position = int(match[1])
    if position > len(given):
        raise MissingHostValueError(f"the host argument @@{position} was not given")
    return given[position - 1]


def host_variable(name: str, text: str, given: Mapping[str, str]) -> tuple[str, str] | None:
    """The program's variable and the host's value, empty if it is unset, where the host gives it; else None.

    So it does where the name is `@@NAME` (whatever the value says), and where the value is.
    """
    by_name, by_value = HOST_VARIABLE.fullmatch(name), _NAME.fullmatch(text)
    if by_name is not None:
        return by_name["name"], given.get(by_name["name"], "")
    return None if by_value is None else (name, given.get(by_value[1], ""))
