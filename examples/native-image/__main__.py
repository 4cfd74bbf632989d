"""A native image that the program makes, by either of two providers, becomes a confidential one.

pulumi config set native-image:registry registry.example.com/team
pulumi config set native-image:with docker-build     # or docker: pip install "pulumi-scone[docker]"
"""

import pulumi

from pulumi_scone import ConfidentialImage

config = pulumi.Config()
registry = config.require("registry")

if config.get("with") == "docker":
    import pulumi_docker

    native: object = pulumi_docker.Image(
        "native", image_name=f"{registry}/native:1", build=pulumi_docker.DockerBuildArgs(context="app")
    )
else:
    import pulumi_docker_build

    native = pulumi_docker_build.Image(
        "native",
        push=True,
        build_on_preview=False,
        tags=[f"{registry}/native:1"],
        context=pulumi_docker_build.BuildContextArgs(location="./app"),
    )

image = ConfidentialImage(
    "greeter",
    {
        "manifest_file": "service.yaml",
        "variables": {"REGISTRY": registry},
        "native_image": native,
    },
)
pulumi.export("image", image.reference)
pulumi.export("measurement", image.measurement)
