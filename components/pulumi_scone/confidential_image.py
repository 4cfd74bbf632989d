"""`ConfidentialImage`: a service manifest's image, encrypted, measured and pushed by digest."""

from collections.abc import Mapping

import pulumi

from pulumi_scone._arguments import ConfidentialImageArgs
from pulumi_scone._image_component import ImageComponent
from pulumi_scone._inputs import builder_words, check_arguments, given_variables, hidden_identity, read_manifest
from pulumi_scone._outputs import Outputs, settled, user_errors, warn
from scone_policy.errors import SconeError
from scone_provider.derive.image import image_inputs
from scone_provider.derive.variable_substitution import filled_service
from scone_provider.derive.variables import Value, Variables
from scone_provider.manifest import ServiceManifest
from scone_provider.manifest.cautions import sentences
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.outputs import refuse_outputs
from scone_provider.manifest.variables import ReadVariables


class ConfidentialImage(ImageComponent):
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
        super().__init__(name, values.show(inputs), args, opts)
        for warning in warnings:
            warn(warning, self)


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
