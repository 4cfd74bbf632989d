"""Collects what is wrong with the manifests of one mesh, so that a person sees all of it at once."""

from collections.abc import Sequence

from scone_policy.syntax.problems import Problem, refuse
from scone_policy.syntax.yaml_source import Document
from scone_provider.errors import ManifestError


class ManifestErrors(ManifestError):  # noqa: N818 - it is several of them
    """Several rules are broken; the text lists each on a line of its own."""


class Findings:
    """Problems found so far, over several documents."""

    def __init__(self) -> None:
        self._found: list[ManifestError] = []

    def __bool__(self) -> bool:
        """True when there is one."""
        return bool(self._found)

    def add(self, what: str, *, where: str, fix: str) -> None:
        """Note one problem; the same one, met again on another way, is told once."""
        found = ManifestError(what, where=where, fix=fix)
        if str(found) not in map(str, self._found):
            self._found.append(found)

    def stop(self) -> None:
        """Raise ManifestError for one problem, ManifestErrors for several, nothing for none."""
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            lines = [f"{len(self._found)} rules are broken", *(str(one).replace("\n  →", " →") for one in self._found)]
            error = ManifestErrors("\n  ".join(lines))
            error.parts = tuple(self._found)
            raise error


def stop(problems: Sequence[Problem], document: Document) -> None:
    """Raise for the problems of one document, if there are any."""
    if problems:
        raise refuse(problems, document, one=ManifestError, many=ManifestErrors)
