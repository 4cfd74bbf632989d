"""Placeholders `$$SCONE::name:suffix$$`: where they stand in a text and what they ask for (section 3)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from scone_policy.errors import RuleError
from scone_policy.syntax.holes import PATTERN, has_hole
from scone_policy.syntax.nearest import nearest_word

OPENING, CLOSING = "$$SCONE::", "$$"
"""What a placeholder begins and ends with."""

_PLACEHOLDER = re.compile(rf"{re.escape(OPENING)}(.*?){re.escape(CLOSING)}", re.DOTALL)
_INNER = re.compile(
    rf"(?P<name>self::[a-z_]+|(?:[A-Za-z0-9_\-.~]|{PATTERN}){{1,128}})"
    rf"(?P<suffix>(?::(?:[A-Za-z0-9\-]|{PATTERN})+)*)(?P<escape>\|escape\(json\))?"
)

DANGLING = "names no secret of this session"
SELF = "self::software_identity"
"""What stands for the measurement of the service that asks; only the payload of a jwt may hold it."""

_PRIVATE_KEY = (":privatekey", ":privatekey:pem", ":privatekey:der", ":privatekey:pkcs8:pem", ":privatekey:pkcs8:der")
OLD_CHAIN = ".chain"
"""The old spelling asks for more than `:chain`: of a leaf, the root first and the certificate itself last."""
_X509 = frozenset({"", ":crt", ":crt:pem", ":crt:der", ":chain", ":pkcs12-with-private-key", OLD_CHAIN, *_PRIVATE_KEY})
SUFFIXES: Mapping[str, frozenset[str]] = {
    "ascii": frozenset({""}),
    "binary": frozenset({"", ":bin", ":hex", ":base64", ":base64url", ":base32", ":base32nopad"}),
    "private-key": frozenset({"", ":pem", ":pkcs8:pem", ":der", ":pkcs8:der"}),
    "public-key": frozenset({"", ":spki:pem", ":spki:der"}),
    "x509": _X509,
    "x509-ca": _X509,
    "aad-token": frozenset({""}),
    "config-fragment": frozenset({""}),
    "pgp-key": frozenset(
        f":{half}:{form}" for half in ("privatekey", "publickey") for form in ("asciiarmored", "binary", "base64")
    ),
    "jwt": frozenset({""}),
}
_OLD_X509 = {".crt": ":crt", ".key": ":privatekey", ".chain": OLD_CHAIN}
_OLD_SUFFIXES: Mapping[str, Mapping[str, str]] = {
    "binary": {".hex": ":hex"},
    "x509": _OLD_X509,
    "x509-ca": _OLD_X509,
}


_X509_TEXT = {
    ":crt:der": ":crt",
    ":privatekey:der": ":privatekey",
    ":privatekey:pkcs8:der": ":privatekey",
    ":pkcs12-with-private-key": ":privatekey",
}
_TEXT_INSTEAD: Mapping[str, Mapping[str, str]] = {
    "binary": {"": ":hex", ":bin": ":hex"},
    "private-key": {":der": ":pem", ":pkcs8:der": ":pkcs8:pem"},
    "public-key": {":spki:der": ":spki:pem"},
    "x509": _X509_TEXT,
    "x509-ca": _X509_TEXT,
    "pgp-key": {f":{half}:binary": f":{half}:base64" for half in ("privatekey", "publickey")},
}


@dataclass(frozen=True, kw_only=True)
class Placeholder:
    """One placeholder: the secret's name as written, the suffix with its colon, whether JSON escaping is asked for."""

    name: str
    suffix: str = ""
    escape_json: bool = False

    @property
    def is_open(self) -> bool:
        """True when a part of it is not known yet."""
        return has_hole(self.name) or has_hole(self.suffix)


def parts(text: str) -> list[str | Placeholder]:
    """The text as pieces: strings and placeholders in turn, empty strings left out.

    Raises ValueError when something between `$$SCONE::` and `$$` is not a placeholder, or is not closed.
    """
    found: list[str | Placeholder] = []
    end = 0
    for match in _PLACEHOLDER.finditer(text):
        inner = _INNER.fullmatch(match.group(1))
        if inner is None:
            raise RuleError(
                "a placeholder must look like $$SCONE::name$$ or $$SCONE::name:suffix$$",
                fix="Write the name of a secret of this session between $$SCONE:: and $$.",
            )
        found += [text[end : match.start()]] if match.start() > end else []
        found.append(Placeholder(name=inner["name"], suffix=inner["suffix"], escape_json=inner["escape"] is not None))
        end = match.end()
    rest = text[end:]
    if OPENING in rest:
        raise RuleError(
            "a placeholder is not closed by $$",
            fix="Add the $$ at its end, and leave out backslashes: those belong to a shell script.",
        )
    return [*found, rest] if rest else found


def is_reference(value: object) -> bool:
    """True for a text that is one placeholder and nothing else."""
    match = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return match is not None and _INNER.fullmatch(match.group(1)) is not None


def resolve(placeholder: Placeholder, kinds: Mapping[str, str | None]) -> tuple[str, str]:
    """The secret that is meant and the suffix, old spellings (`name.hex`) included; `kinds` maps secrets to kinds.

    A kind of None means that it is not known here (an imported secret): then any suffix passes. Raises ValueError when
    no such secret exists or the suffix does not fit its kind.
    """
    name, suffix = placeholder.name, placeholder.suffix
    if name not in kinds and not suffix:
        name, suffix = _modern(name, kinds)
    if name not in kinds:
        raise RuleError(
            f"the placeholder $$SCONE::{placeholder.name}$$ {DANGLING}",
            fix=_nearest(placeholder.name, kinds),
        )
    known = kinds[name]
    if known is not None and suffix not in SUFFIXES.get(known, frozenset()):
        allowed = ", ".join(sorted(item for item in SUFFIXES.get(known, frozenset()) if item)) or "no suffix"
        rule = f"the suffix {suffix} does not fit" if suffix else "a suffix is needed for"
        raise RuleError(
            f"{rule} the {known} secret {name}: it takes {allowed}", fix=f"Write {_example(name, known, suffix)}."
        )
    return name, suffix


def text_form(kind: str, suffix: str) -> str | None:
    """A suffix in whose place text comes, where the given one asks for raw bytes; None when it asks for text itself."""
    return _TEXT_INSTEAD.get(kind, {}).get(suffix)


def _nearest(name: str, kinds: Mapping[str, str | None]) -> str:
    near = nearest_word(name, kinds)
    return (
        f"Did you mean $$SCONE::{near}$$?" if near is not None else "Add the secret under secrets, or correct the name."
    )


def _example(name: str, kind: str, suffix: str) -> str:
    """A placeholder that fits: without a suffix where that is possible, else the nearest one."""
    known = SUFFIXES.get(kind, frozenset())
    near = nearest_word(suffix, sorted(known))
    return f"$$SCONE::{name}{near if near is not None else '' if '' in known else min(known)}$$"


def _modern(name: str, kinds: Mapping[str, str | None]) -> tuple[str, str]:
    for kind, spellings in _OLD_SUFFIXES.items():
        for old, new in spellings.items():
            base = name.removesuffix(old)
            if base != name and base in kinds and kinds[base] in (kind, None):
                return base, new
    return name, ""
