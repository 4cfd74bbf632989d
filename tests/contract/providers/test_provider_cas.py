"""`Cas` as the engine speaks with it, in preview: what check makes of its inputs, and what is another CAS."""

from collections.abc import Callable, Mapping

from pulumi.runtime.rpc import UNKNOWN

from scone_provider.resources.cas import CasProvider
from support.provider_process import ProviderProcess

Start = Callable[[Mapping[str, str]], ProviderProcess]
SWITCHES = {"--only_for_testing-debug": True, "-G": True, "-C": True}
KEY_HASH = "2scVgZ7oVt5ecLwD4FCPDD7tv7MFJbUuRLhCNe5XY3gjJzsRFT"


def test_check_canonicalises(provider_process: ProviderProcess) -> None:
    """The order of switches and an empty pin make no difference, so they make no diff."""
    first, failures = provider_process.check(CasProvider, {"url": "cas.default", "tolerance": SWITCHES})
    assert failures == []
    turned = dict(reversed(SWITCHES.items()))
    second, _ = provider_process.check(CasProvider, {"url": "cas.default", "tolerance": turned, "key": ""})
    assert first == second
    assert first["tolerance"] == SWITCHES


def test_unknown_url_and_pin_stay_alone(provider_process: ProviderProcess) -> None:
    """What is not known yet is unknown; the switches beside it are shown."""
    inputs, failures = provider_process.check(CasProvider, {"url": UNKNOWN, "tolerance": SWITCHES, "key": UNKNOWN})
    assert failures == []
    assert inputs == {"url": UNKNOWN, "tolerance": SWITCHES, "key": UNKNOWN}


def test_failures_name_the_part_and_no_property(provider_process: ProviderProcess) -> None:
    """Each wrong input is a failure that says where it is wrong, without a property name, without the pin itself."""
    wrong: dict[str, dict[str, object]] = {
        "cas_url": {"tolerance": SWITCHES},
        "--no-such-switch": {"url": "cas", "tolerance": {"--no-such-switch": True}},
        "tolerance": {"url": "cas", "tolerance": ["-G"]},
        "cas_key": {"url": "cas", "key": "planted-not-a-key-hash"},
    }
    for part, inputs in wrong.items():
        _, failures = provider_process.check(CasProvider, inputs)
        ((name, reason),) = failures
        assert name == ""
        assert part in reason
        assert "→" in reason
        assert "planted" not in reason


def test_no_change_replaces(provider_process: ProviderProcess) -> None:
    """Another url, other switches, another pin: always an update, judged at call time; the policies below stay."""
    olds = {"url": "cas", "tolerance": SWITCHES, "attested_key": KEY_HASH}
    for news in ({"url": "other", "tolerance": SWITCHES}, {"url": "cas", "tolerance": {}}):
        assert list(provider_process.diff(CasProvider, "cas", olds, news).replaces) == []


def test_production_refuses_switches_for_testing(start: Start) -> None:
    """A CAS alone, without any component around it, is refused by name; the other switches are nobody's business."""
    process = start({"scone:production": "true"})
    _, failures = process.check(CasProvider, {"url": "cas", "tolerance": SWITCHES})
    ((name, reason),) = failures
    assert name == ""
    assert reason.startswith("tolerance: this stack is for production (scone:production)")
    assert reason.partition("\n")[0].endswith("only for testing: --only_for_testing-debug")
    _, failures = process.check(CasProvider, {"url": "cas", "tolerance": {"-G": True, "-C": True}})
    assert failures == []


def test_production_that_is_not_clear_is_refused(start: Start) -> None:
    """A mistyped value stops the preview: it does not mean a stack for testing."""
    _, failures = start({"scone:production": "yes"}).check(CasProvider, {"url": "cas"})
    ((_, reason),) = failures
    assert reason.startswith("scone:production: must be true or false")
