"""Whose a Helm release is, and which record of it may be taken away: against a real HTTP server."""

from collections.abc import Iterator
from typing import Any

import pytest
from pulumi.output import UNKNOWN

from scone_provider.errors import DeployError
from scone_provider.kubernetes.cluster import Cluster, connect
from scone_provider.kubernetes.releases import OWNER, Wanted, is_gone, prepare_release
from support.kubernetes_api import KubernetesApi, kubeconfig, kubernetes_api

OURS = {"id": "a" * 16, "name": "hello in organization/shop/dev"}
OTHERS = {"id": "b" * 16, "name": "shop in organization/shop/dev"}
VALUES: dict[str, Any] = {"services": {"api": {"replicas": 1}}}
OWNED = {**VALUES, OWNER: OURS}
UNFINISHED = ["pending-install", "pending-upgrade", "pending-rollback", "failed"]
FINISHED = ["deployed", "superseded", "uninstalled", "uninstalling", "unknown", ""]


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    """An API server."""
    with kubernetes_api() as found:
        yield found


def prepare(
    api: KubernetesApi, *, values: dict[str, Any] = OWNED, known: bool = False, only_look: bool = False
) -> str | None:
    """Before the release `app` is made, or upgraded."""
    wanted = Wanted(namespace="apps", release="app", chart="scone-mesh", values=values, is_known=known)
    return prepare_release(connect(Cluster(kubeconfig=kubeconfig({"one": api.url}))), wanted, only_look=only_look)


def refusal(api: KubernetesApi, **options: Any) -> str:
    """What it says when it refuses; it must not have changed anything."""
    before = list(api.secrets)
    with pytest.raises(DeployError) as caught:
        prepare(api, **options)
    assert api.secrets == before
    assert not [line for line in api.asked if not line.startswith("GET")]
    return str(caught.value)


@pytest.mark.parametrize("only_look", [False, True])
@pytest.mark.parametrize("status", FINISHED)
@pytest.mark.parametrize("number", [1, 10])
def test_what_is_released_is_never_touched(
    api: KubernetesApi, *, status: str, number: int, only_look: bool
) -> None:  # --replace, taint
    """One's own release that came to its end, at revision 1 or 10: refused in preview and `up`, with the reason."""
    api.record(number=number, status=status, values=OWNED)
    text = refusal(api, only_look=only_look)
    assert text.startswith(f"apps/app: this very resource has released it before (revision {number} is {status})")
    assert "--replace" in text
    assert "pulumi state untaint" in text
    assert "a stack of the same name in another backend" in text


@pytest.mark.parametrize("only_look", [False, True])
@pytest.mark.parametrize("status", [*FINISHED, *UNFINISHED])
def test_release_of_another_component_is_refused_by_its_name(
    api: KubernetesApi, *, status: str, only_look: bool
) -> None:  # renamed, another stack
    """Whatever its state: the owner is named, and `aliases`, which is the way to rename."""
    api.record(status=status, values={**VALUES, OWNER: OTHERS})
    text = refusal(api, only_look=only_look)
    assert text.startswith(f"apps/app: this release belongs to {OTHERS['name']} (revision 1 is {status})")
    assert "helm -n apps uninstall app" in text


@pytest.mark.parametrize(
    ("owner", "way"),
    [
        ("old in acme/shop/dev", 'aliases=[pulumi.Alias(name="old")]'),
        ("app in acme/shop/dev", "aliases=[pulumi.Alias(parent=its old parent)]"),
        ("old in acme/shop/prod", "`pulumi state move`"),
        ("app in acme/shop/prod", "`pulumi state move`"),
        (None, 'aliases=[pulumi.Alias(name="its old name")]'),
    ],
)
def test_refusal_names_the_way_to_keep_it(api: KubernetesApi, owner: str | None, way: str) -> None:
    """By what its owner and the one who releases have in common: renamed, put elsewhere, of another stack, unknown."""
    api.record(values={**VALUES, **({OWNER: {"id": "1", "name": owner}} if owner else {})})
    text = refusal(api, values={**VALUES, OWNER: {"id": "2", "name": "app in acme/shop/dev"}})
    assert way in text
    assert (way == "`pulumi state move`") != ("aliases" in text)


@pytest.mark.parametrize("status", [*FINISHED, *UNFINISHED])
@pytest.mark.parametrize("values", [VALUES, None, {OWNER: "text"}])
def test_release_without_an_owner_is_not_ours(api: KubernetesApi, status: str, values: dict[str, Any] | None) -> None:
    """Made by Helm alone, or before releases named their owner: nobody can say whose it is, so it stays."""
    api.record(status=status, values=values)
    text = refusal(api)
    assert "that this stack does not know" in text
    assert "aliases" in text


@pytest.mark.parametrize("status", UNFINISHED)
def test_own_install_that_was_cut_off_is_finished(api: KubernetesApi, status: str) -> None:
    """Helm's record of an install that never came to its end is taken away; not in previews."""
    api.record(status=status, values=OWNED)
    assert prepare(api, only_look=True) is None
    assert api.numbers == [1]
    assert prepare(api, only_look=True, values={**OWNED, "services": {"api": {"replicas": UNKNOWN}}}) is None
    assert prepare(api) == f"release app: an earlier run was cut off at revision 1 ({status}); finishing it"
    assert api.numbers == []


def test_own_install_of_something_else_stays(api: KubernetesApi) -> None:
    """Another program than the one that was cut off: Helm's record is not what is about to be released."""
    api.record(status="pending-install", values={**OWNED, "services": {}})
    assert "this very resource" in refusal(api)


def test_unfinished_record_beside_others_stays(api: KubernetesApi) -> None:
    """An upgrade that was cut off, of a release that the state lost: what was deployed before is not forgotten."""
    api.record(values=OWNED)
    api.record(number=2, status="pending-upgrade", values=OWNED)
    assert "revision 2 is pending-upgrade" in refusal(api)


@pytest.mark.parametrize("values", [OWNED, VALUES])
def test_upgrade_that_was_cut_off_is_finished(api: KubernetesApi, values: dict[str, Any]) -> None:
    """The state has the release: the pending record goes, with or without an owner; the deployed one stays."""
    api.record(values=values)
    api.record(number=2, status="pending-upgrade", values=values)
    text = prepare(api, values=values, known=True)
    assert text == "release app: an earlier run was cut off at revision 2 (pending-upgrade); finishing it"
    assert api.numbers == [1]


def test_upgrade_to_something_else_that_was_cut_off(api: KubernetesApi) -> None:
    """The pending record says something else: left to whoever runs this, with the command."""
    api.record(values=OWNED)
    api.record(number=2, status="pending-upgrade", values={**OWNED, "services": {}})
    assert "kubectl -n apps delete secret sh.helm.release.v1.app.v2" in refusal(api, known=True)


@pytest.mark.parametrize("status", ["deployed", "failed"])
def test_upgrade_of_a_release_that_is_whole(api: KubernetesApi, status: str) -> None:
    """Helm upgrades what is deployed, and what failed: there is nothing to do."""
    api.record(status=status, values={**VALUES, OWNER: OTHERS})
    assert prepare(api, known=True) is None
    assert api.numbers == [1]


@pytest.mark.parametrize("only_look", [False, True])
@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_records_that_cannot_be_read_are_left_to_helm(api: KubernetesApi, *, status: int, only_look: bool) -> None:
    """Helm never replaces a release by installing it: without the right to look, its own refusal is what is left."""
    api.record(values=OWNED)
    api.status = status
    assert prepare(api, only_look=only_look) is None
    assert api.numbers == [1]


def test_other_releases_do_not_count(api: KubernetesApi) -> None:
    """Only records of this name are asked for."""
    api.record(release="other")
    assert prepare(api) is None
    assert "labelSelector=owner%3Dhelm%2Cname%3Dapp" in api.asked[0]


def test_record_that_cannot_be_read_is_somebodys(api: KubernetesApi) -> None:
    """Another format of Helm's: nothing says that it is ours."""
    api.record(status="pending-install", values=OWNED)
    api.secrets[0]["data"]["release"] = "bm90IGd6aXA="
    assert "does not know" in refusal(api)


def test_gone_is_only_what_is_known_to_be_gone(api: KubernetesApi) -> None:
    """No record: gone. A record, or an API that does not say: not."""
    client = connect(Cluster(kubeconfig=kubeconfig({"one": api.url})))
    assert is_gone(client, "apps", "app")
    api.record()
    assert not is_gone(client, "apps", "app")
    assert is_gone(client, "apps", "other")
    for status in (401, 403, 404, 503):
        api.status = status
        assert not is_gone(client, "apps", "other"), status
    api.stop()
    assert not is_gone(client, "apps", "other")
