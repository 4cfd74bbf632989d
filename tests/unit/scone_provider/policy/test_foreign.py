"""Whose values a refresh finds: those of a state, as the engine's wire brings them, are this stack's own."""

from scone_provider.policy.foreign import foreign_places, known_values


def test_numbers_of_a_state_are_known() -> None:
    """A state's numbers come as floats, CAS's as they were written; another number is somebody else's."""
    known = known_values({"policy": {"name": "a", "secrets": {"pw": {"kind": "ascii", "size": 20.0}}}})
    stored = {"name": "a", "secrets": {"pw": {"kind": "ascii", "size": 20}}}
    assert foreign_places(stored, known) == {}
    stored["secrets"] = {"pw": {"kind": "ascii", "size": 21}}
    assert foreign_places(stored, known) == {"secrets": {"pw": {"size": True}}}
