"""Where secrets stand in a canonical form: given values, keys of file systems, tokens, passwords."""

import re
from collections.abc import Mapping

from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.placeholders import is_reference


def secret_paths(canonical: Mapping[str, object]) -> list[tuple[str, ...]]:
    """The paths in a canonical form whose values are secrets: given values, file-system keys, tokens, passwords.

    Markers, placeholders and values that are not known yet are no secrets.
    """
    found = [
        (section, name, *path)
        for section, paths in _SECRET_PATHS.items()
        for name, entry in _entries_of(canonical, section)
        for path in paths
        if is_explicit_secret(_value_at(entry, path), path[-1])
    ]
    security = canonical.get("security")
    paths = (("service_access_token",), ("attestation", "one_time_password_shared_secret"))
    return [
        *found,
        *(("security", *path) for path in paths if is_explicit_secret(_value_at(security, path), path[-1])),
    ]


_SECRET_PATHS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "secrets": (("value",), ("value_json",), ("application_secret",), ("private_key",)),
    "services": (("fspf_key",), ("one_time_password_shared_secret",)),
    "volumes": (("fspf_key",),),
}


def _entries_of(canonical: Mapping[str, object], section: str) -> list[tuple[str, object]]:
    entries = canonical.get(section)
    return list(entries.items()) if isinstance(entries, Mapping) else []


def _value_at(tree: object, path: tuple[str, ...]) -> object:
    for step in path:
        tree = tree.get(step) if isinstance(tree, Mapping) else None
    return tree


def is_explicit_secret(value: object, key: str) -> bool:
    """True when a value that may stand under a key of `secret_paths` is a secret itself, and not a word for one."""
    if not isinstance(value, str):
        return False
    if key == "fspf_key":
        return re.fullmatch("[0-9a-fA-F]{64}", value) is not None
    if key == "private_key":
        return value.lstrip().startswith("-----")
    return key in ("value", "value_json") or not (is_reference(value) or has_hole(value))
