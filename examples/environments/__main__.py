"""One mesh, several environments: program and manifests are the same for all; `Pulumi.<stack>.yaml` differs."""

import pulumi

from pulumi_scone import MeshDeployment

config = pulumi.Config()
shop = MeshDeployment(
    "shop",
    {
        "mesh_file": "mesh.yaml",
        "manifest_files": ["service.yaml"],
        "variables": {"STACK": pulumi.get_stack(), **config.require_object("variables")},
        "kubernetes_namespace": config.require("kubernetesNamespace"),
    },
)
pulumi.export("namespace", shop.namespace)
pulumi.export("images", shop.images)
