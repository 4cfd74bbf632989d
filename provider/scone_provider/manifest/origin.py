"""Where a manifest came from: the document behind a model, for errors that name file and line."""

from pydantic import PrivateAttr

from scone_policy.scalars import Model
from scone_policy.source import Document


class Origin:
    """A document that takes no part in comparisons: the same content from a file and from Python is equal."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)

    def __hash__(self) -> int:
        return 0


class Manifest(Model):
    """What service manifests and Meshfiles have in common: they know where each of their parts stands."""

    _origin: Origin = PrivateAttr(default_factory=lambda: Origin(Document(data={})))

    def where(self, *path: str | int) -> str:
        """`file:line: build.command` for a path into the manifest."""
        return self._origin.document.where(tuple(path))

    def remember(self, document: Document) -> None:
        """Keep the document that this manifest was read from."""
        self._origin = Origin(document)
