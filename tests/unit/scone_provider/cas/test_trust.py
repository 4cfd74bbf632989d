"""`CasTrust`: how a CAS is named and under which conditions it is trusted."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_policy.keys.key_hash import encode_key_hash
from scone_policy.syntax.holes import Holes
from scone_provider.cas.tolerance import Tolerance
from scone_provider.cas.trust import CasTrust, parse_tolerance, tolerance_map
from scone_provider.errors import TrustError

KEY_HASH = encode_key_hash(bytes(range(32)))
FLAGS = [
    "--only_for_testing-debug",
    "--only_for_testing-ignore-signer",
    "--only_for_testing-trust-any",
    "-C",
    "-G",
    "-S",
]
SWITCHES = st.fixed_dictionaries(
    {},
    optional={flag: st.just(True) for flag in FLAGS}
    | {"--mrenclave": st.binary(min_size=32, max_size=32).map(bytes.hex), "--isvsvn": st.integers(0, 65535).map(str)},
)


@given(SWITCHES)
def test_inputs_survive_the_way_through_state(switches: dict[str, Any]) -> None:
    """`from_props` and `to_props` are inverse: what check stores is what create reads."""
    props = {"url": "cas.default", "tolerance": switches, "key": KEY_HASH}
    trust = CasTrust.from_props(props)
    assert trust.to_props() == props
    assert CasTrust.from_props(trust.to_props()) == trust


@given(SWITCHES)
def test_map_and_text_say_the_same(switches: dict[str, Any]) -> None:
    """The Meshfile's text and the map that a preview shows are one tolerance."""
    text = CasTrust.from_props({"url": "cas", "tolerance": switches}).tolerance_text
    assert tolerance_map(text) == switches
    assert str(Tolerance.parse(text)) == text


def test_spelling_and_order_make_no_difference() -> None:
    """Long spellings, short ones together, another order: the same canonical text."""
    forms = ("-C -G -S", "-SGC", "--accept-group-out-of-date -S --accept-configuration-needed")
    assert {str(parse_tolerance(form)) for form in forms} == {"-C -G -S"}


@pytest.mark.parametrize("props", [None, "cas", [], {}, {"url": ""}, {"url": 5}, {"tolerance": {}}])
def test_a_url_must_be_there(props: object) -> None:
    """Without a url nothing is trusted, whatever else was given."""
    with pytest.raises(TrustError, match="url of CAS is missing"):
        CasTrust.from_props(props)


def test_a_pin_must_be_a_key_hash() -> None:
    """A damaged pin is an error, never a pin that is ignored; its text is not repeated."""
    with pytest.raises(TrustError, match="cas_key: this is no key hash") as caught:
        CasTrust.from_props({"url": "cas", "key": KEY_HASH[:-1] + "x"})
    assert KEY_HASH[:-1] not in str(caught.value)


def test_unknown_values_pass_where_they_may() -> None:
    """Url and pin may be known later; switches may not, because a preview must show what is tolerated."""
    hole = Holes().punch("later")
    trust = CasTrust.from_props({"url": hole, "tolerance": {"-G": True}, "key": hole})
    assert (trust.url, trust.key) == (hole, hole)
    with pytest.raises(TrustError, match="an Output cannot stand here"):
        parse_tolerance(f"-G {hole}")


def test_a_switch_that_is_off_is_no_switch() -> None:
    """`{"-G": False}` is refused: it would be read as on by whoever skims the program."""
    with pytest.raises(TrustError, match="-G takes no value"):
        CasTrust.from_props({"url": "cas", "tolerance": {"-G": False}})


def test_a_value_cannot_bring_switches_along() -> None:
    """The value of one switch is that value: it cannot smuggle in another switch."""
    with pytest.raises(TrustError):
        CasTrust.from_props({"url": "cas", "tolerance": {"--isvsvn": "1 --only_for_testing-debug"}})
