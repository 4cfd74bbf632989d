"""Where a manifest came from: the document behind a model, for errors that name file and line."""

from collections.abc import Mapping

from pydantic import PrivateAttr

from scone_policy.syntax.scalars import Model
from scone_policy.syntax.yaml_source import Document, Path


class Origin:
    """A document that takes no part in comparisons: the same content from a file and from Python is equal.

    `moved` tells which parts of the manifest stand in another document, and there under which path; `asked` which
    variables of the mesh stood in it before it was filled.
    """

    def __init__(
        self,
        document: Document,
        moved: Mapping[Path, tuple[Document, Path]] | None = None,
        asked: frozenset[str] = frozenset(),
    ) -> None:
        self.document = document
        self.moved = dict(moved or {})
        self.asked = asked

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)

    def __hash__(self) -> int:
        return 0


class Manifest(Model):
    """What service manifests and Meshfiles have in common: they know where each of their parts stands."""

    _origin: Origin = PrivateAttr(default_factory=lambda: Origin(Document(data={})))

    def where(self, *path: str | int) -> str:
        """`file:line: build.command` for a path into the manifest."""
        for length in range(len(path), 0, -1):
            if found := self._origin.moved.get(path[:length]):
                document, at = found
                return document.where((*at, *path[length:]))
        return self._origin.document.where(tuple(path))

    @property
    def file(self) -> str:
        """The name of the document: a path relative to the program, or `<mesh>` for one that Python wrote."""
        return self._origin.document.file or ""

    @property
    def document(self) -> Document:
        """What this manifest was read from."""
        return self._origin.document

    def remember(self, document: Document) -> None:
        """Keep the document that this manifest was read from."""
        self._origin = Origin(document)

    def remember_filled(self, document: Document) -> None:
        """Keep the document with its variables filled, of which the same parts stand elsewhere as before."""
        self._origin = Origin(document, self._origin.moved, self._origin.asked)

    def remember_moved(self, parts: Mapping[Path, tuple[Document, Path]]) -> None:
        """Keep that some parts stand in other documents."""
        self._origin = Origin(self._origin.document, {**self._origin.moved, **parts}, self._origin.asked)

    @property
    def asked(self) -> frozenset[str]:
        """Names of the variables of the mesh that were filled in it."""
        return self._origin.asked

    def remember_asked(self, names: frozenset[str]) -> None:
        """Keep that these variables were filled in it, too."""
        self._origin = Origin(self._origin.document, self._origin.moved, self._origin.asked | names)
