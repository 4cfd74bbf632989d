"""What derivation takes in about an image, and what it gives out for a mesh."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scone_provider.derive.container import Container


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """One built image. Each text may be a hole, while it is not known.

    `reference`: repository@sha256:…; `measurement`: 64 hex digits; `fspf_tag`: 32 hex digits; `identity`: the image's
    name in key derivation (docs/image-format.md); `encrypted_paths`: mount points of decrypted directories (memory);
    `sizes`: how many bytes each of these takes, where the files were looked at;
    `key`: what stands for the file-system key in a policy, by default the key that is derived for `identity`.
    """

    reference: str
    measurement: str
    fspf_tag: str
    identity: str
    encrypted_paths: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class MeshPlan:
    """Everything that a mesh becomes. Policies are canonical sessions; `policies` is by the mesh's service names.

    `shared_policy` holds what services share, where that is not the namespace's own session: on the CAS with the role
    `image`, or under another name. `imports` names, for each service, the policies that it takes secrets from, as
    `policy_key` writes them: its pods depend on them too. `containers`: what the policy lays into each service's image.
    """

    namespace: str
    namespace_policy: Mapping[str, Any] = field(repr=False)
    policies: Mapping[str, Mapping[str, Any]] = field(repr=False)
    imports: Mapping[str, tuple[str, ...]]
    chart: Mapping[str, Any]
    warnings: tuple[str, ...]
    shared_policy: Mapping[str, Any] | None = field(default=None, repr=False)
    shared_key: str = ""
    containers: Mapping[str, Container] = field(default_factory=dict)


def policy_key(session: str, cas_url: str | None = None) -> str:
    """What names a policy among those of several CASes; on the CAS of the application its name alone."""
    return session if cas_url is None else f"{cas_url}/{session}"
