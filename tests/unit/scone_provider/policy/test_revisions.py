"""Revisions side by side in one session: what is written at CAS reads back as what the program says."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scone_policy
from scone_policy.errors import PolicyError
from scone_provider.policy.revisions import Revision, as_written, at_cas, only, private_at_cas, revision_name

_words = st.text("abcxyz019", min_size=1, max_size=6)


@st.composite
def policies(draw: st.DrawFn) -> Mapping[str, Any]:
    """A session with one service, with or without an image of its own beside another one."""
    service: dict[str, Any] = {
        "command": draw(_words),
        "environment": draw(st.dictionaries(_words, _words, max_size=2)),
        "attestation": {"mrenclave": draw(st.sampled_from("0123456789abcdef")) * 64},
    }
    images: dict[str, Any] = {"other": {"injection_files": {"/o": {"content": "o"}}}} if draw(st.booleans()) else {}
    if draw(st.booleans()):
        service["image_name"] = "api"
        images["api"] = {"injection_files": {"/a": {"content": draw(_words)}}}
    session = {"name": "acme/api", "version": "0.3.10", "services": {"api": service}, "images": images}
    return scone_policy.parse(session).canonical()


def named(policy: Mapping[str, Any]) -> str:
    """Its revision."""
    return revision_name(policy, {}, secret=lambda value: f"hmac of {value}")


@given(policies(), policies())
def test_what_cas_has_reads_back(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Beside a kept revision, and through the wire form: without the kept one and under its name it is what it was."""
    kept, revision = Revision.of(old, named(old)), named(new)
    stored = scone_policy.parse(scone_policy.parse(at_cas(new, revision, kept)).wire()).canonical()
    assert set(stored["services"]) == {kept.name, revision}  # type: ignore[call-overload]
    assert as_written(stored, new, revision, kept) == new
    alone = only(scone_policy.parse(stored), revision).canonical()
    assert alone == scone_policy.parse(at_cas(new, revision)).canonical()
    assert as_written(alone, new, revision, None) == new


@given(policies(), policies())
def test_revisions_are_equal_when_their_entries_are(one: Mapping[str, Any], two: Mapping[str, Any]) -> None:
    """The name depends on the service's entry and its image, and on nothing else of the session."""

    def said(policy: Mapping[str, Any]) -> object:
        return policy["services"], policy.get("images", {}).get("api")

    assert (named(one) == named(two)) == (said(one) == said(two))
    assert named({**one, "security": {"attestation": {"mode": "none"}}}) == named(one)


@given(policies())
def test_state_keeps_a_revision_whole(policy: Mapping[str, Any]) -> None:
    """What goes into state as text comes back, and its secrets are in no representation."""
    kept = Revision.of(policy, named(policy))
    assert Revision.of_json(kept.to_json()) == kept
    assert repr(kept) == f"Revision(name={kept.name!r})"
    assert Revision.of_json(None) is None


@given(policies(), policies())
def test_changed_kept_revision_shows(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Only a kept revision that is as this stack wrote it is left out; a changed one stands there as drift."""
    kept, revision = Revision.of(old, named(old)), named(new)
    stored = at_cas(new, revision, kept)
    if kept.name != revision:
        stored["services"][kept.name] = {**stored["services"][kept.name], "command": "evil"}
        assert as_written(stored, new, revision, kept)["services"][kept.name]["command"] == "evil"


def test_private_texts_follow_their_service() -> None:
    """Secret variables are told under the revision's name by nobody, and nothing of a kept revision is."""
    policy = scone_policy.parse(
        {"name": "a", "version": "0.3.10", "services": {"api": {"attestation": {"mrenclave": "ab" * 32}}}}
    ).canonical()
    private = {"services": {"api": {"environment": {"X": True}}}}
    found = private_at_cas(private, "api", "api-2", Revision.of(policy, "api-1"))
    assert found["services"] == {"api-2": {"environment": {"X": True}}, "api-1": True}


@pytest.mark.parametrize("count", [0, 2])
def test_one_service_only(count: int) -> None:
    """A session of several services, or of none, has no revisions: a clear refusal."""
    services = {f"s{number}": {"attestation": {"mrenclave": "ab" * 32}} for number in range(count)}
    policy = scone_policy.parse({"name": "a", "version": "0.3.10", "services": services}).canonical()
    with pytest.raises(PolicyError, match=f"has one service, this one has {count}"):
        named(policy)
