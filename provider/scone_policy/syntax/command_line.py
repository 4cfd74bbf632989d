"""Commands: one string with quotes on paper, a list of arguments in a process (session language, command)."""

import re
from collections.abc import Sequence

from scone_policy.errors import RuleError

_PLAIN = re.compile(r"[^\s'\"]+")


def split(command: str) -> tuple[str, ...]:
    """Arguments of a command line: white space separates, quotes of either kind group, adjacent parts join; no escapes.

    Raises RuleError when a quote is not closed.
    """
    arguments: list[str] = []
    current: str | None = None
    quote = ""
    for char in command:
        if quote:
            if char == quote:
                quote = ""
            else:
                current = (current or "") + char
        elif char in "'\"":
            quote, current = char, current or ""
        elif char.isspace():
            if current is not None:
                arguments.append(current)
            current = None
        else:
            current = (current or "") + char
    if quote:
        raise RuleError(f"the quote {quote} is not closed", fix="Close it, or write the command as a list.")
    return (*arguments, current) if current is not None else tuple(arguments)


def join(arguments: Sequence[str]) -> str:
    """The one string that `split` turns back into these arguments."""
    return " ".join(_quoted(argument) for argument in arguments)


def _quoted(argument: str) -> str:
    if _PLAIN.fullmatch(argument):
        return argument
    if "'" not in argument:
        return f"'{argument}'"
    if '"' not in argument:
        return f'"{argument}"'
    return '"\'"'.join(f"'{part}'" if part else "" for part in argument.split("'"))
