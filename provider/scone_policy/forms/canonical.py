"""The small arts of the canonical form: JSON bytes, short digests as keys, alternatives as maps."""

import hashlib
import json
from collections.abc import Iterable, Mapping

from scone_policy.syntax.holes import has_hole

ELSEWHERE = "cas"
"""In the canonical form: the receivers of this name on other CASes, by short digest."""

NO_SECRETS = "none"


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no white space, non-ASCII characters as they are."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def short_digest(value: object) -> str:
    """First 8 hex digits of SHA-256 over the canonical JSON: a key for an alternative that has no name."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:8]


def keyed(values: Iterable[object]) -> dict[str, object]:
    """Alternatives as a map by short digest; those that are not known yet are numbered instead."""
    found: dict[str, object] = {}
    for number, value in enumerate(values):
        found[f"unknown-{number}" if has_hole(value) else short_digest(value)] = value
    return dict(sorted(found.items()))


def present(**parts: object) -> dict[str, object]:
    """The parts that say something: None, empty maps and lists are left out, so that defaults have one spelling."""
    return {key: value for key, value in parts.items() if value is not None and value not in ({}, [], ())}


def ordered(tree: object) -> object:
    """The same maps with their keys sorted, deep."""
    if isinstance(tree, Mapping):
        return {key: ordered(tree[key]) for key in sorted(tree)}
    return tree
