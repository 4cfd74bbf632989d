"""`Rollout` as the engine speaks with it, in preview."""

from typing import Any

from pulumi.runtime.rpc import UNKNOWN

from scone_provider.resources.rollout import RolloutProvider
from support.provider_process import ProviderProcess


def rollout(**changes: Any) -> dict[str, Any]:
    """The inputs for one service."""
    service = {"service": "api", "kind": "Deployment", "replicas": 1, "image": "r/api@sha256:1", "policy_digest": "d"}
    return {"namespace": "default", "release": "app", "timeout_seconds": 120, "services": {"api": service}} | changes


def test_check_gives_the_inputs_back(provider_process: ProviderProcess) -> None:
    """All of it comes from the derivation; numbers that crossed the wire as floats are the numbers they were."""
    inputs, failures = provider_process.check(RolloutProvider, rollout())
    assert failures == []
    assert inputs == rollout()


def test_unknown_stays_as_small_as_it_is(provider_process: ProviderProcess) -> None:
    """An image that is not built yet leaves one field unknown."""
    news = rollout()
    news["services"]["api"]["image"] = UNKNOWN
    inputs, failures = provider_process.check(RolloutProvider, news)
    assert failures == []
    assert inputs == news


def test_moved_lines_are_no_change(provider_process: ProviderProcess) -> None:
    """A comment above a service moves its line: no reason to watch again; anything else is one."""
    olds = rollout() | {"released": {}}
    olds["services"]["api"]["where"] = "mesh.yaml:1"
    news = rollout()
    news["services"]["api"]["where"] = "mesh.yaml:2"
    assert provider_process.diff(RolloutProvider, "default/app", olds, news).changes == 1  # DIFF_NONE
    news["services"]["api"]["replicas"] = 2
    assert provider_process.diff(RolloutProvider, "default/app", olds, news).changes == 0  # DIFF_UNKNOWN
    news["services"]["api"]["image"] = UNKNOWN
    assert provider_process.diff(RolloutProvider, "default/app", olds, news).changes == 0


def test_only_another_release_replaces(provider_process: ProviderProcess) -> None:
    """Namespace and release are what it is; another timeout, image or number of pods is watched again in place."""
    for news, replaces in (
        (rollout(namespace="other"), ["namespace"]),
        (rollout(release="other"), ["release"]),
        (rollout(timeout_seconds=5), []),
        (rollout(services={}), []),
    ):
        assert list(provider_process.diff(RolloutProvider, "default/app", rollout(), news).replaces) == replaces
