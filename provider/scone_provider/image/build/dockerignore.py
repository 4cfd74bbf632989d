"""`.dockerignore`: which files of a build's folder are left out, by the rules of Docker's own builder.

Not gitignore's rules, which libraries implement: here a pattern without `/` means the top folder alone, and the last
pattern that matches a path or one of its parents decides. Tried against BuildKit in tests/cluster/test_native_build.py.
"""

import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache

from scone_provider.errors import ImageError

NAME = ".dockerignore"
LIMIT = 1 << 20
"""Bytes that such a file may have."""
_MOST = 10_000


@dataclass(frozen=True, kw_only=True)
class _Pattern:
    regex: re.Pattern[str]
    exception: bool


@dataclass(frozen=True)
class Ignore:
    """The patterns of one file, in order."""

    patterns: tuple[_Pattern, ...] = ()

    def excludes(self, path: str) -> bool:
        """True when `path` (relative to the folder, with `/`) is left out. The folder itself, `.`, never is."""
        steps = _steps(path) if path != "." else ()
        excluded = False
        for pattern in self.patterns:
            if pattern.exception == excluded and any(pattern.regex.fullmatch(step) for step in steps):
                excluded = not pattern.exception
        return excluded

    def prunes(self, path: str) -> bool:
        """True when a folder is left out with all below it, so that nobody has to look."""
        return not any(pattern.exception for pattern in self.patterns) and self.excludes(path)


def parse(text: str, *, where: str) -> Ignore:
    """The patterns in `text`. Raises ImageError for one that Docker refuses, naming `where` and its line."""
    patterns = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        stripped = line.strip()
        if not stripped or line.startswith("#"):
            continue
        exception = stripped.startswith("!")
        pattern = stripped.removeprefix("!").strip() if exception else stripped
        if not pattern:
            raise ImageError("`!` names no pattern", where=f"{where}:{number}", fix="write what it brings back")
        pattern = posixpath.normpath(pattern).lstrip("/") or "."
        try:
            regex = re.compile(_expression(pattern), re.DOTALL)
        except re.error:
            raise ImageError("this is no pattern that Docker understands", where=f"{where}:{number}") from None
        patterns.append(_Pattern(regex=regex, exception=exception))
    if len(patterns) > _MOST:
        raise ImageError(f"more than {_MOST} patterns", where=where)
    return Ignore(tuple(patterns))


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[str, ...]:
    parts = path.split("/")
    return tuple("/".join(parts[:end]) for end in range(1, len(parts) + 1))


def _expression(pattern: str) -> str:
    """The regular expression of one pattern: Go's `filepath.Match`, and `**` for any number of folders."""
    found: list[str] = []
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        at += 1
        if sign == "*" and pattern[at : at + 1] == "*":
            at += 1
            if pattern[at : at + 1] == "/":
                at += 1
            found.append("(?:.*/)?" if at < len(pattern) else ".*")
        elif sign == "*":
            found.append("[^/]*")
        elif sign == "?":
            found.append("[^/]")
        elif sign == "\\":
            found.append(re.escape(pattern[at : at + 1] or "\\"))
            at += 1
        elif sign == "[":
            end = pattern.find("]", at + 1)
            if end < 0:
                raise re.error("no end")
            found.append("[" + re.sub(r"[\[&|~]", lambda match: "\\" + match[0], pattern[at:end]) + "]")
            at = end + 1
        else:
            found.append(re.escape(sign))
    return "".join(found)
