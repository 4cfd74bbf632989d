"""One attestation for many operations, and a CAS whose key changes while it is fresh."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from scone_provider.resources.cas import CasProvider
from support.policy_stack import SWITCHES, PolicyStack, policy
from support.provider_process import ProviderProcess
from support.real_cas import RealCas

Own = Callable[..., RealCas]


@pytest.fixture
def own(tmp_path: Path, request: pytest.FixtureRequest) -> Own:
    """CASes of this test alone."""

    def make(name: str, *options: str) -> RealCas:
        found = RealCas(tmp_path / name, "--rate", "100000", *options).start()
        request.addfinalizer(lambda: found.process is None or found.process.poll() is not None or found.stop())
        return found

    return make


def entries(cas: RealCas, event: str) -> int:
    """How often its audit log tells of something."""
    return sum(
        json.loads(line)["entry"]["event"] == event for line in (cas.state / "audit.log").read_text().splitlines()
    )


def test_key_change_while_fresh_gets_nothing(own: Own, stack_process: ProviderProcess) -> None:
    """Another CAS at the address of one just attested gets no upload; attested anew it is called by its key."""
    first = own("one")
    stack = PolicyStack(stack_process, f"127.0.0.1:{first.port}")
    stack.up(policy("api"))
    first.stop()
    second = own("two", "--client-port", str(first.port))
    assert second.port == first.port
    for words in ("presents another certificate", "another CAS key"):
        with pytest.raises(grpc.RpcError) as refusal:
            stack.up(policy("api", user="other"))
        assert words in refusal.value.details()
    assert "another CAS key" in stack.refresh()
    assert entries(second, "session_created") == 0
    assert b"session-stored" not in second.log.read_bytes()


def test_restart_is_survived(own: Own, stack_process: ProviderProcess) -> None:
    """The same CAS after a restart is the same: its key is, and broken connections are made again."""
    cas = own("one")
    stack = PolicyStack(stack_process, f"127.0.0.1:{cas.port}")
    stack.up(policy("api"))
    cas.stop()
    cas.start()
    stack.up(policy("api", user="other"))
    assert stack.refresh() == ""


def test_parallel_operations_share_it(own: Own, stack_process: ProviderProcess) -> None:
    """Four at a time, as the engine runs them: every policy arrives."""
    cas = own("one")
    stacks = [PolicyStack(stack_process, f"127.0.0.1:{cas.port}") for _ in range(24)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: stacks[number].up(policy(f"api-{number}")), range(24)))
        texts = list(pool.map(lambda stack: stack.refresh(), stacks))
    assert entries(cas, "session_created") == 24
    assert set(texts) == {""}


def test_cas_key_is_drift(own: Own, stack_process: ProviderProcess) -> None:
    """Refresh of a `Cas` shows whose key is found where another was trusted, pinned or not, and trusts it no more."""
    first = own("one")
    known = []
    for pin in ({}, {"key": first.key_hash}):
        program = {"url": f"127.0.0.1:{first.port}", "tolerance": SWITCHES, **pin}
        inputs, failures = stack_process.check(CasProvider, program)
        assert failures == []
        _, outs = stack_process.create(CasProvider, inputs)
        assert outs["attested_key"] == first.key_hash
        known.append((inputs, outs))
    first.stop()
    second = own("two", "--client-port", str(first.port))
    found = [stack_process.read(CasProvider, "cas", outs) for _, outs in known]
    for (inputs, _), (_, outs, news) in zip(known, found, strict=True):
        assert news == {**inputs, "found_key": second.key_hash}
        assert outs["attested_key"] == first.key_hash
    second.stop()
    first.start()
    for (inputs, _), (_, changed, _) in zip(known, found, strict=True):
        _, outs, news = stack_process.read(CasProvider, "cas", changed)
        assert news == inputs
        assert "found_key" not in outs


def test_weaker_tolerance_is_told_on_refresh(own: Own, stack_process: ProviderProcess) -> None:
    """A key that is still the same, with evidence that the switches no longer cover, is a warning that names them."""
    cas = own("one")
    inputs, _ = stack_process.check(CasProvider, {"url": f"127.0.0.1:{cas.port}", "tolerance": {}})
    before = len(stack_process.messages())
    stack_process.read(CasProvider, "cas", inputs | {"attested_key": cas.key_hash})
    text = stack_process.messages()[before:]
    assert [switch for switch in SWITCHES if switch not in text] == []
