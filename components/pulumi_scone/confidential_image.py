"""`ConfidentialImage`: a service manifest's image, encrypted, measured and pushed by digest."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from pulumi_scone._arguments import ConfidentialImageArgs
from pulumi_scone._inputs import builder_words, check_arguments, given_variables, hidden_identity, read_manifest
from pulumi_scone._native_stage import NativeStage, reference_of
from pulumi_scone._outputs import Outputs, secret_keys, settled, user_errors, warn
from pulumi_scone.resources import ImageBuild, VendorImage
from scone_policy.errors import SconeError
from scone_policy.model.services import MARKER
from scone_provider.derive.image import image_inputs
from scone_provider.derive.variable_substitution import filled_service
from scone_provider.derive.variables import Value, Variables
from scone_provider.manifest import ServiceManifest
from scone_provider.manifest.cautions import sentences
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.outputs import refuse_outputs
from scone_provider.manifest.variables import ReadVariables


class ConfidentialImage(pulumi.ComponentResource):
    """Builds without a daemon; what it will be is known in preview, once the base image is."""

    reference: pulumi.Output[str]
    """`repository@sha256:…`."""
    measurement: pulumi.Output[str]
    """What attestation finds, 64 hex digits."""
    fspf_tag: pulumi.Output[str]
    """Tag of the image's protection file, 32 hex digits."""
    key: pulumi.Output[str]
    """What stands for the image's file-system key in a policy (`fspf_key`); no secret."""

    def __init__(self, name: str, args: ConfidentialImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        values = Outputs()
        with user_errors():
            args = settled(args)
            check_arguments(args, ConfidentialImageArgs)
            variables = ReadVariables(given_variables(args, values))
            manifest, folder = read_manifest(
                args.get("manifest_file"), args.get("manifest"), variables, values, builder=builder_words(args)
            )
            warnings = [*variables.unread(), *sentences(manifest)]
            manifest, environment = _filled(manifest, given_variables(args, values, key="environment"))
            inputs = image_inputs(
                manifest,
                folder=folder,
                environment=environment,
                identity=hidden_identity(manifest.build.to, values),
                cas_key=values.hide(args.get("cas_key")),
            )
        self._set_up(name, values.show(inputs), args, opts)
        for warning in warnings:
            warn(warning, self)

    @classmethod
    def of_inputs(
        cls, name: str, inputs: Mapping[str, Any], args: Mapping[str, Any], opts: pulumi.ResourceOptions
    ) -> "ConfidentialImage":
        """The image of a mesh's service, whose inputs the mesh derived; of `args` only the settings count."""
        image = cls.__new__(cls)
        image._set_up(name, inputs, args, opts)  # noqa: SLF001  its own
        return image

    def _set_up(
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


def _filled(manifest: ServiceManifest, given: Mapping[str, str]) -> tuple[ServiceManifest, dict[str, str]]:
    """The manifest and the container's variables as a mesh would make them: local ones, and global ones as given or by
    default. There is no mesh, so `{{name}}` stands for a global variable.
    """
    declared = manifest.environment.global_
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise SconeError(
            f"{unknown[0]} is no global variable of this manifest",
            where=manifest.where("environment"),
            fix="only `environment.global` can be given a value from outside",
        )
    findings = Findings()
    found = {name: value for name, value in declared.items() if value is not None}
    found = {**found, **given}
    variables = Variables(
        service=manifest.build.name,
        values={
            name: Value(text=value, where=manifest.where("environment", "global", name))
            for name, value in found.items()
        },
        findings=findings,
        fix="Name {name} in environment.global of the manifest, and give it as environment.{name}.",
    )
    manifest = filled_service(manifest, variables)
    refuse_outputs(manifest.document, kind="genservice")
    places = {**dict.fromkeys(found, "global"), **dict.fromkeys(manifest.environment.local, "local")}
    environment = {
        name: variables.fill(value, where=manifest.where("environment", places[name], name))
        for name, value in {**found, **manifest.environment.local}.items()
    }
    findings.stop()
    return manifest, environment
