"""The component of an image whose inputs are derived: the build, by this package or another toolchain's builder."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from pulumi_scone._inputs import builder_words
from pulumi_scone._native_stage import NativeStage, reference_of
from pulumi_scone._outputs import secret_keys, user_errors
from pulumi_scone.resources import ImageBuild, VendorImage
from scone_policy.errors import SconeError
from scone_policy.model.services import MARKER


class ImageComponent(pulumi.ComponentResource):
    """Makes an image of inputs as `derive.image.image_inputs` gives them; of `args` only the settings count."""

    def __init__(
        self, name: str, inputs: Mapping[str, Any], args: Mapping[str, Any], opts: pulumi.ResourceOptions | None
    ) -> None:
        self.build: ImageBuild | VendorImage
        inputs = dict(inputs)
        wanted, document = inputs.pop("native", None), inputs.pop("document")
        with user_errors():
            if builder := builder_words(args):
                asked = {"requirements": (wanted or {}).get("requirements"), "signature": inputs.get("signature")}
                self._let_build(name, {**inputs, **asked}, args, opts, document=document, builder=builder)
                return
            if args.get("native_image") is not None:
                inputs["from"] = reference_of(args["native_image"])
            if "from" not in inputs:
                raise SconeError(
                    "nothing says which image is to become confidential",
                    where=inputs["where"].get("kind", "build"),
                    fix="name it in `from`, or give an image that the program makes as native_image",
                )
            settings = args.get("native_stage") or {}
            stage = NativeStage.read(name, inputs, wanted=wanted, settings=settings) if wanted else None
        super().__init__("scone:index:ConfidentialImage", name, {"to": inputs["to"]}, opts)
        # A component's depends_on does not reach its children.
        child = pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on if opts else None)
        if stage is not None:
            # docker-build deletes what it pushed, whoever else uses it: the image built on it does that instead.
            kept = pulumi.ResourceOptions(retain_on_delete=True)
            inputs |= {"from": stage.image(pulumi.ResourceOptions.merge(child, kept)), "native_stage": True}
        asked = {key: True for key in ("delete_images", "refresh_base") if args.get(key)}
        told = {"secret": secret_keys({key: inputs[key] for key in ("to", "from")})}
        self.build = ImageBuild(name, inputs={**inputs, **asked, **told}, opts=child)
        self.key = pulumi.Output.concat(MARKER, inputs["identity"])
        self._know()

    def _let_build(
        self,
        name: str,
        inputs: Mapping[str, Any],
        args: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None,
        *,
        document: Mapping[str, Any],
        builder: Sequence[str],
    ) -> None:
        """The image of another toolchain's builder: it gets manifest and folder, and says what it made."""
        native = reference_of(args["native_image"]) if args.get("native_image") is not None else None
        super().__init__("scone:index:ConfidentialImage", name, {"to": inputs["to"]}, opts)
        self.build = VendorImage(
            name,
            inputs={
                **{key: inputs[key] for key in ("name", "identity", "to", "folder", "copy", "where")},
                "manifest": document,
                "builder": {str(number): word for number, word in enumerate(builder)},
                **{key: inputs[key] for key in ("requirements", "signature", "demanded") if inputs.get(key)},
                "native_image": native,
                "secret": secret_keys({"to": inputs["to"]}),
                "delete_images": bool(args.get("delete_images")) or None,
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on if opts else None),
        )
        self.key = self.build.key
        self._know()

    def _know(self) -> None:
        self.reference = self.build.reference
        self.measurement = self.build.measurement
        self.fspf_tag = self.build.fspf_tag
        self.register_outputs({"reference": self.reference, "measurement": self.measurement, "fspf_tag": self.fspf_tag})
