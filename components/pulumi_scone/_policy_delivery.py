"""How a policy gets to its CAS, as the Meshfile's `mode` says: uploaded here, or sealed for somebody else to upload."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from pulumi_scone.resources import Cas, SealedPolicy, SecurityPolicy
from scone_provider.derive.sealed import client_address, sealed_name, sealed_values
from scone_provider.manifest.mesh import ENCRYPTED, SIGNED, UPLOAD
from scone_provider.policy.files import policy_file

Policy = SecurityPolicy | SealedPolicy


@dataclass(frozen=True, kw_only=True)
class CasTarget:
    """One CAS: its name in the Meshfile, how it is trusted, and how policies get there."""

    cas: str
    trust: Mapping[str, Any]
    mode: str = UPLOAD
    recipient: pulumi.Input[str] | None = None
    attested: Cas | None = None

    @property
    def in_chart(self) -> bool:
        """True when the cluster's operator uploads, from objects that the chart brings."""
        return self.mode in (SIGNED, ENCRYPTED)


def policy_of(
    name: str,
    *,
    way: CasTarget,
    session: str,
    policy: Mapping[str, Any],
    adopt: bool,
    overlap: bool = False,
    opts: pulumi.ResourceOptions,
) -> Policy:
    """The resource of one policy. `session`: its name at CAS."""
    if way.mode == UPLOAD:
        return SecurityPolicy(name, cas=way.trust, policy=policy, adopt=adopt, overlap=overlap, opts=opts)
    return SealedPolicy(
        name,
        cas=way.trust,
        policy=policy,
        mode=way.mode,
        recipient=way.recipient,
        file=policy_file(session, mode=way.mode, cas=way.cas),
        adopt=adopt,
        opts=opts,
    )


@dataclass(frozen=True, kw_only=True)
class MeshPolicy:
    """A policy of a mesh, by its name at CAS."""

    session: str
    way: CasTarget
    policy: Policy


def _objects(policies: Iterable[MeshPolicy]) -> dict[str, Mapping[str, Any]]:
    """What the chart needs for those policies that an operator uploads. Only the document may be unknown, or secret."""
    found: dict[str, Mapping[str, Any]] = {}
    for kept in policies:
        if isinstance(kept.policy, SealedPolicy) and kept.way.in_chart:
            address = pulumi.Output.from_input(kept.way.trust["url"]).apply(client_address)
            document = kept.policy.document
            keys = ("policy", "signatures") if kept.way.mode == SIGNED else ("policy", "encryption_key")
            found[sealed_name(kept.session, cas=kept.way.cas)] = sealed_values(
                kept.session, mode=kept.way.mode, address=address, document={key: document[key] for key in keys}
            )
    return found


def objects_value(policies: Iterable[MeshPolicy]) -> dict[str, Any]:
    """`{policies: …}` for the chart's values, empty where all policies are uploaded here."""
    found = _objects(policies)
    return {"policies": found} if found else {}


def documents_of(policies: Iterable[MeshPolicy]) -> dict[str, pulumi.Output[Any]]:
    """Session name → what somebody uploads by hand (`cas: name` for another CAS than the application's)."""
    return {
        kept.session if kept.way.cas == "cas" else f"{kept.way.cas}: {kept.session}": kept.policy.document
        for kept in policies
        if isinstance(kept.policy, SealedPolicy)
    }
