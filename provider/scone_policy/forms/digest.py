"""One hash that stands for a policy in pod templates and previews, and gives nothing of its secrets away."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from scone_policy.forms.canonical import canonical_json
from scone_policy.forms.secret_paths import secret_paths


def policy_digest(canonical: Mapping[str, Any], *, secret: Callable[[str], str]) -> str:
    """SHA-256 (hex) over the canonical JSON, in which `secret(value)` stands for each explicit secret value.

    `secret` must be keyed (an HMAC): a plain hash of a short secret can be guessed.
    """
    return hashlib.sha256(canonical_json(masked(canonical, secret=secret)).encode()).hexdigest()


def masked(canonical: Mapping[str, Any], *, secret: Callable[[str], Any]) -> dict[str, Any]:
    """The canonical form with `secret(value)` in the place of each explicit secret value."""
    found: dict[str, Any] = dict(canonical)
    for path in secret_paths(canonical):
        found = _replaced(found, path, secret)
    return found


def without_private(tree: Any, private: object, *, secret: Callable[[str], Any]) -> Any:  # noqa: ANN401
    """`tree` with `secret(text)` for each text that `private` names: nested maps that end in True, for all below it."""
    if private is True and isinstance(tree, str):
        return secret(tree)
    if isinstance(tree, Mapping) and (private is True or isinstance(private, Mapping)):
        below = (lambda _: True) if private is True else private.get
        return {key: without_private(value, below(key), secret=secret) for key, value in tree.items()}
    return tree


def _replaced(tree: Mapping[str, Any], path: tuple[str, ...], secret: Callable[[str], Any]) -> dict[str, Any]:
    first, *rest = path
    inner = tree[first]
    return {**tree, first: _replaced(inner, tuple(rest), secret) if rest else secret(inner)}
