"""`ConfidentialImage`: a service manifest's image, encrypted, measured and pushed by digest."""

from collections.abc import Mapping
from pathlib import Path

import pulumi
from scone_policy.errors import SconeError
from scone_provider.derive import image_inputs
from scone_provider.manifest import ServiceManifest, load_service

from pulumi_scone._arguments import ConfidentialImageArgs
from pulumi_scone._values import Values, user_errors
from pulumi_scone.resources import ImageBuild


class ConfidentialImage(pulumi.ComponentResource):
    """Builds without a daemon; what it will be is known in preview, once the base image is."""

    reference: pulumi.Output[str]
    """`repository@sha256:…`."""
    measurement: pulumi.Output[str]
    """What attestation finds, 64 hex digits."""
    fspf_tag: pulumi.Output[str]
    """Tag of the image's protection file, 32 hex digits."""

    def __init__(self, name: str, args: ConfidentialImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        values = Values()
        with user_errors():
            manifest, folder = _manifest(args, values)
            inputs = image_inputs(
                manifest,
                folder=folder,
                environment=values.hide(args.get("environment") or {}),
                cas_key=args.get("cas_key"),
            )
        self.inputs: Mapping[str, object] = inputs
        """What the image is built from, as the resource under it has it."""
        super().__init__("scone:index:ConfidentialImage", name, {"to": values.show(inputs["to"])}, opts)
        for warning in manifest.warnings:
            pulumi.log.warn(warning, self)
        settings = {"delete_images": args.get("delete_images") or None, "refresh_base": args.get("refresh_base") or None}
        self.build = ImageBuild(
            name, inputs=values.show(inputs) | settings, opts=pulumi.ResourceOptions(parent=self)
        )
        self.reference = self.build.reference
        self.measurement = self.build.measurement
        self.fspf_tag = self.build.fspf_tag
        self.register_outputs({"reference": self.reference, "measurement": self.measurement, "fspf_tag": self.fspf_tag})
