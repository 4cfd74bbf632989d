"""A native image that the program builds, by either of two providers, runs as a confidential service."""

import pulumi

from pulumi_scone import MeshDeployment

config = pulumi.Config()
repository = config.require("imageRepo")

if config.get("with") == "docker":
    import pulumi_docker

    native: object = pulumi_docker.Image(
        "native", image_name=f"{repository}/native:1", build=pulumi_docker.DockerBuildArgs(context="app")
    )
else:
    import pulumi_docker_build

    native = pulumi_docker_build.Image(
        "native",
        push=True,
        build_on_preview=False,
        tags=[f"{repository}/native:1"],
        context=pulumi_docker_build.BuildContextArgs(location="./app"),
    )

mesh = MeshDeployment(
    "greetings",
    {
        "mesh_file": "mesh.yaml",
        "manifest_files": ["service.yaml"],
        "native_images": {"greeter": native},
        "variables": {
            "CAS_URL": config.require("casUrl"),
            "CAS_NAMESPACE": config.require("casNamespace"),
            "IMAGE_REPO": repository,
        },
        "kubernetes_namespace": config.require("kubernetesNamespace"),
    },
)
pulumi.export("images", mesh.images)
pulumi.export("release", mesh.release)
