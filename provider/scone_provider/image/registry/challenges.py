"""What `WWW-Authenticate` asks for: any number of challenges, in one header or in several (RFC 9110, 11.6.1).

No kept library reads more than one challenge from a header, and registries do send two.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SEPARATOR = re.compile(r"[\s,]*")
_SCHEME = re.compile(rf"({_WORD})(?=[\s,]|\Z)[ \t]*")
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))[ \t]*(?=,|\Z)')
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*[ \t]*(?=,|\Z)")
_LIMIT = 16 << 10


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """One way to authenticate: `scheme` and the names of `parameters` in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of all `WWW-Authenticate` headers of an answer, in their order.

    What cannot be read ends the header it stands in; the challenges before it count.
    """
    return tuple(challenge for header in headers for challenge in _parse(header[:_LIMIT]))


def _parse(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = _skip(header, 0)
    while position < len(header) and (scheme := _SCHEME.match(header, position)):
        position = scheme.end()
        parameters: dict[str, str] = {}
        # A name that `=` follows is a parameter of this challenge; any other word begins the next one.
        while parameter := _PARAMETER.match(header, _skip(header, position)):
            name, quoted, plain = parameter.groups()
            parameters.setdefault(name.lower(), plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
            position = parameter.end()
        if not parameters and (token := _TOKEN68.match(header, position)):
            position = token.end()
        found.append(Challenge(scheme=scheme[1].lower(), parameters=parameters))
        position = _skip(header, position)
    return found


def _skip(header: str, position: int) -> int:
    match = _SEPARATOR.match(header, position)
    assert match is not None
    return match.end()
