"""`CasTrust`: which CAS, and under which conditions it is trusted; the part that several resources have in common."""

from collections.abc import Mapping
from dataclasses import dataclass

from scone_policy.holes import has_hole

from scone_provider.cas.tolerance import Tolerance
from scone_provider.errors import TrustError


@dataclass(frozen=True, kw_only=True)
class CasTrust:
    """A CAS's url, tolerated switches (canonical text) and pinned key hash. Values may be holes (scone_policy.holes)."""

    url: str
    tolerance_text: str = ""
    key: str | None = None

    @classmethod
    def from_props(cls, props: object) -> "CasTrust":
        """From resource inputs `{url, tolerance?: {switch: true|value}, key?}`. Raises TrustError on anything else."""
        if not isinstance(props, Mapping) or not isinstance(props.get("url"), str) or not props["url"]:
            raise TrustError("the url of CAS is missing", where="url", fix="give cas_url")
        tolerance = props.get("tolerance") or {}
        if not isinstance(tolerance, Mapping):
            raise TrustError("this is not a map of switches", where="tolerance", fix="give {switch: true}")
        words = []
        for switch, value in sorted(tolerance.items()):
            words += [str(switch)] if value is True else [str(switch), str(value)]
        text = " ".join(words)
        if not has_hole(text):
            Tolerance.parse(text)
        key = props.get("key")
        return cls(url=props["url"], tolerance_text=text, key=str(key) if key else None)

    def to_props(self) -> dict[str, object]:
        """The inputs that `from_props` takes, in canonical form: switches as a map, so that a preview names each."""
        props: dict[str, object] = {"url": self.url, "tolerance": tolerance_map(self.tolerance_text)}
        return props | ({"key": self.key} if self.key else {})


def tolerance_map(text: str) -> dict[str, object]:
    """`--only_for_testing-debug -G --mrenclave aa` → `{switch: True, "--mrenclave": "aa"}`. Raises TrustError."""
    words, found = text.split(), {}
    while words:
        switch = words.pop(0)
        found[switch] = words.pop(0) if words and not words[0].startswith("-") else True
    return dict(sorted(found.items()))
