"""A `kubernetes.Provider` of the program's own: its cluster is everywhere, the ambient one nowhere."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from support.kubernetes_api import kubeconfig
from support.mesh import MeshProject

PROGRAM = '''
from pathlib import Path

import pulumi_kubernetes
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Made(ResourceProvider):
    """Stands for a cloud's cluster: its kubeconfig is known when it is made."""

    def create(self, props):
        return CreateResult("made", {"kubeconfig": Path(props["path"]).read_text()})


class CloudCluster(Resource, module="test", name="Cluster"):
    kubeconfig: pulumi.Output[str]

    def __init__(self, name):
        opts = pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"])
        super().__init__(Made(), name, {"path": config.require("kubeconfigFile"), "kubeconfig": None}, opts)


config = pulumi.Config("pulumi-scone")
cluster = pulumi_kubernetes.Provider("cloud", kubeconfig=CloudCluster("cloud").kubeconfig, context="real")
'''

HOST = """#!{python}
from pulumi.provider.experimental import component_provider_host

from pulumi_scone import MeshDeployment

component_provider_host(name="scone", components=[MeshDeployment], version="1.0.0")
"""
HOSTED = '''
class Mesh(pulumi.ComponentResource):
    """As the package is that Pulumi makes of the component for a program in another language."""

    def __init__(self, name, args, opts):
        super().__init__("scone:index:MeshDeployment", name, args, opts, remote=True)


Mesh(
    "hello",
    {
        "meshFile": "mesh.yaml",
        "manifestFiles": ["service.yaml"],
        "variables": {"CAS_URL": config.require("casUrl"), "APP_IMAGE_REPO": config.require("imageRepo")},
        "kubernetesNamespace": config.require("kubernetesNamespace"),
    },
    pulumi.ResourceOptions(providers=[cluster], version="1.0.0"),
)
'''


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose kubeconfig is of a cluster that does not answer."""
    path = tmp_path_factory.mktemp("ambient") / "kubeconfig"
    path.write_text(kubeconfig({"wrong": "https://127.0.0.1:1"}))
    return {"KUBECONFIG": str(path)}


def two_clusters(mesh: MeshProject) -> tuple[Path, str]:
    """The path of a kubeconfig with the real cluster beside a dead one, which is its current context; and a secret."""
    content = yaml.safe_load(Path(mesh.environment["KUBECONFIG"]).read_text())
    content["contexts"][0]["name"] = "real"
    dead = yaml.safe_load(kubeconfig({"dead": "https://127.0.0.1:1"}))
    content["current-context"] = "dead"
    for key in ("clusters", "contexts", "users"):
        content[key] += dead[key]
    path = mesh.folder.parent / "two-clusters"
    path.write_text(yaml.safe_dump(content))
    return path, content["users"][0]["user"]["client-key-data"]


def test_only_its_cluster_is_asked(new_mesh: Callable[..., MeshProject], elsewhere: dict[str, str]) -> None:
    """Not known in the first preview, its context not the current one: release, pull secret, watch, refresh go there.

    The kubeconfig is nowhere in clear, and an `up` after it was renewed is a no-op.
    """
    mesh = new_mesh()
    path, secret = two_clusters(mesh)
    mesh.pulumi("config", "set", "pulumi-scone:kubeconfigFile", str(path))
    mesh.edit("__main__.py", "import pulumi\n", "import pulumi\n" + PROGRAM)
    mesh.edit("__main__.py", '    "hello",\n    {\n', '    "hello",\n    {\n        "pull_secret": True,\n')
    mesh.edit(
        "__main__.py",
        "    },\n)\n",
        '        "registry_credentials": pulumi.Output.secret(\'{"auths": {}}\'),\n    },\n'
        "    pulumi.ResourceOptions(providers=[cluster]),\n)\n",
    )
    text = mesh.preview(environment=elsewhere).text
    assert "scone:Rollout" in text
    mesh.up(environment=elsewhere)
    assert "Integrity OK" in mesh.log_until("Integrity OK")
    assert "sconeapps" in [item["metadata"]["name"] for item in mesh.get("secrets")]
    assert mesh.preview_steps(environment=elsewhere) == {}
    mesh.pulumi("refresh", "--yes", "--skip-preview", "--color=never", environment=elsewhere)
    assert mesh.preview_steps(environment=elsewhere) == {}
    assert secret.encode() not in mesh.everything_written()
    # What would be wrong on the other cluster is found on this one: a refusal of the watch names the pod.
    mesh.edit("mesh.yaml", "value: myself", "value: somebody")
    mesh.up(environment=elsewhere)
    assert "Hello, 'somebody'" in mesh.log_until("somebody")
    mesh.pulumi("destroy", "--yes", "--skip-preview", "--color=never", environment=elsewhere)
    assert mesh.get("deployments") == []


def test_component_that_is_hosted_for_another_language(
    new_mesh: Callable[..., MeshProject], elsewhere: dict[str, str]
) -> None:
    """It has a reference to the provider only: the engine tells it the cluster, and whose a release is is asked there.

    Seen from the engine, what a program in another language would do: the component runs in a process of its own.
    """
    mesh = new_mesh()
    path, secret = two_clusters(mesh)
    mesh.pulumi("config", "set", "pulumi-scone:kubeconfigFile", str(path))
    plugin = mesh.folder.parent / "plugins" / "pulumi-resource-scone"
    plugin.parent.mkdir()
    plugin.write_text(HOST.format(python=sys.executable))
    plugin.chmod(0o755)
    environment = {**elsewhere, "PATH": f"{plugin.parent}:{mesh.environment['PATH']}"}
    (mesh.program / "__main__.py").write_text("import pulumi\n" + PROGRAM + HOSTED)
    assert "scone:Rollout" in mesh.preview(environment=environment).text
    mesh.up(environment=environment)
    assert "Integrity OK" in mesh.log_until("Integrity OK")
    assert mesh.preview_steps(environment=environment) == {}
    assert secret.encode() not in mesh.everything_written()
    mesh.pulumi("destroy", "--yes", "--skip-preview", "--color=never", environment=environment)
    assert mesh.get("deployments") == []
