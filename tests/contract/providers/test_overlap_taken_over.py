"""A policy whose rollouts overlap, taken over by a resource whose state says nothing of what was released: renamed
without aliases, replaced, tainted. What was released stays trusted until the new one is, and nothing else does.
"""

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest

import scone_policy
from scone_provider.image.protection.image_keys import derive_keys
from scone_provider.policy.revisions import Revision
from support.overlapping import Overlapping
from support.policy_stack import policy, put, versions
from support.provider_process import ProviderProcess
from support.real_cas import RealCas

DEV = "de" * 8
IMAGE = "registry/api"

New = Callable[[], Overlapping]


@pytest.fixture
def new(stack_process: ProviderProcess, real_cas: RealCas) -> New:
    """Another resource of ann's stack."""
    return lambda: Overlapping(stack_process, f"127.0.0.1:{real_cas.port}", stack=DEV)


def test_released_revision_stays_with_a_new_resource(new: New, name, trusted) -> None:
    """Another program in the same `up`: the old pods may restart until the new ones are ready, however many fail."""
    old, taker = new(), new()
    first = old.release(policy(name))
    failed = old.announce(policy(name, user="failed"))
    second = taker.announce(policy(name, user="second"))
    assert failed not in trusted()
    assert trusted() == {first, second}
    assert f"{first}, stays trusted beside the new one, {second}, until the new pods are ready" in taker.said
    old.destroy()
    assert trusted() == {first, second}
    assert taker.refresh() == ""
    third = taker.announce(policy(name, user="third"))
    assert trusted() == {first, third}
    taker.succeed()
    assert trusted() == {third}
    assert taker.refresh() == ""
    assert taker.preview(policy(name, user="third"), overlap=True) == set()


def test_taken_over_again_and_again(new: New, name, trusted) -> None:
    """Takers of takers, some without a change, some whose upload state never saw: the released one is still known."""
    old = new()
    first = old.release(policy(name))
    for number in range(3):
        unchanged, lost = new(), new()
        assert unchanged.announce(policy(name)) == first
        assert trusted() == {first}
        second = lost.announce(policy(name, user=f"lost {number}"))
        assert trusted() == {first, second}
    more = policy(name, secrets={"new": {"kind": "ascii"}})
    last = new()
    assert last.release(more) == first
    newest = new().announce({**more, **policy(name, user="newest")})
    assert trusted() == {first, newest}


def test_end_of_a_rollout_tells_whoever_else_came(new: New, name, trusted) -> None:
    """The one that had it leaves between the upload and the end of the rollout: what was released is known."""
    old, taker = new(), new()
    old.release(policy(name))
    taker.announce(policy(name, user="second"))
    old.destroy()
    taker.succeed()
    second = taker.inputs["revision"]
    third = new().announce(policy(name, user="third"))
    assert trusted() == {second, third}


def test_what_was_never_released_is_not_kept(new: New, name, trusted) -> None:
    """A first rollout that failed, taken over: its revision goes."""
    new().announce(policy(name))
    second = new().announce(policy(name, user="second"))
    assert trusted() == {second}


def test_what_is_not_trusted_any_more_does_not_come_back(new: New, name, trusted) -> None:
    """`replace` ended the trust: a later taker with `overlap` has no revision to keep."""
    old = new()
    old.release(policy(name))
    old.up(policy(name, user="second"), stack=DEV)
    third = new().announce(policy(name, user="third"))
    assert trusted() == {third}


def test_what_somebody_else_wrote_is_not_kept(new: New, wanted, theirs, trusted) -> None:
    """Two versions by another key that look like the end of a rollout make nothing released."""
    released = wanted()
    first, service = new().release(released), released["services"]["api"]
    evil = {"api-0123456789ab": {**service, "command": "/evil"}}
    theirs({**released, "services": {first: service, **evil}})
    theirs({**released, "services": evil})
    assert trusted() == set(evil)
    second = new().announce(wanted(services={"api": {**service, "command": "/second"}}), adopt=True)
    assert trusted() == {second}


def test_released_revision_that_somebody_changed_is_not_kept(new: New, name, client, trusted) -> None:
    """Not even under its own name."""
    first = new().release(policy(name))
    stored = json.loads(json.dumps(scone_policy.parse(client.read(name).description_yaml).canonical()))
    stored["services"][first]["environment"]["USER"] = "mallory"
    put(client, stored)
    second = new().announce(policy(name, user="second"))
    assert trusted() == {second}


def test_what_is_shared_cannot_change_in_a_take_over(new: New, name, client, trusted) -> None:
    """As in any `up`: refused with its path, and nothing is written."""
    first = new().release(policy(name, secrets={"token": {"kind": "ascii", "size": 20}}))
    before = versions(client, name)
    changed = policy(name, user="second", secrets={"token": {"kind": "ascii", "size": 30}})
    with pytest.raises(grpc.RpcError, match=r"secrets\.token") as refusal:
        new().announce(changed)
    assert 'give "rollout": "replace"' in refusal.value.details()
    assert (versions(client, name), trusted()) == (before, {first})


@pytest.mark.parametrize("image", [IMAGE, "registry/other"])
def test_keys_and_files_of_what_is_kept(new: New, name, client, image: str) -> None:
    """The file-system key that CAS has becomes the marker that stands for it, or is sealed: no state has it in clear,
    and the next version gives the pods the same one.
    """

    def stated(image: str, content: str) -> dict[str, Any]:
        made = policy(name, images={"api": {"injection_files": {"/etc/a": {"content": content}}}})
        protection = {"fspf_path": "/f", "fspf_tag": "ab" * 16, "fspf_key": f"derived: {image}"}
        made["services"]["api"] |= {"image_name": "api", **protection}
        return made

    key = derive_keys(bytes(range(32)), identity=IMAGE).fspf_key
    old, taker = new(), new()
    first = old.release(stated(IMAGE, "one"))
    for content in ("two", "three"):
        taker.announce(stated(image, content))
        session = scone_policy.parse(client.read(name).description_yaml)
        assert session.services[first].fspf_key == key
        assert session.images[first].injection_files["/etc/a"].content == "one"
        assert taker.refresh() == ""
    assert taker.state is not None
    kept = Revision.of_json(taker.state["kept"])
    assert kept is not None
    assert key not in json.dumps(taker.state)
    assert (kept.service["fspf_key"] == f"derived: {IMAGE}") == (image == IMAGE)
    taker.succeed()
    assert list(scone_policy.parse(client.read(name).description_yaml).services) == [taker.inputs["revision"]]
