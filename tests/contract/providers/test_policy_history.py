"""Refresh and conflict: what others did to a policy since this stack last wrote it, against a real CAS."""

import json
from typing import Any

import grpc
import pytest

from scone_provider.errors import TrustError
from scone_provider.policy.history import walk
from support.policy_stack import PolicyStack, policy, put
from support.real_cas import RealCas


def test_refresh_names_who_changed_what(stack: PolicyStack, theirs, wanted, bob, stored) -> None:
    """Every version since ours is told with its hash, its author and its changes by path; drift shows by path."""
    stack.up(wanted())
    changed = theirs(wanted(user="mallory"))
    text = stack.refresh()
    assert f"{changed}, written by {bob.key_hash}:" in text
    assert '~ services.api.environment.USER: "myself" → [secret]' in text
    assert stack.state is not None
    assert stack.state["hash"] == changed
    assert stack.preview(wanted()) == {"policy", "digest", "changed_elsewhere"}
    stack.up(wanted())
    assert stack.preview(wanted()) == set()
    assert len(stored()) == 3


def test_what_was_changed_back_is_told_too(stack: PolicyStack, theirs, wanted, bob, stored) -> None:
    """Two versions that end where ours was: both are told; the next up takes note of it and uploads nothing."""
    stack.up(wanted())
    first = theirs(wanted(user="mallory"))
    second = theirs(wanted())
    text = stack.refresh()
    assert text.index(first) < text.index(second)
    assert "it was changed back" in text
    assert stack.preview(wanted()) == {"changed_elsewhere"}
    assert set(stack.inputs["changed_elsewhere"]) == {first, second}
    assert bob.key_hash in stack.inputs["changed_elsewhere"][first]
    assert stack.refresh() == ""
    assert stack.preview(wanted()) == {"changed_elsewhere"}
    stack.up(wanted())
    assert stack.preview(wanted()) == set()
    assert stored()[0] == second


def test_own_versions_are_told_but_need_no_note(stack: PolicyStack, real_cas: RealCas, ann, name) -> None:
    """What this stack's own key uploaded elsewhere is named as such; nobody has to take note of it."""
    stack.up(policy(name))
    put(real_cas.client(ann), policy(name, user="me"))
    assert "(this stack's own key)" in stack.refresh()
    assert stack.preview(policy(name, user="me")) == set()


def test_author_who_is_not_recorded(stack: PolicyStack, theirs, ann, bob, name) -> None:
    """Where the policy does not refer to CREATOR, CAS records nobody: those who were allowed to are named instead."""
    both = [ann.key_hash, bob.key_hash]
    wanted = policy(name, access_policy={"read": both, "update": both})
    stack.up(wanted)
    theirs({**wanted, "services": {}})
    text = stack.refresh()
    assert "not recorded; allowed were" in text
    assert [key for key in both if key not in text] == []


def test_conflict_tells_the_other_side(stack: PolicyStack, theirs, wanted, bob, stored) -> None:
    """An update over a change of somebody else stops: who did what, and what this program would do to it."""
    stack.up(wanted())
    changed = theirs(wanted(user="mallory"))
    with pytest.raises(grpc.RpcError) as refusal:
        stack.up(wanted(user="other"))
    text = refusal.value.details()
    assert f"{changed}, written by {bob.key_hash}:" in text
    assert '~ services.api.environment.USER: [secret] → "other"' in text
    assert stored()[0] == changed


def test_conflict_with_an_earlier_run(stack: PolicyStack, real_cas: RealCas, ann, name, stored) -> None:
    """An upload of an `up` that was cut off, then another program: nobody else is blamed, and a refresh is all."""
    stack.up(policy(name))
    put(real_cas.client(ann), policy(name, user="cut off"))
    with pytest.raises(grpc.RpcError) as refusal:
        stack.up(policy(name, user="other"))
    text = refusal.value.details()
    assert "this stack's own key wrote versions that its state does not have" in text
    assert '~ services.api.environment.USER: [secret] → "other"' in text
    assert "someone else" not in text
    stack.refresh()
    stack.up(policy(name, user="other"))
    assert len(stored()) == 3


def test_destroy_over_somebody_elses_change(stack: PolicyStack, theirs, wanted, bob, stored) -> None:
    """What was changed elsewhere is not retired unseen."""
    stack.up(wanted())
    changed = theirs(wanted(user="mallory"))
    with pytest.raises(grpc.RpcError) as refusal:
        stack.destroy()
    assert "it was not retired" in refusal.value.details()
    assert bob.key_hash in refusal.value.details()
    stack.refresh()
    stack.destroy()
    assert stored()[1] == changed


def test_secrets_are_told_as_secrets(stack: PolicyStack, theirs, wanted) -> None:
    """Neither our value nor theirs stands in a warning, a note or a conflict."""
    ours, other = ({"s": {"kind": "ascii", "value": f"planted-{who}"}} for who in ("ours", "theirs"))
    stack.up(wanted(secrets=ours))
    theirs(wanted(secrets=other))
    with pytest.raises(grpc.RpcError) as refusal:
        stack.up(wanted(user="x", secrets=ours))
    text = stack.refresh() + refusal.value.details() + str(stack.inputs["changed_elsewhere"])
    assert "secrets.s.value" in text
    assert "planted" not in text


def test_values_of_somebody_else_are_secrets(stack: PolicyStack, theirs, wanted) -> None:
    """Whatever another writer puts into a policy, by whatever key: until the program states it in clear, no text tells
    it, and in state it is a secret, also after a second refresh. What the program said, and what decides on trust, is
    plain all along; after `up` everything is.
    """
    payload = {
        "kind": "jwt",
        "signer": "k",
        "alg": "ES384",
        "validity": {"for": "1h"},
        "payload": {"sub": "planted-jwt", "pin": "471147"},
    }
    changed = wanted(
        version="0.3.12",
        secrets={"k": {"kind": "private-key", "key_type": "P-384"}, "j": payload},
        images=[{"name": "i", "injection_files": [{"path": "/etc/x", "content": "planted-file"}]}],
    )
    changed["services"]["api"] |= {"command": "/app/api --password planted-command", "pwd": "/planted-folder"}
    changed["services"]["api"]["environment"]["TOKEN"] = "planted-environment"
    changed["services"]["api"]["image_name"] = "i"
    changed["services"]["other"] = {"command": "planted-service", "attestation": {"mrenclave": "cd" * 32}}
    stack.up(wanted())
    theirs(changed)
    texts = stack.refresh()
    for _ in range(2):
        clear = json.dumps([stack.raw_inputs, stack.raw_outputs])
        for planted in ("planted", "471147"):
            assert planted not in in_clear(stack.raw_inputs) + in_clear(stack.raw_outputs) + texts
        assert "planted" in clear
        assert stack.preview(wanted()) >= {"policy"}
        texts += stack.refresh()
    assert "cd" * 32 in in_clear(stack.raw_inputs)
    assert '"USER": "myself"' in in_clear(stack.raw_inputs)
    stack.up(wanted())
    assert "planted" not in json.dumps(stack.state)
    assert "foreign" not in (stack.state or {})
    stack.up(changed)
    assert stack.refresh() == ""
    assert "planted-environment" in in_clear(stack.raw_inputs)
    assert stack.preview(changed) == set()


def in_clear(tree: Any) -> str:
    """What the engine does not encrypt."""
    if isinstance(tree, dict):
        if "4dabf18193072939515e22adb298388d" in tree:
            return "[secret]"
        return " ".join(f'"{key}": {in_clear(value)}' for key, value in tree.items())
    return json.dumps(tree)


def test_private_values_are_not_told(stack: PolicyStack, theirs, wanted) -> None:
    """A variable that the program filled with a secret is compared, but neither side's value is ever told."""
    private = {"services": {"api": {"environment": {"USER": True}}}}
    stack.up(wanted(user="planted-ours"), private=private)
    theirs(wanted(user="planted-theirs"))
    with pytest.raises(grpc.RpcError) as refusal:
        stack.up(wanted(user="planted-third"), private=private)
    text = stack.refresh() + refusal.value.details() + str(stack.inputs["changed_elsewhere"])
    assert "services.api.environment.USER: [secret] → [secret]" in text
    assert "planted" not in text
    assert stack.inputs["private"] == private


def test_control_characters_do_not_reach_the_terminal(stack: PolicyStack, theirs, wanted) -> None:
    """A name that somebody else chose cannot steer the terminal on which it is shown."""
    stack.up(wanted())
    changed = wanted()
    changed["services"]["api"]["environment"]["A\x1b[2J"] = "\x9b2J"
    theirs(changed)
    text = stack.refresh()
    assert "A\\u001b[2J" in text
    assert "\x1b" not in text
    assert "\x9b" not in text


def test_long_histories_are_cut_and_it_is_said(stack: PolicyStack, theirs, wanted, real_cas, bob) -> None:
    """Only the newest versions are told one by one; what is left out is counted, and the walk itself is bounded."""
    stack.up(wanted())
    assert stack.state is not None
    first = stack.state["hash"]
    hashes = [theirs(wanted(user=str(number))) for number in range(25)]
    text = stack.refresh()
    assert "5 older versions are not told" in text
    assert [hash_ in text for hash_ in hashes] == [False] * 5 + [True] * 20
    name, reader = str(stack.state["name"]), real_cas.client(bob)
    cut = walk(reader, name, first, longest=10)
    assert cut is not None
    assert cut.cut
    assert [version.hash for version in cut.versions] == hashes[:-11:-1]
    with pytest.raises(TrustError, match="rolled back"):
        walk(reader, name, "0" * 64, longest=10)
    with pytest.raises(TrustError, match="rolled back"):
        walk(reader, name, "0" * 64)


def test_retired_by_somebody_else(stack: PolicyStack, theirs, wanted, bob, stored) -> None:
    """A policy that somebody else retired is gone, and it is said who did it; up continues its chain."""
    stack.up(wanted())
    gone = wanted(services={})
    gone["access_policy"]["create_sessions"] = ["NONE"]
    retired = theirs(gone)
    del gone["access_policy"]["create_sessions"]
    assert bob.key_hash in stack.refresh()
    assert stack.state is None
    stack.up(wanted())
    assert stored()[1] == retired
