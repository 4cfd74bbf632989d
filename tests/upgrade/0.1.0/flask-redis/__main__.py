"""Two confidential services: an API that is built here, and Redis out of the catalogue."""

import pulumi

from pulumi_scone import MeshDeployment

config = pulumi.Config()
mesh = MeshDeployment(
    "notes",
    {
        "mesh_file": "mesh.yaml",
        "manifest_files": ["api.service.yaml"],  # redis needs none
        "variables": {
            "CAS_URL": config.require("casUrl"),
            "CAS_NAMESPACE": config.require("casNamespace"),
            "APP_IMAGE_REPO": config.require("imageRepo"),
            "REDIS_VOLUME": config.get("redisVolume") or "",
        },
        "kubernetes_namespace": config.require("kubernetesNamespace"),
        "delete_images": config.get_bool("deleteImages") or False,
    },
)
pulumi.export("namespace", mesh.namespace)
pulumi.export("images", mesh.images)
pulumi.export("release", mesh.release)
