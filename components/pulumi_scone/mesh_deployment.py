"""`MeshDeployment`: a Meshfile and its services, from manifests to running pods."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi_kubernetes.helm.v3 import Release, ReleaseArgs

from pulumi_scone._arguments import MeshDeploymentArgs
from pulumi_scone._policy import as_secrets
from pulumi_scone._sources import (
    check_arguments,
    files_of,
    given_variables,
    hidden_identity,
    read_manifest,
    read_mesh,
)
from pulumi_scone._values import Values, user_errors
from pulumi_scone.cas_namespace import CasNamespace
from pulumi_scone.confidential_image import ConfidentialImage
from pulumi_scone.resources import Rollout, SecurityPolicy
from scone_policy.errors import SconeError
from scone_provider.chart import lay_out
from scone_provider.derive import ImageFacts, MeshPlan, derive
from scone_provider.derive.chart import kubernetes_name
from scone_provider.derive.image import encrypted_paths, image_inputs
from scone_provider.manifest import Mesh, ServiceManifest
from scone_provider.trust import tolerance_map

_ROLLOUT_SECONDS = 120


class MeshDeployment(pulumi.ComponentResource):
    """CAS attested → images pushed → policies uploaded → release → pods ready. Destroyed in the opposite order."""

    namespace: pulumi.Output[str]
    """Namespace of the policies at CAS."""
    images: pulumi.Output[Mapping[str, str]]
    """Service → image by digest."""
    policies: pulumi.Output[Mapping[str, str]]
    """Service → hash of its session, as CAS computed it."""
    release: pulumi.Output[str]
    """Name of the Helm release."""

    def __init__(self, name: str, args: MeshDeploymentArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        with user_errors():
            check_arguments(args, MeshDeploymentArgs)
            draft = _Draft(name, args)
        super().__init__("scone:index:MeshDeployment", name, draft.summary, opts)
        for warning in draft.plan.warnings:
            pulumi.log.warn(warning, self)
        namespace = self._namespace(name, args, draft)
        images = {service: self._image(name, service, args, draft, namespace) for service in draft.manifests}
        policies = {service: self._policy(name, service, args, draft, namespace) for service in draft.manifests}
        draft.know_policies(policies, namespace.policy)
        self.chart = Release(
            name,
            ReleaseArgs(
                chart=draft.chart,
                name=draft.release,
                namespace=args.get("kubernetes_namespace", "default"),
                values=draft.chart_values(),
                skip_await=True,  # Rollout waits, and says why a pod does not come up
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*policies.values(), *images.values()]),
        )
        self.rollout = Rollout(
            name,
            inputs=draft.rollout(args),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.chart]),
        )
        self.namespace = namespace.namespace
        self.images = pulumi.Output.all(**{service: image.reference for service, image in images.items()})
        self.policies = pulumi.Output.all(**{service: policy.hash for service, policy in policies.items()})
        self.release = pulumi.Output.from_input(draft.release)
        self.register_outputs(
            {"namespace": self.namespace, "images": self.images, "policies": self.policies, "release": self.release}
        )

    def _namespace(self, name: str, args: MeshDeploymentArgs, draft: "_Draft") -> CasNamespace:
        cas = draft.mesh.cas_of("cas")
        arguments: dict[str, Any] = {
            "namespace": draft.plan.namespace,
            "cas_url": draft.values.show(cas.cas_url),
            "tolerance": cas.tolerance or "",
            "policy": draft.values.show(draft.plan.namespace_policy),
            "adopt": bool(args.get("adopt")),
        }
        if cas.cas_key:
            arguments["cas_key"] = draft.values.show(cas.cas_key)
        return CasNamespace(name, arguments, pulumi.ResourceOptions(parent=self))  # type: ignore[arg-type]

    def _image(
        self, name: str, service: str, args: MeshDeploymentArgs, draft: "_Draft", namespace: CasNamespace
    ) -> ConfidentialImage:
        inputs = draft.values.show(draft.image_inputs(service))
        options = pulumi.ResourceOptions(parent=self, depends_on=[namespace.cas])
        image = ConfidentialImage.of_inputs(f"{name}-{service}", inputs, args, options)
        draft.know_image(service, image)
        return image

    def _policy(
        self, name: str, service: str, args: MeshDeploymentArgs, draft: "_Draft", namespace: CasNamespace
    ) -> SecurityPolicy:
        return SecurityPolicy(
            f"{name}-{service}",
            cas=namespace.trust,
            policy=as_secrets(draft.values.show(draft.plan.policies[service])),
            adopt=bool(args.get("adopt")),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace.policy]),
        )


class _Draft:
    """A mesh that was read and derived, with holes for what its images and policies will be."""

    def __init__(self, name: str, args: MeshDeploymentArgs) -> None:
        self.values = Values()
        self.release = args.get("release") or kubernetes_name(name)
        variables = given_variables(args, self.values)
        self.mesh: Mesh = read_mesh(args.get("mesh_file"), args.get("mesh"), variables, self.values)
        sources = [read_manifest(file, None, variables, self.values) for file in files_of(args, "manifest_files")]
        sources += [read_manifest(None, content, variables, self.values) for content in args.get("manifests") or ()]
        self.manifests, self._folders = _assign(self.mesh, sources)
        _refuse_in_production(self.mesh)
        self._facts = {service: self._promise(manifest) for service, manifest in self.manifests.items()}
        self._digests = {service: self.values.promise() for service in self.manifests}
        self.plan: MeshPlan = derive(
            self.mesh,
            self.manifests,
            self._facts,
            owners=tuple(args.get("owners") or ()),
            release=self.release,
            policy_digests=self._digests,
        )
        self.chart = lay_out(Path.cwd())

    @property
    def summary(self) -> Mapping[str, object]:
        """What the component itself shows in a preview: the intent, not the details."""
        return {
            "namespace": self.plan.namespace,
            "services": dict.fromkeys(self.manifests, True),
            "release": self.release,
        }

    def image_inputs(self, service: str) -> dict[str, Any]:
        """What the service's image is built from."""
        chart = next(item for item in self.plan.chart["services"].values() if item["service"] == service)
        return image_inputs(
            self.manifests[service],
            folder=self._folders[service],
            environment=chart["env"],
            identity=self._facts[service].identity,
            cas_key=self.mesh.cas_of("cas").cas_key,
        )

    def know_image(self, service: str, image: ConfidentialImage) -> None:
        """Fill the holes that waited for an image."""
        facts = self._facts[service]
        self.values.keep(facts.reference, image.reference)
        self.values.keep(facts.measurement, image.measurement)
        self.values.keep(facts.fspf_tag, image.fspf_tag)

    def know_policies(self, policies: Mapping[str, SecurityPolicy], namespace: SecurityPolicy) -> None:
        """Fill the holes that waited for policies: a digest over a service's own and all that it imports from."""
        by_name = {f"{self.plan.namespace}/{service}": policy.digest for service, policy in policies.items()}
        by_name[self.plan.namespace] = namespace.digest
        for service, policy in policies.items():
            imported = [by_name[found] for found in self.plan.imports[service] if found in by_name]
            joined = pulumi.Output.concat(policy.digest, *[part for digest in imported for part in ("+", digest)])
            self.values.keep(self._digests[service], joined)

    def chart_values(self) -> Mapping[str, Any]:
        """The values of the release, `helm_extra_values` merged in."""
        values = self.values.show(self.plan.chart)
        merged: Mapping[str, Any] = _merged({"services": values["services"]}, values["extra"])
        return merged

    def rollout(self, args: MeshDeploymentArgs) -> Mapping[str, Any]:
        """What must be up when the release is out."""
        return {
            "namespace": args.get("kubernetes_namespace", "default"),
            "release": self.release,
            "timeout_seconds": args.get("rollout_timeout", _ROLLOUT_SECONDS),
            "services": {
                name: {
                    "service": item["service"],
                    "kind": item["kind"],
                    "replicas": item["replicas"],
                    "image": item["image"],
                    "policy_digest": item["policyDigest"],
                }
                for name, item in self.chart_values()["services"].items()
            },
        }

    def _promise(self, manifest: ServiceManifest) -> ImageFacts:
        return ImageFacts(
            reference=self.values.promise(),
            measurement=self.values.promise(),
            fspf_tag=self.values.promise(),
            identity=hidden_identity(manifest.build.to, self.values),
            encrypted_paths=encrypted_paths(manifest),
        )


def _assign(
    mesh: Mesh, sources: Sequence[tuple[ServiceManifest, str]]
) -> tuple[dict[str, ServiceManifest], dict[str, str]]:
    """Service → manifest and folder: the manifest whose `build.to` is the service's image."""
    manifests, folders = {}, {}
    for service, wanted in mesh.services.items():
        found = [source for source in sources if source[0].build.to == wanted.image]
        if len(found) > 1:
            places = " and ".join(manifest.where("build", "to") for manifest, _ in found)
            raise SconeError(
                f"two manifests build the image of the service {service}: {places}",
                where=mesh.where("services", service),
                fix="give each image one manifest",
            )
        if found:
            manifests[service], folders[service] = found[0]
    return manifests, folders


def _refuse_in_production(mesh: Mesh) -> None:
    if not pulumi.Config("scone").get_bool("production"):
        return
    switches = [switch for switch in tolerance_map(mesh.cas_of("cas").tolerance or "") if "only_for_testing" in switch]
    refused = switches + [item for item in mesh.policy.tolerate if item == "debug-mode"]
    if refused:
        raise SconeError(
            f"this stack is for production (scone:production), but its Meshfile tolerates {', '.join(refused)}",
            where=mesh.where("cas") if switches else mesh.where("policy", "tolerate"),
            fix="remove them, or deploy with a stack that is for testing",
        )


def _merged(base: Any, extra: Any) -> Any:  # noqa: ANN401  JSON-like trees
    """`extra` over `base`, maps merged by key."""
    if isinstance(base, Mapping) and isinstance(extra, Mapping):
        return {key: _merged(base.get(key), extra[key]) if key in extra else base[key] for key in {**base, **extra}}
    return extra
