"""Where in a manifest a thing of an image was asked for, for errors that name file and line."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Places:
    """`known` maps a build key, or a key and one of its items (`copy app.py`), to `file:line: path`.

    Nobody has to know any: then the image's name and the key stand for the place.
    """

    name: str
    known: Mapping[str, str] = field(default_factory=dict)

    def of(self, key: str, item: str = "") -> str:
        """The most exact place that is known of a key's item, such as `service.yaml:21: build.copy.0`."""
        return self.known.get(f"{key} {item}") or self.known.get(key) or f"{self.name}: {key}"
