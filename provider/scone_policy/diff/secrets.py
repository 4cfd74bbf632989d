"""Differences of secrets, and what each means for who knows them."""

from collections.abc import Mapping
from typing import Any

from scone_policy.diff.change import Change, Trust
from scone_policy.diff.leaves import (
    EMPTY,
    Map,
    Path,
    Verdict,
    by_key,
    change_at,
    event,
    leaves,
)
from scone_policy.diff.sharing import IMPORT_BEGINS, IMPORT_ENDS, export_verdict, import_verdict


def secret_differences(path: Path, before: Map, after: Map) -> list[Change]:
    """The changes of one secret that is in both policies."""
    found: list[Change] = []
    for key in sorted({*before, *after}):
        here, old, new = (*path, key), before.get(key), after.get(key)
        if key == "export":
            found += by_key(here, old or EMPTY, new or EMPTY, export_verdict)
        elif key == "import":
            found += _imported(here, old, new)
        elif key in ("value", "value_json"):
            found += change_at(here, old, new, _value_verdict(old, new))
        elif key == "export_public":
            words = "everyone may read it, here and on other CASes"
            found += change_at(here, old, new, (Trust.WIDENS, words) if new else (Trust.NARROWS, "no longer public"))
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            found += leaves(here, old, new)
        else:
            found += change_at(here, old, new, _secret_verdict(key, before, after))
    return found


def _imported(path: Path, before: Any, after: Any) -> list[Change]:  # noqa: ANN401
    if before is None or after is None:
        return change_at(path, before, after, (Trust.CHANGES, IMPORT_BEGINS if before is None else IMPORT_ENDS))
    return by_key(path, before, after, import_verdict)


def _value_verdict(before: object, after: object) -> Verdict:
    if before is None:
        return Trust.WIDENS, "given instead of generated: whoever writes the policy knows it"
    if after is None:
        return Trust.NARROWS, "generated inside CAS from now on"
    return Trust.CHANGES, "another value"


def _secret_verdict(key: str, before: Map, after: Map) -> Verdict:
    generated = "value" not in after and "import" not in after
    if key in ("kind", "size", "key_type") and generated:
        return Trust.CHANGES, "CAS generates a new value, the old one is lost"
    if key == "migrate" and generated:
        kept = (
            "from the next version on the key is kept" if after.get("migrate") else "no version keeps the key any more"
        )
        return Trust.CHANGES, f"{kept}; this one makes it anew"
    return Trust.CHANGES, event(before.get(key), after.get(key))
