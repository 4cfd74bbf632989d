"""`Rollout` as the engine speaks with it, in preview and in refresh."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from pulumi.runtime.rpc import UNKNOWN

from scone_provider.resources.rollout import RolloutProvider
from support.kubernetes_api import kubeconfig, kubernetes_api
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


def at(server: str, *, token: str = "") -> dict[str, str]:
    """What an explicit provider says of its cluster."""
    return {"kubeconfig": kubeconfig({"one": server}, user={"token": token} if token else None)}


def test_renewed_credentials_are_no_change_and_another_cluster_is(provider_process: ProviderProcess) -> None:
    """A provider's kubeconfig comes, is renewed, is not known yet: nothing to watch. Another server: there is."""
    olds = rollout() | {"released": {}}
    here = at("https://one.example", token="old")
    for old, new, changes in (
        ({}, {"cluster": here}, 1),  # DIFF_NONE
        ({"cluster": here}, {"cluster": here}, 1),
        ({"cluster": here}, {"cluster": at("https://one.example", token="new")}, 1),
        ({"cluster": here}, {"cluster": UNKNOWN}, 1),
        ({"cluster": here}, {"cluster": {"kubeconfig": UNKNOWN}}, 1),
        ({"cluster": here}, {}, 1),
        ({"cluster": here}, {"cluster": {"kubeconfig": "broken"}}, 1),
        ({"cluster": here}, {"cluster": at("https://two.example")}, 0),  # DIFF_UNKNOWN
    ):
        found = provider_process.diff(RolloutProvider, "default/app", {**olds, **old}, {**rollout(), **new})
        assert found.changes == changes, (old, new)


@pytest.mark.parametrize("where", ["inputs", "config"])
def test_refresh_finds_it_gone_with_its_release(start: Callable[[dict[str, str]], ProviderProcess], where: str) -> None:
    """The cluster is the explicit provider's, or the one of the stack's settings; what cannot be asked is not gone."""
    with kubernetes_api() as api:
        given = at(api.url)
        process = start({} if where == "inputs" else {"kubernetes:kubeconfig": given["kubeconfig"]})
        props = {**rollout(), "released": {}, **({"cluster": given} if where == "inputs" else {})}
        assert process.read(RolloutProvider, "default/app", props)[0] == ""
        api.record()
        found, outputs, _ = process.read(RolloutProvider, "default/app", props)
        assert (found, outputs["released"]) == ("default/app", {})
        api.secrets.clear()
        api.status = 401
        assert process.read(RolloutProvider, "default/app", props)[0] == "default/app"
    assert process.read(RolloutProvider, "default/app", props)[0] == "default/app"


def test_update_without_a_release_is_not_waited_for(provider_process: ProviderProcess) -> None:
    """Another cluster than the one where the release is: said at once, not after the rollout's time."""
    with kubernetes_api() as api:
        news = {**rollout(), "cluster": at(api.url)}
        with pytest.raises(grpc.RpcError) as caught:
            provider_process.update(RolloutProvider, "default/app", rollout(), news)
    assert "default/app: Helm has no release of this name on this cluster" in caught.value.details()
    assert "pulumi up --refresh" in caught.value.details()


def test_release_that_is_made_anew_is_watched_anew(provider_process: ProviderProcess) -> None:
    """The record goes first, so that a watch that fails leaves none; no state keeps the word of it."""
    first, _ = provider_process.check(RolloutProvider, rollout(made=True))
    assert first == rollout()
    for made in (None, True):
        again, _ = provider_process.check(RolloutProvider, rollout(made=made), olds=rollout())
        assert again == rollout(**({"made": True} if made else {}))
    found = provider_process.diff(RolloutProvider, "default/app", rollout(), rollout(made=True))
    assert list(found.replaces) == ["made"]
    assert found.deleteBeforeReplace


def holding(**policies: list[str]) -> dict[str, Any]:
    """The inputs with what CAS generates for each policy of a mesh."""
    return rollout(policies={role: {"name": f"acme/{role}", "generated": found} for role, found in policies.items()})


def test_what_goes_with_a_service_is_said(provider_process: ProviderProcess) -> None:
    """A policy that goes is only deleted, and its resource is not asked: preview and `up` name what CAS generated."""
    shared = {"(shared)": ["secrets.pw"]}
    for olds, news, said in (
        (holding(api=["secrets.pw", "volumes.data"]), holding(web=["secrets.pw"]), "secrets.pw, volumes.data"),
        (holding(api=["secrets.pw"], **shared), holding(api=["secrets.pw"]), "what services shared is not in"),
        (holding(api=["secrets.pw"]), rollout(policies=UNKNOWN), ""),
        (holding(api=["secrets.pw"]), holding(api=[]), ""),
        (holding(api=[]), holding(), ""),
        (rollout(), holding(api=["secrets.pw"]), ""),
    ):
        before = len(provider_process.messages())
        inputs, failures = provider_process.check(RolloutProvider, news, olds)
        assert (inputs, failures) == (news, [])
        told = provider_process.messages()[before:]
        assert bool(told) == bool(said)
        assert said in told
    told = provider_process.messages()
    assert "service api is not in this mesh any more: the policy acme/api is retired" in told


def test_what_policies_hold_is_no_reason_to_watch_again(provider_process: ProviderProcess) -> None:
    """States from before have no such record, and get one without a word."""
    for olds, news in ((rollout(), holding(api=["secrets.pw"])), (holding(api=["secrets.pw"]), holding(api=[]))):
        found = provider_process.diff(RolloutProvider, "default/app", olds | {"released": {}}, news)
        assert found.changes == 1  # DIFF_NONE
