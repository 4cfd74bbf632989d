"""Access policy of a session: who may read it, replace it, and create sessions below it (section 6)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from pydantic import PlainValidator, ValidationError, model_validator

from scone_policy.errors import RuleError
from scone_policy.forms.canonical import canonical_json, present, short_digest
from scone_policy.keys import pem
from scone_policy.keys.key_hash import is_key_hash
from scone_policy.model.sets import elements
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.nearest import nearest_word
from scone_policy.syntax.placeholders import OPENING, is_reference, parts
from scone_policy.syntax.problems import problems_of, refusal
from scone_policy.syntax.scalars import Model, by_reference, nearest, text

CREATOR, ANY, NONE = "CREATOR", "ANY", "NONE"
ALL, AT_LEAST, SIGNER = "require-all", "require-at-least-", "signer"

_KEY_HASH = re.compile("[1-9A-HJ-NP-Za-km-z]{40,60}")
_RULE = re.compile(f"{ALL}|{AT_LEAST}(?P<least>[1-9][0-9]{{0,3}})")
_MAX_NESTING = 8
_ENTRY = "Write one entry a line: `- CREATOR`."


@dataclass(frozen=True)
class SessionSigner:
    """Whoever can sign a session with this key: SubjectPublicKeyInfo as PEM, or a reference."""

    key: str

    def canonical(self) -> dict[str, object]:
        """As on the wire."""
        return {SIGNER: self.key}


@dataclass(frozen=True, kw_only=True)
class Require:
    """A governance rule: at least `least` of the entries must agree; None means all of them."""

    least: int | None
    entries: "tuple[Entry, ...]"

    @property
    def word(self) -> str:
        """The key on paper."""
        return ALL if self.least is None else f"{AT_LEAST}{self.least}"

    def canonical(self) -> dict[str, object]:
        """As on the wire, with the entries as a map."""
        return {self.word: entry_map(self.entries)}


Entry = str | SessionSigner | Require
"""CREATOR, ANY, NONE, a key hash, a PEM certificate, a placeholder; a signer; a rule over entries."""


def entry_of(value: object, depth: int = 0) -> Entry:
    """One entry from plain data, `depth` rules deep. Raises ValueError with the rule that it breaks."""
    if isinstance(value, Mapping):
        return _structured(value, depth)
    found = text(value).strip()
    if has_hole(found) or found in (CREATOR, ANY, NONE) or is_key_hash(found):
        return found
    if found.startswith(OPENING):
        if is_reference(found):
            return found
        parts(found)
        raise RuleError(
            "an entry must be one placeholder and nothing else", fix="Make an entry of it: `- $$SCONE::name$$`."
        )
    if _KEY_HASH.fullmatch(found):
        raise _no_key_hash(found)
    if found.startswith("-----BEGIN CERTIFICATE"):
        ders = pem.blocks(found, pem.CERTIFICATE)
        if len(ders) != 1:
            raise RuleError(
                "an entry must be one certificate, not several", fix="Make an entry of each, the person's own alone."
            )
        return pem.armour(pem.CERTIFICATE, ders[0])
    raise RuleError(
        "each entry must be CREATOR, ANY, NONE, a certificate's key hash, a PEM certificate, a placeholder, or a map "
        "with signer, require-all or require-at-least-N",
        fix=_meant(found),
    )


def _meant(found: str) -> str:
    near = nearest_word(found, (CREATOR, ANY, NONE, ALL, SIGNER))
    if near in (ALL, SIGNER):
        return f"Make a map of it: `- {near}: …`."
    if near is not None:
        return f"Did you mean {near}?"
    return "Give the key hash that `pulumi-scone identity create` prints, or the certificate itself."


def _no_key_hash(found: str) -> RuleError:
    try:
        pem.signer(found)
    except ValueError:
        return RuleError("looks like a key hash, but its checksum is wrong", fix="Copy it again, whole.")
    return RuleError("is the key of a session signer: write it as `signer: …`", fix="Write `- signer: <the key>`.")


def _structured(value: Mapping[Any, object], depth: int) -> Entry:
    if len(value) != 1:
        names = ", ".join(sorted(str(key) for key in value)) or "none"
        raise RuleError(
            f"an entry that is a map must have one key (signer, require-all, require-at-least-N), not {names}",
            fix="Make an entry of each key.",
        )
    ((word, inner),) = value.items()
    if word == SIGNER:
        return SessionSigner(pem.signer(inner))
    match = _RULE.fullmatch(str(word))
    if match is None:
        raise RuleError(
            f"unknown entry {str(word)[:40]}: must be signer, require-all or require-at-least-N",
            fix=nearest(str(word)[:40], (SIGNER, ALL, f"{AT_LEAST}2")),
        )
    if depth >= _MAX_NESTING:
        raise RuleError(f"rules are nested deeper than {_MAX_NESTING} levels", fix="Write them with fewer levels.")
    entries = _inner(str(word), inner, depth + 1)
    if not entries:
        raise RuleError(f"{word} must not be empty", fix="List who must agree under it.")
    if {ANY, NONE} & {entry for entry in entries if isinstance(entry, str)}:
        raise RuleError(f"ANY and NONE must stand alone, not in {word}", fix="Leave them out of the rule.")
    least = int(match["least"]) if match["least"] else None
    fixed = not any(isinstance(entry, str) and (is_reference(entry) or has_hole(entry)) for entry in entries)
    if least is not None and least > len(entries) and fixed:
        raise RuleError(
            f"{word} has only {len(entries)} different entries: nobody could ever satisfy it",
            fix=f"Name {least} different ones, or ask for fewer.",
        )
    return Require(least=least, entries=entries)


def _inner(word: str, value: object, depth: int) -> tuple[Entry, ...]:
    """The entries of a rule; what is wrong with one of them is named below the rule."""
    rule = f"{word} must be a list of entries"
    try:
        return _sorted(elements(value, lambda item: entry_of(item, depth), rule, fix=_ENTRY))
    except ValidationError as error:
        raise refusal(*(replace(problem, path=(word, *problem.path)) for problem in problems_of(error))) from None


def _sort_key(entry: Entry) -> tuple[int, str]:
    return (0, entry) if isinstance(entry, str) else (1, canonical_json(entry.canonical()))


def _sorted(entries: "Sequence[Entry] | Any") -> tuple[Entry, ...]:  # noqa: ANN401 - any iterable
    return tuple(sorted(set(entries), key=_sort_key))


def _entries(value: object) -> tuple[Entry, ...] | None:
    """The wire form (a list, or one word) or the canonical form (a map by entry, or by short digest of a long one)."""
    if value is None:
        return None
    if isinstance(value, str):
        value = [value]
    if isinstance(value, Mapping) and len(value) == 1 and _is_structured(value):
        value = [value]
    unique = _sorted(elements(value, entry_of, "must be a list of entries", fix=_ENTRY))
    if not unique:
        raise RuleError("must not be empty", fix="Say NONE when nobody may.")
    for alone in (ANY, NONE):
        if alone in unique and len(unique) > 1:
            raise RuleError(f"{alone} must stand alone", fix=f"Leave out {alone}, or all the others.")
    return unique


def _is_structured(value: Mapping[Any, object]) -> bool:
    """True for one entry without its list: `{signer: …}`, `{require-all: [...]}`."""
    ((word, _),) = value.items()
    return word == SIGNER or _RULE.fullmatch(str(word)) is not None


def _plain(read: Callable[[object], tuple[Entry, ...] | None]) -> Callable[[object], tuple[Entry, ...] | None]:
    def plain(value: object) -> tuple[Entry, ...] | None:
        found = read(value)
        for entry in found or ():
            if not isinstance(entry, str):
                word = SIGNER if isinstance(entry, SessionSigner) else entry.word
                raise RuleError(
                    f"{word} may stand under update and create_sessions only",
                    fix="Name readers by key hash or certificate.",
                )
        return found

    return plain


def _or_creator(value: object) -> tuple[Entry, ...]:
    return _entries(value) or (CREATOR,)


Entries = Annotated[tuple[Entry, ...], PlainValidator(_or_creator, json_schema_input_type=Any)]
Readers = Annotated[tuple[Entry, ...], PlainValidator(_plain(_or_creator), json_schema_input_type=Any)]
OptionalEntries = Annotated[tuple[Entry, ...] | None, PlainValidator(_entries, json_schema_input_type=Any)]
OptionalReaders = Annotated[tuple[Entry, ...] | None, PlainValidator(_plain(_entries), json_schema_input_type=Any)]


class AccessPolicy(Model):
    """Who may do what; `create_sessions` and `list_sessions` are None where they follow `update` and `read`.

    `reference` stands for a config fragment that holds the whole policy; the other fields then say nothing.
    """

    read: Readers = (CREATOR,)
    update: Entries = (CREATOR,)
    create_sessions: OptionalEntries = None
    list_sessions: OptionalReaders = None
    reference: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_reference(cls, data: object) -> object:
        return by_reference(data, "access_policy")

    @model_validator(mode="after")
    def _nobody(self) -> Self:
        if self.reference is not None:
            for right in ("read", "update", "create_sessions", "list_sessions"):
                object.__setattr__(self, right, (NONE,))
        return self

    @property
    def may_create_sessions(self) -> tuple[Entry, ...]:
        """Who may create sessions in this namespace, the default filled in."""
        return self.update if self.create_sessions is None else self.create_sessions

    @property
    def may_list_sessions(self) -> tuple[Entry, ...]:
        """Who may list the sessions of this namespace, the default filled in."""
        return self.read if self.list_sessions is None else self.list_sessions

    def canonical(self) -> dict[str, object] | str:
        """Map form: entries as keys; what only repeats a default is left out."""
        if self.reference is not None:
            return self.reference
        return present(
            read=entry_map(self.read),
            update=entry_map(self.update),
            create_sessions=None if self.may_create_sessions == self.update else entry_map(self.may_create_sessions),
            list_sessions=None if self.may_list_sessions == self.read else entry_map(self.may_list_sessions),
        )


def entry_map(entries: Sequence[Entry]) -> dict[str, object]:
    """The canonical form of entries: words as keys, certificates, signers and rules by short digest."""
    found: dict[str, object] = {}
    for number, entry in enumerate(entries):
        whole = entry if isinstance(entry, str) else entry.canonical()
        if has_hole(whole):
            found[f"unknown-{number}"] = whole
        elif not isinstance(whole, str) or whole.startswith("-----"):
            found[short_digest(whole)] = whole
        else:
            found[whole] = True
    return found
