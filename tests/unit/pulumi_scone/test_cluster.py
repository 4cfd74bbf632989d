"""Which cluster a mesh hands on, and whose its release is."""

from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes
import pytest
from pulumi.resource import DependencyProviderResource
from pulumi.runtime.rpc import UNKNOWN, is_rpc_secret

from pulumi_scone import MeshDeployment
from support.component_meshes import FROM_FILES, write_files
from unit.pulumi_scone.conftest import Result, Run

TEXT = "apiVersion: v1\nkind: Config\n"


class Group(pulumi.ComponentResource):
    """A component around others."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__("test:index:Group", name, None, opts)


def deploy(run: Run, how: str, **of_provider: Any) -> Result:
    """The mesh, with a provider of its own that reaches it one way or another."""

    def program() -> None:
        given: Any = FROM_FILES
        if how == "none":
            MeshDeployment("app", given)
            return
        provider = pulumi_kubernetes.Provider("own", **of_provider)
        if how == "inherited":
            group = Group("all", pulumi.ResourceOptions(providers={"kubernetes": provider}))
            MeshDeployment("app", given, pulumi.ResourceOptions(parent=group))
        elif how == "provider":
            MeshDeployment("app", given, pulumi.ResourceOptions(provider=provider))
        else:
            MeshDeployment("app", given, pulumi.ResourceOptions(providers=[provider]))

    return run(program, preview=True)


@pytest.mark.parametrize("how", ["provider", "providers", "inherited"])
@pytest.mark.parametrize(
    ("given", "handed_on"),
    [
        ({"kubeconfig": TEXT}, {"kubeconfig": TEXT}),
        (
            {"kubeconfig": "~/config", "context": "c", "cluster": "d"},
            {"kubeconfig": "~/config", "context": "c", "cluster": "d"},
        ),
        ({"kubeconfig": {"kind": "Config"}}, {"kubeconfig": '{"kind": "Config"}'}),
        ({"context": "c"}, {"context": "c"}),
        ({}, {}),
    ],
)
def test_the_provider_of_the_release_is_the_rollouts(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    how: str,
    given: dict[str, Any],
    handed_on: dict[str, str],
) -> None:
    """Given to the mesh or to what it is in, as text, path or map: handed on as a secret, whole."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    write_files(tmp_path)
    found = deploy(run, how, **given).only(":Rollout").inputs["cluster"]
    assert is_rpc_secret(found)
    assert found["value"] == handed_on


def test_without_a_provider_nothing_is_added(run: Run, tmp_path: Path) -> None:
    """Stacks that have none see no new input."""
    write_files(tmp_path)
    assert "cluster" not in deploy(run, "none").only(":Rollout").inputs


@pytest.mark.parametrize(
    ("given", "is_warned"), [({}, False), ({"namespace": "default"}, False), ({"namespace": "x"}, True)]
)
def test_namespace_of_the_provider(run: Run, tmp_path: Path, given: dict[str, str], *, is_warned: bool) -> None:
    """The release's namespace is the mesh's argument: a provider with another one gets a warning that says so."""
    write_files(tmp_path)
    warnings = deploy(run, "providers", kubeconfig=TEXT, **given).warnings
    assert any('give "kubernetes_namespace": "x"' in line for line in warnings) == is_warned


def test_what_is_not_known_yet_stays_unknown(run: Run, tmp_path: Path) -> None:
    """The kubeconfig of a cluster that is still to be made; the mesh is previewed all the same."""
    write_files(tmp_path)
    unknown: Any = pulumi.UNKNOWN
    found = deploy(run, "providers", kubeconfig=pulumi.Output.from_input(unknown), context="c")
    assert found.only(":Rollout").inputs["cluster"] == UNKNOWN


def test_provider_of_a_program_in_another_language(run: Run, tmp_path: Path) -> None:
    """A component that is hosted for it gets a reference: what the engine has of it is what counts."""
    write_files(tmp_path)
    given: Any = FROM_FILES

    def program() -> None:
        provider = pulumi_kubernetes.Provider("own", kubeconfig=TEXT)
        reference = provider.urn.apply(lambda urn: DependencyProviderResource(f"{urn}::1234"))
        reference.apply(deploy_there)

    def deploy_there(provider: pulumi.ProviderResource) -> None:
        MeshDeployment("app", given, pulumi.ResourceOptions(providers=[provider]))

    assert run(program, preview=True).only(":Rollout").inputs["cluster"]["value"] == {"kubeconfig": TEXT}


def test_release_says_whose_it_is(run: Run, tmp_path: Path) -> None:
    """By a hash over stack and URN, and by name."""
    write_files(tmp_path)
    given: Any = {**FROM_FILES, "release": "fixed"}

    def owner(name: str) -> dict[str, str]:
        found = run(lambda: MeshDeployment(name, given), preview=True)
        return found.only(":Release").inputs["values"]["sconeOwner"]

    one, again, two = owner("app"), owner("app"), owner("shop")
    assert one == again
    assert set(one) == {"id", "name"}
    assert len(one["id"]) == 16
    assert one["id"] != two["id"]
    assert one["name"].startswith("app in ")
