"""A confidential mesh of one service: image, policies and release from two manifests."""

import pulumi

from pulumi_scone import MeshDeployment

config = pulumi.Config("pulumi-scone")
mesh = MeshDeployment(
    "hello",
    {
        "mesh_file": "mesh.yaml",
        "manifest_files": ["service.yaml"],
        "variables": {"CAS_URL": config.require("casUrl"), "APP_IMAGE_REPO": config.require("imageRepo")},
        "kubernetes_namespace": config.require("kubernetesNamespace"),
        "delete_images": config.get_bool("deleteImages") or False,
    },
)
pulumi.export("namespace", mesh.namespace)
pulumi.export("images", mesh.images)
pulumi.export("release", mesh.release)
