"""The image below the confidential layers, where the program or a container builder makes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_docker_build as docker_build
from pulumi.output import UNKNOWN

from scone_policy.errors import SconeError
from scone_provider.image.build.native_stage import (
    PIP_SECRET,
    Context,
    dockerfile,
    lay_out_context,
    native_reference,
    read_context,
)

_BUILD_IMAGE = "docker-build:index:Image"
_IMAGE = "docker:index/image:Image"
_REGISTRY_IMAGE = "docker:index/registryImage:RegistryImage"


def reference_of(image: object) -> pulumi.Input[str]:
    """The reference of a native image that the program hands in: a text, an Output, or an image resource itself.

    Known are the `Image` of pulumi_docker_build, and `Image` and `RegistryImage` of pulumi_docker. Raises SconeError.
    """
    if isinstance(image, str | pulumi.Output):
        return image
    kind = getattr(image, "pulumi_resource_type", "")
    if kind == _BUILD_IMAGE:
        return _built(image)  # type: ignore[arg-type]
    if kind == _IMAGE:
        found: pulumi.Output[str] = image.repo_digest  # type: ignore[attr-defined]
        return found
    if kind == _REGISTRY_IMAGE:
        both = pulumi.Output.all(image.name, image.sha256_digest)  # type: ignore[attr-defined]
        return both.apply(lambda parts: f"{_without_tag(parts[0])}@{parts[1]}")
    raise SconeError(
        f"a {type(image).__name__} is no image",
        where="native_image",
        fix="give a reference, an Output of one, or an Image of pulumi_docker_build or pulumi_docker",
    )


def _built(image: docker_build.Image) -> pulumi.Output[str]:
    """Its reference; unknown in a preview in which it has to be built again.

    There the plug-in gives an empty digest, and a tag that still names the image before.
    """

    def reference(ref: str, digest: str | None) -> pulumi.Output[str]:
        known: Any = UNKNOWN if not digest and pulumi.runtime.is_dry_run() else ref
        return pulumi.Output.from_input(known)

    return pulumi.Output.all(image.ref, image.digest).apply(lambda parts: reference(*parts))


def _without_tag(reference: str) -> str:
    head, slash, name = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{name.partition(':')[0]}"


@dataclass(frozen=True, kw_only=True)
class NativeStage:
    """What is to be built before the confidential layers, read from the project already. `run` may hold Outputs."""

    name: str
    to: pulumi.Input[str]
    base: pulumi.Input[str]
    run: list[pulumi.Input[str]]
    context: Context
    settings: Mapping[str, Any]

    @classmethod
    def read(
        cls, name: str, inputs: Mapping[str, Any], *, wanted: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> "NativeStage":
        """The stage of `inputs` (`scone_provider.derive.image`); `wanted` is `run` and `requirements`.

        Raises SconeError for what cannot be read.
        """
        context = read_context(
            Path(inputs["folder"]),
            copy=sorted(inputs["copy"]),
            dirs=sorted(inputs["dirs"]),
            pwd=inputs.get("pwd") or "/",
            requirements=wanted.get("requirements"),
            places=inputs.get("where") or {},
        )
        return cls(
            name=name,
            to=inputs["to"],
            base=inputs["from"],
            run=list(wanted.get("run") or ()),
            context=context,
            settings=settings,
        )

    def image(self, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """Registers the image and returns its reference by digest: unknown in a preview in which it has to be built."""
        context = self.context
        # The path is compared as text and has to be the same on every machine.
        location = lay_out_context(Path.cwd(), f"{pulumi.get_stack()}/{self.name}", context)
        text = pulumi.Output.all(base=self.base, run=pulumi.Output.all(*self.run)).apply(
            lambda found: dockerfile(context, base=found["base"], run=found["run"])
        )
        pip_config, builder = self.settings.get("pip_config"), self.settings.get("builder")
        image = docker_build.Image(
            self.name,
            build_on_preview=False,
            push=True,
            platforms=[docker_build.Platform.LINUX_AMD64],
            tags=[pulumi.Output.from_input(self.to).apply(native_reference)],
            context=docker_build.BuildContextArgs(location=location),
            dockerfile=docker_build.DockerfileArgs(inline=text),
            # Times of the builder's own would make each build another image.
            build_args={"SOURCE_DATE_EPOCH": "0", **(self.settings.get("build_args") or {})},
            builder=docker_build.BuilderConfigArgs(name=builder) if builder else None,
            secrets={PIP_SECRET: pulumi.Output.secret(pip_config)} if pip_config else None,
            ignore_secrets_in_diff_calculation=[PIP_SECRET],
            opts=opts,
        )
        return _built(image)
