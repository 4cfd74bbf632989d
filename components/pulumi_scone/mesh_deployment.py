"""`MeshDeployment`: a Meshfile and its services, from manifests to running pods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import Secret
from pulumi_kubernetes.helm.v3 import Release, ReleaseArgs

from pulumi_scone._arguments import MeshDeploymentArgs
from pulumi_scone._cluster import ClusterInputs, cluster_of
from pulumi_scone._given_policy import as_secrets
from pulumi_scone._image_component import ImageComponent
from pulumi_scone._inputs import check_arguments
from pulumi_scone._mesh_plan import MeshBuilder
from pulumi_scone._outputs import settled, together, user_errors, warn
from pulumi_scone._policy_delivery import CasTarget, MeshPolicy, Policy, documents_of, objects_value, policy_of
from pulumi_scone._pull_secret import pull_secrets
from pulumi_scone._release_hooks import OWNER_PATH, ReleaseHooks, owner_value
from pulumi_scone._rollout import policies_value, rollout_inputs
from pulumi_scone.cas_namespace import CasNamespace
from pulumi_scone.resources import Cas, ReleasedRevision, Rollout, SecurityPolicy
from scone_provider.manifest.mesh import ENCRYPTED_ONLY, NO_UPLOAD, UPLOAD
from scone_provider.policy.files import FOLDER


@dataclass(frozen=True, kw_only=True)
class _Installed:
    """What the chart is installed with: its values, the policies that it is made for, what happens around it."""

    values: Mapping[str, Any]
    kept: Sequence[MeshPolicy]
    hooks: ReleaseHooks


class MeshDeployment(pulumi.ComponentResource):
    """CAS attested → images pushed → policies uploaded → release → pods ready. Destroyed in the opposite order."""

    namespace: pulumi.Output[str]
    """Namespace of the policies at CAS."""
    images: pulumi.Output[Mapping[str, str]]
    """Service → image by digest."""
    policies: pulumi.Output[Mapping[str, str]]
    """Service → hash of its session, as CAS computed it, where it is uploaded here."""
    documents: pulumi.Output[Mapping[str, Any]]
    """Session → what somebody else uploads, where the Meshfile's `mode` is not Upload; secret unless encrypted."""
    release: pulumi.Output[str]
    """Name of the Helm release."""

    def __init__(self, name: str, args: MeshDeploymentArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        with user_errors():
            args = settled(args)
            check_arguments(args, MeshDeploymentArgs)
            draft = MeshBuilder(name, args)
        super().__init__("scone:index:MeshDeployment", name, draft.summary, opts)
        for warning in draft.warnings:
            warn(warning, self)
        cluster = cluster_of(self, args)
        namespace = self._namespace(name, args, draft)
        ways = {draft.mesh.cas_name("cas"): namespace.way, **self._other_cases(name, draft, namespace)}
        shared = self._shared(name, args, draft, namespace, ways)
        images = {service: self._image(name, service, args, draft, namespace) for service in draft.manifests}
        policies = {
            service: self._policy(f"{name}-{service}", service, args, draft, (namespace, shared))
            for service in draft.manifests
        }
        draft.know_policies(policies, namespace.policy, shared.policy if shared else None)
        kept = [
            MeshPolicy(session=draft.plan.namespace, way=namespace.way, policy=namespace.policy),
            *([shared] if shared else []),
            *(
                MeshPolicy(session=f"{draft.plan.namespace}/{service}", way=namespace.way, policy=policy)
                for service, policy in policies.items()
            ),
        ]
        values = draft.chart_values()
        secrets = self._pull_secrets(name, args, draft, values["services"])
        installed = _Installed(values=values, kept=kept, hooks=ReleaseHooks(name, cluster))
        self.chart = self._release(name, args, draft, installed, before=[*images.values(), *secrets])
        uploaded = {service: policy.hash for service, policy in policies.items() if isinstance(policy, SecurityPolicy)}
        by_hand = [one.session for one in kept if one.way.mode in (NO_UPLOAD, ENCRYPTED_ONLY)]
        if by_hand:
            warn(
                f"pods start when somebody has uploaded {', '.join(by_hand)}, so nothing waits for them here; "
                f"the documents are the output `documents`, and in {FOLDER}",
                self,
            )
        else:
            self.rollout = self._rollout(name, args, draft, installed, cluster=cluster)
            uploaded |= self._released(name, draft, namespace, policies)
        self.namespace = namespace.namespace
        self.images = pulumi.Output.all(**{service: image.reference for service, image in images.items()})
        self.policies = together(uploaded)
        self.documents = together(documents_of(kept))
        self.release = pulumi.Output.from_input(draft.release)
        self.register_outputs(
            {
                "namespace": self.namespace,
                "images": self.images,
                "policies": self.policies,
                "documents": self.documents,
                "release": self.release,
            }
        )

    def _release(
        self,
        name: str,
        args: MeshDeploymentArgs,
        draft: MeshBuilder,
        installed: _Installed,
        *,
        before: Sequence[pulumi.Resource],
    ) -> Release:
        """The chart, after its policies and what else is to be there `before`."""
        return Release(
            name,
            ReleaseArgs(
                chart=draft.chart,
                name=draft.release,
                namespace=args.get("kubernetes_namespace", "default"),
                values={**installed.values, **objects_value(installed.kept), **owner_value(self, name)},
                skip_await=True,  # Rollout waits, and says why a pod does not come up
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*(one.policy for one in installed.kept), *before],
                hooks=installed.hooks.binding,
                ignore_changes=[OWNER_PATH],
            ),
        )

    def _rollout(
        self,
        name: str,
        args: MeshDeploymentArgs,
        draft: MeshBuilder,
        installed: _Installed,
        *,
        cluster: ClusterInputs | None,
    ) -> Rollout:
        return Rollout(
            name,
            inputs=rollout_inputs(
                args,
                chart=draft.chart,
                release=draft.release,
                values=installed.values,
                manifests=(draft.mesh, draft.manifests),
                patient=any(one.way.in_chart for one in installed.kept),
                cluster=cluster,
                policies=draft.values.show(
                    policies_value(draft.plan, {one.session for one in installed.kept if one.way.mode == UPLOAD})
                ),
                made=installed.hooks.made(self.chart),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.chart], delete_before_replace=True),
        )

    def _namespace(self, name: str, args: MeshDeploymentArgs, draft: MeshBuilder) -> CasNamespace:
        cas = draft.mesh.cas_of("cas")
        arguments: dict[str, Any] = {
            "namespace": draft.values.show(draft.plan.namespace),
            "cas_url": draft.values.show(cas.cas_url),
            "tolerance": cas.tolerance or "",
            "policy": as_secrets(draft.plan.namespace_policy, draft.values),
            "adopt": bool(args.get("adopt")),
            "mode": cas.mode,
        }
        for key in ("cas_key", "cas_encryption_key"):
            if getattr(cas, key):
                arguments[key] = draft.values.show(getattr(cas, key))
        return CasNamespace(name, arguments, pulumi.ResourceOptions(parent=self))  # type: ignore[arg-type]

    def _pull_secrets(
        self, name: str, args: MeshDeploymentArgs, draft: MeshBuilder, services: Mapping[str, Any]
    ) -> list[Secret]:
        images = draft.values.show(list(draft.destinations.values()))
        with user_errors():
            return pull_secrets(name, args, services, images, pulumi.ResourceOptions(parent=self))

    def _other_cases(self, name: str, draft: MeshBuilder, namespace: CasNamespace) -> dict[str, CasTarget]:
        """Attest the other CASes of the mesh; policies that import from one wait for that, and learn its key."""
        draft.know_cas(draft.mesh.cas_name("cas"), namespace.cas)
        found = {}
        for called in sorted(set(draft.mesh.cas) - {draft.mesh.cas_name("cas")}):
            cas = draft.mesh.cas[called]
            trust = {
                "url": draft.values.show(cas.cas_url),
                "tolerance": draft.tolerance(called),
                "key": draft.values.show(cas.cas_key) if cas.cas_key else None,
            }
            resource = Cas(f"{name}-{called}", **trust, opts=pulumi.ResourceOptions(parent=namespace))
            draft.know_cas(called, resource)
            recipient = draft.values.show(cas.cas_encryption_key) if cas.cas_encryption_key else None
            found[called] = CasTarget(cas=called, trust=trust, mode=cas.mode, recipient=recipient, attested=resource)
        return found

    def _shared(
        self,
        name: str,
        args: MeshDeploymentArgs,
        draft: MeshBuilder,
        namespace: CasNamespace,
        ways: Mapping[str, CasTarget],
    ) -> MeshPolicy | None:
        """The policy that holds what services share, where that is not the namespace's own."""
        if draft.plan.shared_policy is None:
            return None
        way, session = ways[draft.mesh.cas_name("image")], str(draft.plan.shared_policy["name"])
        policy = policy_of(
            f"{name}-shared",
            way=way,
            session=session,
            policy=as_secrets(draft.plan.shared_policy, draft.values),
            adopt=bool(args.get("adopt")),
            opts=pulumi.ResourceOptions(parent=namespace, depends_on=[way.attested or namespace.cas]),
        )
        return MeshPolicy(session=session, way=way, policy=policy)

    def _image(
        self, name: str, service: str, args: MeshDeploymentArgs, draft: MeshBuilder, namespace: CasNamespace
    ) -> ImageComponent:
        inputs = draft.values.show(draft.image_inputs(service))
        options = pulumi.ResourceOptions(parent=self, depends_on=[namespace.cas])
        settings = {**args, "native_image": (args.get("native_images") or {}).get(service)}
        image = ImageComponent(f"{name}-{service}", inputs, settings, options)
        draft.know_image(service, image)
        return image

    def _policy(
        self,
        name: str,
        service: str,
        args: MeshDeploymentArgs,
        draft: MeshBuilder,
        above: tuple[CasNamespace, MeshPolicy | None],
    ) -> Policy:
        namespace, shared = above
        return policy_of(
            name,
            way=namespace.way,
            session=f"{draft.plan.namespace}/{service}",
            policy=as_secrets(draft.plan.policies[service], draft.values),
            adopt=bool(args.get("adopt")),
            overlap=draft.overlaps,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[namespace.policy, *([shared.policy] if shared else [])]
            ),
        )

    def _released(
        self, name: str, draft: MeshBuilder, namespace: CasNamespace, policies: Mapping[str, Policy]
    ) -> dict[str, pulumi.Output[str]]:
        """Where rollouts overlap, their end: service → hash of its session with the new revision alone."""
        return {
            service: ReleasedRevision(
                f"{name}-{service}",
                cas=namespace.way.trust,
                policy=policy,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[self.rollout]),
            ).hash
            for service, policy in policies.items()
            if draft.overlaps and isinstance(policy, SecurityPolicy)
        }
