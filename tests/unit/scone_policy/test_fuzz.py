"""Input of every sort gives a session or a PolicyError, never another exception."""

from contextlib import suppress
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_policy import PolicyError, parse
from support.policy_strategies import wire_sessions

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["ANY", "*", "\x00"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "any", "mrenclave", "session", "value", "path", "x"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into the tree, deep."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [found for key, value in items for found in [(*path, key), *_places(value, (*path, key))]]


@settings(max_examples=300)
@given(wire_sessions(), st.data(), JSON)
def test_any_value_anywhere(session: dict[str, Any], data: st.DataObject, value: Any) -> None:
    """A valid session with anything at any place: taken, or refused in words; what is taken can be written and read."""
    *parents, last = data.draw(st.sampled_from(_places(session)))
    node: Any = session
    for step in parents:
        node = node[step]
    node[last] = value
    with suppress(PolicyError):
        found = parse(session)
        assert parse(found.canonical()).canonical() == found.canonical()
        assert parse(found.wire()).canonical() == found.canonical()


@given(wire_sessions(), st.data())
def test_any_edit_of_the_text(session: dict[str, Any], data: st.DataObject) -> None:
    """A valid document with a piece cut out or put in: taken, or refused in words."""
    text = yaml.safe_dump(session)
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(len(text), at + 20)))
    put = data.draw(st.text(alphabet=":-[]{}&*!'\"|>% \n\tax0", max_size=4))
    with suppress(PolicyError):
        parse(text[:at] + put + text[end:], file="f.yaml")
