"""A mesh on its way: read, derived, and filled in as its images, CASes and policies become known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi

from pulumi_scone._arguments import MeshDeploymentArgs
from pulumi_scone._image_component import ImageComponent
from pulumi_scone._inputs import (
    builder_words,
    files_of,
    given_variables,
    hidden_identity,
    is_for_production,
    read_manifest,
    read_mesh,
    read_text,
    refuse_in_production,
)
from pulumi_scone._mesh_files import own_charts
from pulumi_scone._outputs import Outputs
from pulumi_scone._policy_delivery import Policy
from pulumi_scone._rollout import overlaps
from pulumi_scone.resources import Cas, SecurityPolicy
from scone_policy import parse
from scone_policy.model.security import DEBUG_MODE
from scone_policy.syntax.holes import has_hole
from scone_provider.cas.trust import testing_switches, tolerance_map
from scone_provider.catalogue.load import load_catalogue
from scone_provider.chart import lay_out
from scone_provider.derive import ImageFacts, MeshPlan, PlanRequest, derive
from scone_provider.derive.image import destination, encrypted_paths, image_inputs
from scone_provider.derive.pipeline import Source, Surroundings, assign, complete, fill
from scone_provider.derive.variable_substitution import destination_filler, filled_mesh
from scone_provider.errors import ImageError, ManifestError
from scone_provider.image.build.source_files import encrypted_sizes
from scone_provider.manifest import Mesh, ServiceManifest
from scone_provider.manifest.image_assignment import digest_of, is_built_as
from scone_provider.manifest.names import kubernetes_name
from scone_provider.manifest.outputs import refuse_outputs
from scone_provider.manifest.variables import ReadVariables
from scone_provider.stack.production import refuse_testing, testing_parts


class MeshBuilder:
    """A mesh that was read and derived, with holes for what its images and policies will be."""

    def __init__(self, name: str, args: MeshDeploymentArgs) -> None:
        self.values = Outputs()
        self.release = args.get("release") or kubernetes_name(name)
        variables = ReadVariables(given_variables(args, self.values))
        mesh = read_mesh(args.get("mesh_file"), args.get("mesh"), variables, self.values)
        self.mesh: Mesh = filled_mesh(mesh, release=self.release)
        refuse_outputs(self.mesh.document, kind="mesh")
        builder = builder_words(args)
        around = Surroundings(
            read=read_text, catalogue=lambda: load_catalogue(files_of(args, "catalogue")), variables=variables
        )
        own = assign(self.mesh, self._sources(args, variables, builder))
        self._written = complete(self.mesh, own, around, release=self.release)
        self._tolerances = {called: tolerance_map(cas.tolerance or "") for called, cas in self.mesh.cas.items()}
        _refuse_in_production(self.mesh)
        self._cas_keys = {called: self.values.promise() for called, cas in self.mesh.cas.items() if not cas.cas_key}
        filled = fill(self._written, cas_keys=self._cas_keys)
        self.manifests = filled.manifests
        for manifest in self.manifests.values():
            refuse_outputs(manifest.document, kind="genservice")
        self.destinations = {
            service: destination(self.mesh, one, later=self.values.later) for service, one in self.manifests.items()
        }
        """Service → where its image is pushed: `build.to`, or its name in `repo.destination`."""
        self._facts = {
            service: self._promise(manifest, self._written.folders[service], vendor=bool(builder))
            for service, manifest in self.manifests.items()
        }
        self._digests = {service: self.values.promise() for service in self.manifests}
        self.overlaps = overlaps(args, self.mesh)
        self._revisions = {service: self.values.promise() for service in self.manifests if self.overlaps}
        self.plan: MeshPlan = derive(
            PlanRequest(
                mesh=filled,
                images=self._facts,
                owners=tuple(self.values.hide(list(args.get("owners") or ()))),
                policy_digests=self._digests,
                revisions=self._revisions,
                later=self.values.later,
            )
        )
        self.warnings = (*variables.unread(), *self.plan.warnings)
        if is_for_production():
            self._refuse_testing_templates()
        charts = own_charts(self.mesh)
        self._own_charts = {kubernetes_name(service) for service in charts}
        self.chart = lay_out(
            Path.cwd(), {kubernetes_name(service): files for service, files in charts.items()}, self.release
        )

    def _sources(
        self, args: MeshDeploymentArgs, variables: Mapping[str, str], builder: Sequence[str]
    ) -> Sequence[Source]:
        """The manifests that the program gives."""
        given: list[tuple[str | None, Mapping[str, Any] | None]] = [
            *((file, None) for file in files_of(args, "manifest_files")),
            *((None, content) for content in args.get("manifests") or ()),
        ]
        read = [read_manifest(file, content, variables, self.values, builder=builder) for file, content in given]
        named = destination_filler(self.mesh, release=self.release)
        return [Source(manifest=named(manifest), folder=folder) for manifest, folder in read]

    def _refuse_testing_templates(self) -> None:
        """What the Meshfile does not say, a policy template or a fragment of a manifest may."""
        found: dict[str, tuple[str, ...]] = {}
        for service, policy in self.plan.policies.items():
            template = self._written.templates.get(service)
            said = template.data if template is not None and isinstance(template.data, Mapping) else {}
            for path, names in testing_parts(parse(policy)).items():
                if template is not None and path[0] in said:
                    found[template.where(path)] = names
                elif path[0] == "secrets":
                    found[self.manifests[service].where(*path)] = names
        refuse_testing(found)

    @property
    def summary(self) -> Mapping[str, object]:
        """What the component itself shows in a preview: the intent, not the details."""
        return {
            "namespace": self.values.show(self.plan.namespace),
            "services": dict.fromkeys(self.manifests, True),
            "release": self.release,
        }

    def image_inputs(self, service: str) -> dict[str, Any]:
        """What the service's image is built from."""
        chart = next(item for item in self.plan.chart["services"].values() if item["service"] == service)
        inputs = image_inputs(
            self.manifests[service],
            folder=self._written.folders[service],
            environment=chart["env"],
            identity=self._facts[service].identity,
            cas_key=self.mesh.cas_of("cas").cas_key,
            container=self.plan.containers[service],
        )
        image = self.mesh.services[service].image
        if is_built_as(image, self.manifests[service].build.to) and (digest := digest_of(image)):
            inputs["demanded"] = digest
            inputs["where"]["demanded"] = self.mesh.where("services", service, "image")
        elif service not in self._written.curated and not is_built_as(image, self.manifests[service].build.to):
            return {**inputs, "to": self._equal(service, image)}
        return {**inputs, "to": self.destinations[service]}

    def _equal(self, service: str, image: str) -> str:
        """The destination of an image that the Meshfile and the manifest name by two Outputs; they must be one name."""
        to, where = self.manifests[service].build.to, self.mesh.where("services", service, "image")

        def same(found: str) -> str:
            named, built, pushed = found.split("\n")
            if not is_built_as(named, built):
                raise ManifestError(
                    f"the service {service} uses {named}, but its manifest builds {built}",
                    where=where,
                    fix="Make image and build.to equal.",
                )
            return pushed

        return self.values.later(f"{image}\n{to}\n{self.destinations[service]}", same)

    def know_image(self, service: str, image: ImageComponent) -> None:
        """Fill the holes that waited for an image."""
        facts = self._facts[service]
        self.values.keep(facts.reference, image.reference)
        self.values.keep(facts.measurement, image.measurement)
        self.values.keep(facts.fspf_tag, image.fspf_tag)
        if facts.key is not None:
            # Sealed already; but states have it as a secret, and would show another one as a change.
            self.values.keep(facts.key, pulumi.Output.secret(image.key))

    def tolerance(self, called: str) -> dict[str, object]:
        """The switches under which a CAS is trusted."""
        return self._tolerances[called]

    def know_cas(self, called: str, cas: Cas) -> None:
        """Fill the hole that waited for the key of a CAS that the mesh does not pin."""
        if called in self._cas_keys:
            self.values.keep(self._cas_keys[called], cas.attested_key)

    def know_policies(self, policies: Mapping[str, Policy], namespace: Policy, shared: Policy | None) -> None:
        """Fill the holes that waited for policies: a digest over a service's own and all that it imports from."""
        by_name = {f"{self.plan.namespace}/{service}": policy.digest for service, policy in policies.items()}
        by_name[self.plan.namespace] = namespace.digest
        if shared is not None:
            by_name[self.plan.shared_key] = shared.digest
        for service, policy in policies.items():
            imported = [by_name[found] for found in self.plan.imports[service] if found in by_name]
            joined = pulumi.Output.concat(policy.digest, *[part for digest in imported for part in ("+", digest)])
            self.values.keep(self._digests[service], joined)
            if isinstance(policy, SecurityPolicy) and service in self._revisions:
                self.values.keep(self._revisions[service], policy.revision)

    def chart_values(self) -> Mapping[str, Any]:
        """The values of the release, `helm_extra_values` merged in."""
        values = self.values.show(self.plan.chart)
        merged: dict[str, Any] = _merged({"services": values["services"]}, values["extra"])
        for service in self._own_charts:
            # The service's own chart gets the same values, under its name; ours then leaves the service to it.
            merged[service] = _merged({**merged["services"][service], "name": service}, merged.get(service, {}))
            merged["services"] = {**merged["services"], service: {**merged["services"][service], "ownChart": True}}
        return merged

    def _promise(self, manifest: ServiceManifest, folder: str, *, vendor: bool) -> ImageFacts:
        return ImageFacts(
            reference=self.values.promise(),
            measurement=self.values.promise(),
            fspf_tag=self.values.promise(),
            identity=hidden_identity(manifest.build.to, self.values),
            key=self.values.promise() if vendor else None,
            encrypted_paths=() if vendor else encrypted_paths(manifest),
            sizes={} if vendor else _sizes(manifest, folder),
        )


def _sizes(manifest: ServiceManifest, folder: str) -> dict[str, int]:
    """What the encrypted directories take; nothing where that cannot be known: the image's own check says why."""
    copy = manifest.build.copy_
    if has_hole(copy):
        return {}
    try:
        return encrypted_sizes(Path(folder), copy, into=manifest.build.pwd or "/", dirs=encrypted_paths(manifest))
    except ImageError:
        return {}


def _refuse_in_production(mesh: Mesh) -> None:
    places = {
        mesh.where("cas", name, "tolerance"): testing_switches(cas.tolerance or "") for name, cas in mesh.cas.items()
    }
    debug = tuple(item for item in mesh.policy.tolerate if item == DEBUG_MODE)
    refuse_in_production({**places, mesh.where("policy", "tolerate"): debug})


def _merged(base: Any, extra: Any) -> Any:  # noqa: ANN401  JSON-like trees
    """`extra` over `base`, maps merged by key."""
    if isinstance(base, Mapping) and isinstance(extra, Mapping):
        return {key: _merged(base.get(key), extra[key]) if key in extra else base[key] for key in {**base, **extra}}
    return extra
