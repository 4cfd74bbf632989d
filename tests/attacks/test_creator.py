"""Somebody wants to be CREATOR of a session that another made (docs/adr/018)."""

import pytest

import scone_policy
from scone_provider.cas.client import CasClient
from scone_provider.cas.errors import CasConflict, CasForbidden
from scone_provider.policy.state import creator_key


def session(name: str, *updaters: str) -> dict[str, object]:
    """A session that everybody may read, and these may update."""
    return {"name": name, "version": "0.3.10", "access_policy": {"read": ["ANY"], "update": list(updaters)}}


def put(client: CasClient, document: dict[str, object], predecessor: str | None = None) -> str:
    """Uploads it."""
    return client.upload(scone_policy.parse(document).wire(predecessor=predecessor))


def creator(client: CasClient, name: str) -> str | None:
    """Whom CREATOR means now."""
    found = client.read(name)
    assert found is not None
    return creator_key(found.parsed())


def test_the_same_text_by_somebody_who_may_not_update(cas, ann, bob, name) -> None:
    """It moves nothing: no version, no CREATOR; nor do bytes that were sent before, sent once more."""
    document = session(name, "CREATOR")
    first = put(cas.client(ann), document)
    second = put(cas.client(ann), document, first)
    with pytest.raises(CasForbidden):
        put(cas.client(bob), document, second)
    for who in (ann, bob):
        for predecessor in (None, first):
            with pytest.raises((CasConflict, CasForbidden)):
                put(cas.client(who), document, predecessor)
    assert creator(cas.client(ann), name) == ann.key_hash
    assert [version.hash for version in cas.client(ann).history(name)] == [second, first]


def test_the_same_text_by_another_updater_and_the_way_back(cas, ann, bob, name) -> None:
    """It is a version, and CREATOR is that key: who has rights by CREATOR alone has lost them until the new one names
    him; who is named has them all along, and is CREATOR again by uploading.
    """
    document = session(name, "CREATOR", bob.key_hash)
    first = put(cas.client(ann), document)
    second = put(cas.client(bob), document, first)
    assert second != first
    assert creator(cas.client(ann), name) == bob.key_hash
    with pytest.raises(CasForbidden):
        put(cas.client(ann), document, second)
    named = session(name, "CREATOR", ann.key_hash, bob.key_hash)
    third = put(cas.client(bob), named, second)
    fourth = put(cas.client(ann), named, third)
    assert creator(cas.client(ann), name) == ann.key_hash
    put(cas.client(bob), named, fourth)
    last = cas.client(ann).read(name)
    put(cas.client(ann), named, last.hash)
    assert creator(cas.client(ann), name) == ann.key_hash
