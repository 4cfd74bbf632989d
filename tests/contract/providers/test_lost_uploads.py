"""Connections that break before, during and after an upload: one version in the end, and no work left."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from support.cutting_proxy import Cut, CuttingProxy
from support.policy_stack import PolicyStack, policy, put, versions
from support.provider_process import ProviderProcess
from support.real_cas import RealCas

SIZE = len(str(policy("x")))
PLACES: dict[str, Any] = {
    "no connection": {"after_sent": 0},
    "handshake": {"after_sent": 300},
    "first look": {"after_sent": 2_500},
    "upload, begun": {"after_sent": 20_000},
    "upload, near its end": {"after_sent": SIZE},
    "answer": {"unanswered_after": SIZE},
}
"""Where a connection breaks: bytes that one connection sent. Only an upload sends more than a few thousand."""


@pytest.fixture
def proxy(real_cas: RealCas) -> Iterator[CuttingProxy]:
    """Between the stack and its CAS."""
    found = CuttingProxy(real_cas.port)
    yield found
    found.close()


@pytest.fixture
def stack(stack_process: ProviderProcess, proxy: CuttingProxy) -> PolicyStack:
    """A stack of ann's that reaches CAS through the proxy."""
    return PolicyStack(stack_process, f"127.0.0.1:{proxy.port}")


@pytest.mark.parametrize("place", PLACES)
def test_one_break_on_create(stack: PolicyStack, proxy: CuttingProxy, stored, name, place) -> None:
    """A creation during which one connection breaks ends with one version, within the call or with the next up."""
    proxy.cut = Cut(times=1, **PLACES[place])
    up_until_done(stack, policy(name))
    assert proxy.cut.times == 0
    assert len(stored()) == 1
    assert_settled(stack, policy(name))


@pytest.mark.parametrize("place", PLACES)
def test_one_break_on_update(stack: PolicyStack, proxy: CuttingProxy, stored, name, place) -> None:
    """The same for an update: one more version, on top of ours."""
    stack.up(policy(name))
    proxy.cut = Cut(times=1, **PLACES[place])
    up_until_done(stack, policy(name, user="other"))
    assert proxy.cut.times == 0
    assert len(stored()) == 2
    assert_settled(stack, policy(name, user="other"))


@pytest.mark.parametrize("place", ["upload, begun", "upload, near its end", "answer"])
def test_a_break_of_the_upload_needs_no_second_up(stack: PolicyStack, proxy: CuttingProxy, name, place) -> None:
    """When CAS can be asked what became of it, the same call ends well."""
    proxy.cut = Cut(times=1, **PLACES[place])
    stack.up(policy(name))
    assert proxy.cut.times == 0
    proxy.cut = Cut(times=1, **PLACES[place])
    stack.up(policy(name, user="other"))
    assert proxy.cut.times == 0
    assert_settled(stack, policy(name, user="other"))


@pytest.mark.parametrize("place", PLACES)
def test_network_that_stays_broken(stack: PolicyStack, proxy: CuttingProxy, stored, name, place) -> None:
    """Every connection breaks there: the call fails in words, the state stays, and the next up adds what is missing."""
    stack.up(policy(name))
    before = stack.state
    proxy.cut = Cut(times=1_000, **PLACES[place])
    if place != "answer":
        with pytest.raises(grpc.RpcError) as failure:
            stack.up(policy(name, user="other"))
        assert "cannot be reached" in failure.value.details()
        assert stack.state == before
    proxy.cut = None
    stack.up(policy(name, user="other"))
    assert len(stored()) == 2
    assert_settled(stack, policy(name, user="other"))


def test_lost_answer_and_lost_look(stack: PolicyStack, proxy: CuttingProxy, stored, name) -> None:
    """The answer is lost and CAS is gone before it can be asked: the next up finds it, refreshed before or not.

    After a creation, nothing tells what was lost from what another resource has: a version says whose it is now.
    """
    lose_answer(stack, proxy, policy(name))
    assert len(stored()) == 1
    stack.up(policy(name))
    assert len(stored()) == 2
    lose_answer(stack, proxy, policy(name, user="other"))
    stack.refresh()
    assert stack.preview(policy(name, user="other")) == set()
    lose_answer(stack, proxy, policy(name, user="third"))
    stack.up(policy(name, user="third"))
    assert len(stored()) == 4
    assert_settled(stack, policy(name, user="third"))


@pytest.mark.parametrize("cut", [{"after_sent": sent} for sent in range(0, 601, 100)] + [{"unanswered_after": 400}])
def test_one_break_on_destroy(stack: PolicyStack, proxy: CuttingProxy, stored, name, cut: dict[str, Any]) -> None:
    """Retiring is an upload too, a small one: wherever it breaks, it happens once."""
    stack.up(policy(name))
    proxy.cut = Cut(times=1, **cut)
    stack.destroy()
    assert proxy.cut.times == 0
    assert len(stored()) == 2
    stack.up(policy(name))
    assert len(stored()) == 3


def test_someone_else_while_the_answer_was_lost(
    stack: PolicyStack, proxy: CuttingProxy, real_cas: RealCas, ann, name
) -> None:
    """Somebody builds on a version of ours whose answer got lost: a conflict, in which both stand; nothing is lost."""
    stack.up(policy(name))
    lose_answer(stack, proxy, policy(name, user="other"))
    put(real_cas.client(ann), policy(name, user="mallory"))
    with pytest.raises(grpc.RpcError) as refusal:
        stack.up(policy(name, user="other"))
    text = refusal.value.details()
    assert '[secret] → "other"' in text
    assert '"other" → [secret]' in text
    assert len(versions(real_cas.client(ann), name)) == 3


def lose_answer(stack: PolicyStack, proxy: CuttingProxy, wanted: dict[str, object]) -> None:
    """An up whose upload arrives, and after which nothing goes through any more."""
    proxy.cut = Cut(times=1, **PLACES["answer"], then_down=True)
    with pytest.raises(grpc.RpcError) as failure:
        stack.up(wanted)
    assert "whether the policy was uploaded is not known" in failure.value.details()
    proxy.cut = None


def up_until_done(stack: PolicyStack, wanted: dict[str, object]) -> None:
    """What a person does: up, and up again where it failed."""
    try:
        stack.up(wanted)
    except grpc.RpcError:
        stack.up(wanted)


def assert_settled(stack: PolicyStack, wanted: dict[str, object]) -> None:
    """Nothing is left to do, and nothing looks changed."""
    assert stack.preview(wanted) == set()
    assert stack.refresh() == ""
    assert stack.preview(wanted) == set()
