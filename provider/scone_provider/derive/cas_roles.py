"""What the five CASes of a mesh are for, and how a policy on one of them refers to what stands on another.

`cas` keeps the policies of the application; `image` the secrets that the images' manifests declare for several
services; `security`, `access` and `attestation` the fragments that `security_policy_name`, `access_policy_name` and
`attestation_policy_name` name (docs/meshes.md, CASes).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scone_policy.keys.key_hash import is_key_hash
from scone_policy.model.access import CREATOR
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.placeholders import CLOSING, OPENING
from scone_provider.derive.secret_placement import Definition, Home
from scone_provider.errors import ManifestError
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.mesh import Mesh

FRAGMENTS: Mapping[str, str] = {"security": "security", "access": "access_policy", "attestation": "attestation"}
"""Role → the secret, of kind config-fragment, that the session named by `<role>_policy_name` exports."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Where the parts of derived policies come from."""

    home: Home
    """What services share; another session than the namespace's own where the mesh says so."""
    fragments: Mapping[str, Definition] = field(default_factory=dict)
    """By the names of `FRAGMENTS`: imported secrets that stand for whole sections."""

    def secrets(
        self, own: Mapping[str, Definition], *, only: Sequence[str] = tuple(FRAGMENTS.values())
    ) -> dict[str, Definition]:
        """A policy's own secrets and those that its sections refer to."""
        return {**own, **{name: one for name, one in self.fragments.items() if name in only}}

    def refer(self, name: str) -> str | None:
        """The placeholder that stands for a section, None where the mesh says it itself."""
        return f"{OPENING}{name}{CLOSING}" if name in self.fragments else None


def roles_of(mesh: Mesh, *, cas_keys: Mapping[str, str], findings: Findings) -> Roles:
    """Homes and fragments. `cas_keys`: CAS → key hash as attested, for those that are not pinned."""
    fragments: dict[str, Any] = {}
    for role, name in FRAGMENTS.items():
        session = getattr(mesh.policy, f"{role}_policy_name")
        if session:
            where = mesh.where("policy", f"{role}_policy_name")
            home = _home(mesh, role, session, cas_keys=cas_keys, where=where, findings=findings)
            fragments[name] = {"kind": "config-fragment", "import": home.import_of(name)}
    shared = mesh.policy.image_policy_namespace or mesh.policy.namespace
    where = mesh.where("policy", "image_policy_namespace" if mesh.policy.image_policy_namespace else "namespace")
    return Roles(
        home=_home(mesh, "image", shared, cas_keys=cas_keys, where=where, findings=findings), fragments=fragments
    )


def shares_elsewhere(mesh: Mesh) -> bool:
    """True when what services share is not held by the namespace's own session on the CAS of the application."""
    policy = mesh.policy
    other = policy.image_policy_namespace not in (None, policy.namespace)
    return other or mesh.cas_name("image") != mesh.cas_name("cas")


def check_owners(mesh: Mesh, owners: Sequence[str]) -> None:
    """Raise ManifestError for what is no owner, and for owners beside an access policy that is taken from elsewhere."""
    for owner in owners:
        if not _may_own(owner):
            raise ManifestError(
                "an owner is named by the hash of a key, and this is none",
                where="owners",
                fix="Copy it whole, as `pulumi-scone identity create` and `scone cas show-identification` print it.",
            )
    if owners and mesh.policy.access_policy_name:
        raise ManifestError(
            "owners are given, and access_policy_name says who may read and update the policies",
            where=mesh.where("policy", "access_policy_name"),
            fix="Leave one of the two out.",
        )


def _may_own(owner: str) -> bool:
    known = owner == CREATOR or owner.lstrip().startswith("-----BEGIN CERTIFICATE") or has_hole(owner)
    return known or is_key_hash(owner)


def _home(mesh: Mesh, role: str, session: str, *, cas_keys: Mapping[str, str], where: str, findings: Findings) -> Home:
    name = mesh.cas_name(role)
    if name == mesh.cas_name("cas"):
        return Home(session=session)
    cas = mesh.cas[name]
    key = cas.cas_key or cas_keys.get(name)
    if key is None:
        findings.add(
            f"policies import from the CAS {name}, and nobody says which key it has",
            where=where,
            fix=f"Pin it: cas_key of {name}, as `scone cas show-identification -c` prints it.",
        )
    return Home(session=session, cas_url=cas.cas_url, cas_key=key)
