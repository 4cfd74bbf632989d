"""The plain resources under the components: what a stack's state consists of."""

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from pulumi_scone._given_policy import GivenPolicy
from pulumi_scone._inputs import check_keywords
from pulumi_scone._outputs import user_errors
from pulumi_scone._sharing import check_sharing
from pulumi_scone._stack import stack_hash
from scone_provider.resources.cas import CasProvider
from scone_provider.resources.released_revision import ReleasedRevisionProvider
from scone_provider.resources.sealed_policy import SealedPolicyProvider
from scone_provider.resources.security_policy import SecurityPolicyProvider

_HIDE = pulumi.ResourceOptions(hide_diffs=["__provider"])


class Cas(Resource, module="scone", name="Cas"):
    """A CAS that this stack trusts: attested on create and update, compared on refresh."""

    url: pulumi.Output[str]
    """As given."""
    attested_key: pulumi.Output[str]
    """Key hash that it was attested with; known before only where it is pinned."""

    def __init__(
        self,
        name: str,
        *,
        url: pulumi.Input[str],
        tolerance: Mapping[str, Any] | None = None,
        key: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`tolerance` maps switches to `True` or to their value; `key` pins."""
        with user_errors():
            check_keywords(url=url, tolerance=tolerance, key=key)
        props = {"url": url, "tolerance": dict(tolerance or {}), "key": key, "attested_key": None}
        super().__init__(CasProvider(), name, props, pulumi.ResourceOptions.merge(_HIDE, opts))


class SecurityPolicy(Resource, module="scone", name="SecurityPolicy"):
    """One security policy (a CAS session)."""

    name: pulumi.Output[str]
    """Its name at CAS."""
    digest: pulumi.Output[str]
    """Over all it says; another digest is another policy. Known in preview."""
    hash: pulumi.Output[str]
    """Hash of the session, as CAS computed it."""
    attested_key: pulumi.Output[str]
    """Key hash of the CAS that has it."""
    revision: pulumi.Output[str]
    """With `overlap`: what its service is named at CAS. Known in preview."""

    def __init__(
        self,
        name: str,
        *,
        cas: Mapping[str, Any],
        policy: Mapping[str, Any] | str | None = None,
        policy_file: str | None = None,
        variables: Mapping[str, pulumi.Input[str]] | None = None,
        adopt: bool = False,
        overlap: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`cas` is `{url, tolerance, key}` as of `Cas`. The session (docs/policies.md) is a map or YAML text in
        `policy`, or stands in `policy_file`, relative to the program; with `variables`, `$NAME` in a text is replaced.

        Explicit secret values must be Pulumi secrets: RunError for a plain one, as for a text that breaks a rule.
        With `overlap` the service's last released revision stays beside the new one until a `ReleasedRevision` says
        that this one is released, too.
        """
        with user_errors():
            check_keywords(cas=cas, policy_file=policy_file, adopt=adopt, overlap=overlap)
            given = GivenPolicy(policy, file=policy_file, variables=variables)
            check_sharing(name, cas, given.session)
        props = {
            "cas": dict(cas),
            "policy": given.policy,
            "private": given.private(),
            "adopt": adopt or None,
            "name": None,
            "digest": None,
            "hash": None,
            "attested_key": None,
            "stack": stack_hash(),
            **({"overlap": True, "revision": None} if overlap else {}),
        }
        super().__init__(SecurityPolicyProvider(), name, props, pulumi.ResourceOptions.merge(_HIDE, opts))


class ReleasedRevision(Resource, module="scone", name="ReleasedRevision"):
    """The one revision that a policy trusts when a rollout has succeeded; it must depend on what tells that."""

    revision: pulumi.Output[str]
    """The service's name at CAS."""
    hash: pulumi.Output[str]
    """Hash of the session that has this revision alone."""

    def __init__(
        self,
        name: str,
        *,
        cas: Mapping[str, Any],
        policy: SecurityPolicy,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`policy` has `overlap`; `cas` is the one of its policy."""
        props = {
            "cas": dict(cas),
            "name": policy.name,
            "revision": policy.revision,
            "version": policy.hash,
            "attested_key": policy.attested_key,
            "preview": pulumi.runtime.is_dry_run(),
            "hash": None,
        }
        super().__init__(ReleasedRevisionProvider(), name, props, pulumi.ResourceOptions.merge(_HIDE, opts))


class SealedPolicy(Resource, module="scone", name="SealedPolicy"):
    """One security policy that somebody else uploads: signed, encrypted for its CAS, or as it is."""

    name: pulumi.Output[str]
    """Its name at CAS."""
    digest: pulumi.Output[str]
    """Over all it says; another digest is another policy. Known in preview."""
    document: pulumi.Output[Mapping[str, Any]]
    """What is uploaded: `policy`, and `encryption_key` or `signatures`. Made anew only when the policy changes."""
    predecessor: pulumi.Output[str]
    """Hash of the version that it replaces, empty for the first one."""

    def __init__(
        self,
        name: str,
        *,
        cas: Mapping[str, Any],
        policy: Mapping[str, Any],
        mode: str,
        recipient: pulumi.Input[str] | None = None,
        file: str | None = None,
        adopt: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`cas` and `policy` as of `SecurityPolicy`; `mode` as in a Meshfile.

        `recipient`: session encryption key of CAS, 64 hex digits; `file`: where the document is written, too.
        """
        with user_errors():
            check_keywords(cas=cas, policy=policy, mode=mode, recipient=recipient, file=file, adopt=adopt)
            given = GivenPolicy(policy, file=None, variables=None)
        computed = dict.fromkeys(("name", "digest", "document", "predecessor", "attested_key"))
        props = {
            "cas": dict(cas),
            "policy": given.policy,
            "private": given.private(),
            "mode": mode,
            "recipient": recipient,
            "file": file,
            "adopt": adopt or None,
            "stack": stack_hash(),
            **computed,
        }
        super().__init__(SealedPolicyProvider(), name, props, pulumi.ResourceOptions.merge(_HIDE, opts))


class ImageBuild(Resource, module="scone", name="ConfidentialImage"):
    """A confidential image in a registry."""

    reference: pulumi.Output[str]
    """`repository@sha256:…`; known in preview."""
    digest: pulumi.Output[str]
    """Of its manifest; known in preview."""
    measurement: pulumi.Output[str]
    """What attestation finds, 64 hex digits; known in preview."""
    fspf_tag: pulumi.Output[str]
    """Tag of its protection file, 32 hex digits; known in preview."""

    def __init__(self, name: str, *, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        """`inputs` as of `scone_provider.resources.confidential_image`."""
        # A program of policies alone would wait for the libraries that build images.
        from scone_provider.resources.confidential_image import ConfidentialImageProvider  # noqa: PLC0415

        computed = dict.fromkeys(("reference", "digest", "measurement", "fspf_tag"))
        props = {**inputs, "preview": pulumi.runtime.is_dry_run(), **computed}
        super().__init__(ConfidentialImageProvider(), name, props, pulumi.ResourceOptions.merge(_HIDE, opts))


class VendorImage(Resource, module="scone", name="VendorImage"):
    """A confidential image that a builder command around another toolchain makes."""

    reference: pulumi.Output[str]
    """`repository@sha256:…`."""
    measurement: pulumi.Output[str]
    """MRENCLAVE, 64 hex digits."""
    fspf_tag: pulumi.Output[str]
    """Tag of its protection file, 32 hex digits."""
    key: pulumi.Output[str]
    """What stands for its file-system key in a policy."""

    def __init__(self, name: str, *, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        """`inputs` as of `scone_provider.resources.vendor_image`."""
        # As above: image building is for those who build.
        from scone_provider.resources.vendor_image import VendorImageProvider  # noqa: PLC0415

        computed = dict.fromkeys(("reference", "measurement", "fspf_tag", "key"))
        props = {**inputs, **computed}
        super().__init__(VendorImageProvider(), name, props, pulumi.ResourceOptions.merge(_HIDE, opts))


class Rollout(Resource, module="scone", name="Rollout"):
    """A released mesh whose pods are ready; fails with the words of a pod that is not."""

    released: pulumi.Output[Mapping[str, Any]]
    """Service → image and policy digest that were last released."""

    def __init__(
        self,
        name: str,
        *,
        inputs: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`inputs` as of `scone_provider.resources.rollout`."""
        # As above: the Kubernetes client is for those who roll out.
        from scone_provider.resources.rollout import RolloutProvider  # noqa: PLC0415

        super().__init__(
            RolloutProvider(), name, {**inputs, "released": None}, pulumi.ResourceOptions.merge(_HIDE, opts)
        )
