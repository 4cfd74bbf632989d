"""Placeholders `$$SCONE::name:suffix$$`: where they stand in a text and what they ask for (section 3)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PLACEHOLDER = re.compile(r"\$\$SCONE::(.*?)\$\$", re.DOTALL)
_INNER = re.compile(r"(?P<name>[A-Za-z0-9_\-.~]{1,128})(?P<suffix>(?::[A-Za-z0-9\-]+)*)(?P<escape>\|escape\(json\))?")

SUFFIXES: Mapping[str, frozenset[str]] = {
    "ascii": frozenset({""}),
    "binary": frozenset({"", ":bin", ":hex", ":base64", ":base64url", ":base32", ":base32nopad"}),
}
_OLD_SUFFIXES: Mapping[str, Mapping[str, str]] = {"binary": {".hex": ":hex"}}


@dataclass(frozen=True, kw_only=True)
class Placeholder:
    """One placeholder: the secret's name as written, the suffix with its colon, whether JSON escaping is asked for."""

    name: str
    suffix: str = ""
    escape_json: bool = False


def parts(text: str) -> list[str | Placeholder]:
    """The text as pieces: strings and placeholders in turn, empty strings left out.

    Raises ValueError when something between `$$SCONE::` and `$$` is not a placeholder, or is not closed.
    """
    found: list[str | Placeholder] = []
    end = 0
    for match in _PLACEHOLDER.finditer(text):
        inner = _INNER.fullmatch(match.group(1))
        if inner is None:
            raise ValueError("a placeholder must look like $$SCONE::name$$ or $$SCONE::name:suffix$$")
        found += [text[end : match.start()]] if match.start() > end else []
        found.append(Placeholder(name=inner["name"], suffix=inner["suffix"], escape_json=inner["escape"] is not None))
        end = match.end()
    rest = text[end:]
    if "$$SCONE::" in rest:
        raise ValueError("a placeholder is not closed by $$")
    return [*found, rest] if rest else found


def resolve(placeholder: Placeholder, kinds: Mapping[str, str | None]) -> tuple[str, str]:
    """The secret that is meant and the suffix, old spellings (`name.hex`) included; `kinds` maps secrets to kinds.

    A kind of None means that it is not known here (an imported secret): then any suffix passes. Raises ValueError when
    no such secret exists or the suffix does not fit its kind.
    """
    name, suffix = placeholder.name, placeholder.suffix
    if name not in kinds and not suffix:
        for kind, spellings in _OLD_SUFFIXES.items():
            for old, new in spellings.items():
                base = name.removesuffix(old)
                if base != name and kinds.get(base) == kind:
                    name, suffix = base, new
    if name not in kinds:
        raise ValueError(f"the placeholder $$SCONE::{placeholder.name}$$ names no secret of this session")
    known = kinds[name]
    if known is not None and suffix not in SUFFIXES.get(known, frozenset()):
        allowed = ", ".join(sorted(item for item in SUFFIXES.get(known, frozenset()) if item)) or "no suffix"
        raise ValueError(f"the suffix {suffix} does not fit the {known} secret {name}: it takes {allowed}")
    return name, suffix
