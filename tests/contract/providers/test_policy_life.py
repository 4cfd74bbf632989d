"""Whose a policy is: adoption, retirement, the chain after re-creation, and what state holds, against a real CAS."""

from typing import Any

import grpc
import pytest

import scone_policy
from support.policy_stack import PolicyStack, policy
from support.real_cas import RealCas


def lists_in(tree: Any) -> list[Any]:
    """Every list anywhere in a tree."""
    if isinstance(tree, dict):
        return [found for value in tree.values() for found in lists_in(value)]
    return [tree] if isinstance(tree, list) else []


def test_existing_policy_needs_adopt(stack: PolicyStack, theirs, wanted, stored) -> None:
    """What somebody else made is refused with the difference; with adopt it is taken over, on top of its history."""
    first = theirs(wanted())
    with pytest.raises(grpc.RpcError) as refusal:
        stack.up(wanted(user="other"))
    assert "adopt=True" in refusal.value.details()
    assert '~ services.api.environment.USER: [secret] → "other"' in refusal.value.details()
    with pytest.raises(grpc.RpcError, match="its content is the same"):
        stack.up(wanted())
    stack.up(wanted(user="other"), adopt=True)
    assert stored()[1:] == [first]
    assert stack.refresh() == ""
    assert stack.preview(wanted(user="other"), adopt=True) == set()


def test_adopting_what_is_the_same_says_whose_it_is(stack: PolicyStack, theirs, wanted, stored) -> None:
    """An equal policy is taken over by a version of its own: whoever had it before can tell."""
    first = theirs(wanted())
    stack.up(wanted(), adopt=True)
    assert stored()[1:] == [first]
    assert stack.refresh() == ""
    assert stack.preview(wanted(), adopt=True) == set()


def test_retired_and_made_again(stack: PolicyStack, real_cas: RealCas, ann, name, stored) -> None:
    """Destroy leaves an empty version in which nobody may create; up continues the chain; twice over."""
    for versions in (2, 4):
        stack.up(policy(name))
        stack.destroy()
        found = real_cas.client(ann).read(name)
        assert found is not None
        assert scone_policy.is_retired(scone_policy.parse(found.description_yaml))
        assert len(stored()) == versions


def test_state_holds_maps_only(stack: PolicyStack, name) -> None:
    """Whatever form came in, inputs and outputs are the canonical map form; after a refresh, too."""
    wanted = policy(name)
    service = wanted["services"].pop("api")
    wanted["services"] = [{"name": "api", **service, "command": ["/app/api"]}]
    stack.up(wanted)
    for _ in range(2):
        assert lists_in(stack.state) == lists_in(stack.inputs) == []
        assert stack.inputs["policy"]["services"]["api"]["command"] == "/app/api"
        stack.refresh()
