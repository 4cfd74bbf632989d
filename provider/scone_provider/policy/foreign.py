"""Values that somebody else wrote into a policy: secrets in state and in texts, until the program says them in clear.

Another writer may have put a password into a variable, a command line, a file or a token's payload. Only what this
stack itself stated in clear is known to be plain.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scone_policy.diff.leaves import Hidden
from scone_policy.forms.canonical import canonical_json
from scone_policy.forms.digest import masked
from scone_provider.policy.properties import Props, policy_of, private_of

FOREIGN = "foreign"
"""In outputs: where a refresh found values that are not this stack's; nested maps that end in true."""
_PLAIN = (
    ("name",),
    ("version",),
    ("namespace_hash",),
    ("access_policy",),
    ("security", "attestation"),
    ("secrets", "*", "kind"),
    ("services", "*", "attestation"),
    ("services", "*", "fspf_key"),
    ("services", "*", "fspf_tag"),
)
"""Places that hold words of the language, keys and digests alone: what decides on trust stays readable."""

Places = Mapping[str, object]


def known_values(props: Props) -> frozenset[str]:
    """Every value that this stack stated in clear: what stands in its state anyway, wherever it stands."""
    own: Any = masked(policy_of(props), secret=Hidden)
    for places in (private_of(props), places_of(props)):
        own = hidden(own, places)
    return frozenset(_compared(leaf) for _, leaf in _leaves(own, ()) if not isinstance(leaf, Hidden))


def places_of(props: Props) -> Places:
    """Where a refresh before found values of somebody else."""
    found = props.get(FOREIGN)
    return found if isinstance(found, Mapping) else {}


def foreign_places(canonical: Mapping[str, Any], known: frozenset[str]) -> dict[str, object]:
    """Where a policy has values that are not `known`, as nested maps that end in True."""
    found: dict[str, Any] = {}
    for path, leaf in _leaves(canonical, ()):
        if not isinstance(leaf, bool | None) and not _is_plain(path) and _compared(leaf) not in known:
            place = found
            for step in path[:-1]:
                place = place.setdefault(step, {})
            place[path[-1]] = True
    return found


def replaced(tree: Any, places: object, by: Callable[[Any], object]) -> Any:  # noqa: ANN401  any part of a policy
    """`tree` with `by(value)` for each value at one of `places`."""
    if isinstance(tree, Mapping):
        below = places if isinstance(places, Mapping) else dict.fromkeys(tree, places is True)
        return {key: replaced(value, below.get(key), by) for key, value in tree.items()}
    return by(tree) if places is True and not isinstance(tree, bool | None) else tree


def hidden(tree: Any, places: object) -> Any:  # noqa: ANN401  as above
    """The same for texts: what stands there is compared, and never shown."""
    return replaced(tree, places, lambda leaf: Hidden(leaf if isinstance(leaf, str) else canonical_json(leaf)))


def _leaves(tree: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, (*path, key))
    elif path:
        yield path, tree


def _compared(leaf: object) -> str:
    """A value as text; the engine's wire knows floats only, so 20.0 from a state is the program's 20."""
    return canonical_json(int(leaf) if isinstance(leaf, float) and leaf.is_integer() else leaf)


def _is_plain(path: tuple[str, ...]) -> bool:
    return any(
        len(path) >= len(plain) and all(word in ("*", step) for word, step in zip(plain, path, strict=False))
        for plain in _PLAIN
    )
