"""Whom CREATOR means once somebody else uploads, and who has a right whatever happens."""

from datetime import UTC, datetime

import pytest

from scone_policy.model.access import AccessPolicy
from scone_policy.rules.creator import held_as_creator, may_update_by_name, other_updaters
from scone_policy.syntax.holes import Holes
from scone_provider.cas.identity import Identity

US, THEM = (Identity.create(common_name=name, now=datetime(2026, 1, 1, tzinfo=UTC)) for name in ("us", "them"))
OWN, OTHER = US.key_hash, THEM.key_hash
HOLE = Holes().punch("a key that is known later, and may be OWN")


@pytest.mark.parametrize(
    ("policy", "rights", "others"),
    [
        ({}, ("read", "update"), ()),
        ({"update": ["CREATOR", OTHER], "read": ["CREATOR", OTHER]}, ("read", "update"), (OTHER,)),
        ({"update": [OWN, OTHER], "read": [OWN]}, (), (OTHER,)),
        ({"update": [US.certificate_pem, OTHER], "read": [OWN]}, (), (OTHER,)),
        ({"update": [OWN, OTHER]}, ("read",), (OTHER,)),
        ({"update": ["CREATOR", OWN], "read": ["CREATOR", OWN]}, (), ()),
        ({"update": ["CREATOR", THEM.certificate_pem], "read": ["ANY"]}, ("update",), (OTHER,)),
        ({"update": ["ANY"], "read": ["CREATOR"]}, ("read",), ("ANY",)),
        ({"update": [{"require-all": ["CREATOR", OTHER]}], "read": [OWN]}, ("update",), (OTHER,)),
        ({"update": [{"require-at-least-1": [OWN, "CREATOR"]}], "read": [OWN]}, ("update",), ()),
        ({"update": [OWN, OTHER], "read": [OWN], "create_sessions": ["CREATOR"]}, ("create_sessions",), (OTHER,)),
        ({"update": ["CREATOR", "$$SCONE::who$$"], "read": [OWN]}, ("update",), ("$$SCONE::who$$",)),
        ({"update": ["NONE"], "read": ["CREATOR"]}, ("read",), ()),
        ({"update": ["CREATOR", HOLE], "read": ["CREATOR"]}, ("read",), ()),
        ({"update": ["CREATOR", OTHER], "read": ["CREATOR", HOLE]}, ("update",), (OTHER,)),
    ],
)
def test_rights_that_move(policy: dict[str, object], rights: tuple[str, ...], others: tuple[str, ...]) -> None:
    """A right is safe where the key stands by itself, as hash or certificate; a rule over several is no such place."""
    found = AccessPolicy.model_validate(policy)
    assert held_as_creator(found, OWN) == rights
    assert other_updaters(found, OWN) == others


def test_a_fragment_hides_who_is_meant() -> None:
    """What a secret decides cannot be judged here: no right is called safe, none is called lost."""
    found = AccessPolicy.model_validate("$$SCONE::policy$$")
    assert held_as_creator(found, OWN) == ()
    assert other_updaters(found, OWN) == ()
    assert not may_update_by_name(found, OWN)


def test_the_way_back() -> None:
    """Who stands by name may upload whoever CREATOR is."""
    assert may_update_by_name(AccessPolicy.model_validate({"update": ["CREATOR", OWN]}), OWN)
    assert not may_update_by_name(AccessPolicy.model_validate({"update": ["CREATOR", OTHER]}), OWN)
