"""`CasTrust`: which CAS, and under which conditions it is trusted; the part that several resources have in common."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from scone_policy.keys.key_hash import is_key_hash
from scone_policy.syntax.holes import has_hole
from scone_provider.cas.tolerance import FOR_TESTING, Tolerance
from scone_provider.errors import TrustError


@dataclass(frozen=True, kw_only=True)
class CasTrust:
    """A CAS's url, tolerated switches (canonical text) and pinned key hash. Url and key may be holes."""

    url: str
    tolerance_text: str = ""
    key: str | None = None

    @classmethod
    def from_props(cls, props: object) -> "CasTrust":
        """From resource inputs `{url, tolerance?: {switch: true|value}, key?}`. Raises TrustError on anything else."""
        if not isinstance(props, Mapping) or not isinstance(props.get("url"), str) or not props["url"]:
            raise TrustError("the url of CAS is missing", where="cas_url", fix="give host or host:port")
        tolerance = props.get("tolerance") or {}
        if not isinstance(tolerance, Mapping):
            raise TrustError("this is not a map of switches", where="tolerance", fix="give {switch: true}")
        words = [str(switch) if value is True else f"{switch}={value}" for switch, value in tolerance.items()]
        key = props.get("key")
        if key and not has_hole(key) and not is_key_hash(str(key)):
            raise TrustError(
                "this is no key hash", where="cas_key", fix="copy it from `scone cas show-identification -c`, whole"
            )
        return cls(
            url=props["url"], tolerance_text=str(parse_tolerance(shlex.join(words))), key=str(key) if key else None
        )

    @property
    def testing_switches(self) -> tuple[str, ...]:
        """The switches that are only for testing."""
        return testing_switches(self.tolerance_text)

    def to_props(self) -> dict[str, object]:
        """The inputs that `from_props` takes, in canonical form: switches as a map, so that a preview names each."""
        props: dict[str, object] = {"url": self.url, "tolerance": tolerance_map(self.tolerance_text)}
        return props | ({"key": self.key} if self.key else {})


def parse_tolerance(text: str) -> Tolerance:
    """The switches in a text, which must be known. Raises TrustError."""
    if has_hole(text):
        raise TrustError("an Output cannot stand here", where="tolerance", fix="give the switches as plain text")
    return _parsed(text)


@lru_cache(maxsize=64)
def _parsed(text: str) -> Tolerance:
    """Every policy of a program names the switches of the same few CASes."""
    return Tolerance.parse(text)


def testing_switches(text: str) -> tuple[str, ...]:
    """The switches in a text that are only for testing. Raises TrustError."""
    return tuple(switch for switch, _ in parse_tolerance(text).switches if switch in FOR_TESTING)


def tolerance_map(text: str) -> dict[str, object]:
    """`--only_for_testing-debug -G --mrenclave aa` → `{switch: True, "--mrenclave": "aa"}`. Raises TrustError."""
    return {switch: value or True for switch, value in parse_tolerance(text).switches}
