"""The typed arguments of the components: what the manifests say in YAML, in Python, with Outputs allowed as values.

TypedDicts, because Pulumi can describe them to other languages; their content is judged by the same models as the
files (`scone_provider.manifest`), so keys, defaults and errors are the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi


class VariableArgs(TypedDict):
    """One environment variable."""

    name: str
    """Its name."""
    value: NotRequired[pulumi.Input[str]]
    """Its value, or the default that the mesh may override; `$$SCONE::name$$` stands for a secret."""


EnvironmentArgs = TypedDict(
    "EnvironmentArgs",
    {"local": NotRequired[Sequence[VariableArgs]], "global": NotRequired[Sequence[VariableArgs]]},
)
EnvironmentArgs.__doc__ = (
    "Variables of a service: `local` ones a mesh cannot override, `global` ones it sets or overrides."
)

SecretArgs = TypedDict(
    "SecretArgs",
    {
        "name": str,
        "kind": str,
        "size": NotRequired[int],
        "value": NotRequired[pulumi.Input[str]],
        "export": NotRequired[Sequence[Mapping[str, str]]],
        "import": NotRequired[Mapping[str, str]],
        "export_public": NotRequired[bool],
        "key_type": NotRequired[str],
        "migrate": NotRequired[bool],
        "private_key": NotRequired[pulumi.Input[str]],
        "issuer": NotRequired[str],
        "common_name": NotRequired[str],
        "endpoint": NotRequired[str],
        "dns": NotRequired[Sequence[str]],
        "san": NotRequired[Sequence[str]],
        "valid_for": NotRequired[str],
        "signer": NotRequired[str],
        "alg": NotRequired[str],
        "validity": NotRequired[Mapping[str, str]],
        "payload": NotRequired[Mapping[str, str]],
    },
)
SecretArgs.__doc__ = (
    "One secret, as in the session language; without `value` and `import` CAS generates it inside itself."
)

SecretsArgs = TypedDict(
    "SecretsArgs",
    {
        "local": NotRequired[Sequence[SecretArgs]],
        "global": NotRequired[Sequence[SecretArgs]],
        "import": NotRequired[Sequence[str]],
    },
)
SecretsArgs.__doc__ = "Secrets of a service: its own, those it shares with the mesh, and those it takes from a sibling."


class SignatureArgs(TypedDict):
    """Whether the image is signed, and with which key."""

    sign: bool
    """Sign the image's digest, as cosign does."""
    key: NotRequired[str]
    """File with the private key, relative to the manifest; default: a key of the stack's."""


BuildArgs = TypedDict(
    "BuildArgs",
    {
        "name": str,
        "kind": str,
        "to": pulumi.Input[str],
        "command": pulumi.Input[str],
        "from": NotRequired[pulumi.Input[str]],
        "pwd": NotRequired[pulumi.Input[str]],
        "requirements": NotRequired[str],
        "run": NotRequired[Sequence[pulumi.Input[str]]],
        "copy": NotRequired[Sequence[str]],
        "dirs": NotRequired[Sequence[str]],
        "fs_dirs": NotRequired[Sequence[str]],
        "fs_files": NotRequired[Sequence[str]],
        "plains": NotRequired[Sequence[str]],
        "plain_files": NotRequired[Sequence[str]],
        "host_paths": NotRequired[Sequence[str]],
        "binaries": NotRequired[Sequence[str]],
        "volumes": NotRequired[Sequence[Mapping[str, Any]]],
        "signature": NotRequired[SignatureArgs],
    },
)
BuildArgs.__doc__ = "How one confidential image is built; `copy` is relative to the program's folder."


class InjectionFileArgs(TypedDict):
    """A file that CAS writes into the memory of the service."""

    path: str
    """Absolute path in the container."""
    content: pulumi.Input[str]
    """Its text; `$$SCONE::name$$` stands for a secret."""


class ServiceManifestArgs(TypedDict):
    """A service manifest (`kind: genservice`)."""

    apiVersion: NotRequired[str]
    """`scone/5.8` or newer; that is also the default."""
    build: BuildArgs
    """How its image is built."""
    environment: EnvironmentArgs
    """Its environment."""
    secrets: NotRequired[SecretsArgs]
    """Its secrets."""
    injection_files: NotRequired[Sequence[InjectionFileArgs]]
    """Files that CAS injects."""


class CasArgs(TypedDict):
    """One CAS of a mesh."""

    cas_url: pulumi.Input[str]
    """Host, or host:port, of its client API."""
    name: NotRequired[str]
    """`cas`, or another of the five roles."""
    alias: NotRequired[Sequence[str]]
    """The other roles that it fills."""
    cas_key: NotRequired[pulumi.Input[str]]
    """Key hash to pin; without it the first attestation decides, under `tolerance`."""
    cas_encryption_key: NotRequired[pulumi.Input[str]]
    """Session encryption key, 64 hex digits, for modes that encrypt."""
    tolerance: NotRequired[str]
    """Attestation switches, as of `scone cas attest`."""
    mode: NotRequired[str]
    """`Upload` (the default), `SignedManifest`, `EncryptedManifest`, `NoUpload` or `EncryptedOnly`."""


class MeshPolicyArgs(TypedDict):
    """Where and how strictly the policies of a mesh are kept."""

    namespace: pulumi.Input[str]
    """Namespace at CAS."""
    tolerate: NotRequired[str]
    """Comma separated list of what attestation tolerates."""
    ignore_advisories: NotRequired[str]
    """Comma separated list of advisories, or `*`."""
    maa: NotRequired[str]
    """URL of Azure's attestation service, where that attests the services."""
    image_policy_namespace: NotRequired[str]
    """The session, on the CAS with the role `image`, that holds what services share; default: `namespace`."""
    security_policy_name: NotRequired[str]
    """The session, on the CAS with the role `security`, whose fragment `security` replaces what is tolerated here."""
    access_policy_name: NotRequired[str]
    """The session, on the CAS with the role `access`, whose fragment `access_policy` says who owns the policies."""
    attestation_policy_name: NotRequired[str]
    """The session, on the CAS with the role `attestation`, whose fragment `attestation` replaces what is tolerated."""


class ServiceVariablesArgs(TypedDict):
    """Variables of one service, or of all: `global`, `helm`."""

    service: str
    """Name of a service, `global` or `helm`."""
    env: Sequence[VariableArgs]
    """The variables."""


class MeshServiceArgs(TypedDict):
    """One service of a mesh."""

    image: pulumi.Input[str]
    """The image: the `to` of its manifest, or a ready-made one that the catalogue knows."""
    name: NotRequired[str]
    """Unique name; derived from the image if absent."""
    env: NotRequired[str]
    """File with variables in place of the manifest's."""
    image_secrets: NotRequired[str]
    """File with secrets in place of, and beside, the manifest's global ones."""
    image_policy: NotRequired[str]
    """File with sections of a session that are laid over the derived policy."""
    helm_chart: NotRequired[str]
    """Folder of a Helm chart in place of ours for this service."""


class RepoArgs(TypedDict):
    """Where the images of a mesh are pushed."""

    destination: pulumi.Input[str]
    """Registry and folder; each image keeps its name and tag in it."""
    push: NotRequired[bool]
    """False: leave the images where their manifests put them."""


class MeshArgs(TypedDict):
    """A Meshfile (`kind: mesh`)."""

    apiVersion: NotRequired[str]
    """`scone/5.8` or newer; that is also the default."""
    cas: Sequence[CasArgs]
    """The CASes."""
    policy: MeshPolicyArgs
    """The namespace and what is tolerated."""
    env: Sequence[ServiceVariablesArgs]
    """Values for the services and for the chart."""
    services: Sequence[MeshServiceArgs]
    """The services."""
    repo: NotRequired[RepoArgs]
    """Where the images are pushed, in place of their manifests' `build.to`."""
    helm_extra_values: NotRequired[Any]
    """A map, or YAML text that holds one: merged into the chart's values."""


class CasNamespaceArgs(TypedDict):
    """A CAS and a namespace on it: as a Meshfile names them, or in Python."""

    mesh_file: NotRequired[str]
    """Path of a Meshfile, relative to the program: its CAS and its namespace are taken."""
    variables: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Values of the Meshfile's `$NAME` variables."""
    namespace: NotRequired[pulumi.Input[str]]
    """Name of the namespace; `company/project` is one inside `company`."""
    cas_url: NotRequired[pulumi.Input[str]]
    """Host, or host:port, of CAS's client API."""
    tolerance: NotRequired[str]
    """Attestation switches, as of `scone cas attest`."""
    cas_key: NotRequired[pulumi.Input[str]]
    """Key hash to pin."""
    mode: NotRequired[str]
    """How the namespace's session gets to CAS, as in a Meshfile; default: `Upload`."""
    cas_encryption_key: NotRequired[pulumi.Input[str]]
    """Session encryption key of CAS, 64 hex digits, for modes that encrypt."""
    owners: NotRequired[Sequence[pulumi.Input[str]]]
    """Key hashes that may read, update and create policies; default: the one who creates it."""
    policy: NotRequired[Mapping[str, Any]]
    """The namespace's own session, in place of the one that `owners` gives."""
    adopt: NotRequired[bool]
    """Take over a policy of this name that this stack did not create."""


class BuilderArgs(TypedDict):
    """A command that builds confidential images with another toolchain (docs/vendor-toolchain.md)."""

    command: Sequence[str]
    """Program and arguments; no shell is involved."""


class NativeStageArgs(TypedDict):
    """How a container builder carries out `run` and `requirements` of a service manifest."""

    builder: NotRequired[pulumi.Input[str]]
    """Name of a buildx builder; default: the one that BUILDX_BUILDER names, or the current one."""
    pip_config: NotRequired[pulumi.Input[str]]
    """Text of a pip.conf (index, credentials): a build secret, which is in no image and makes no difference to one."""
    build_args: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Build arguments, such as HTTPS_PROXY; they are no secrets."""


class ConfidentialImageArgs(TypedDict):
    """A service manifest and how to treat its image."""

    manifest_file: NotRequired[str]
    """Path of a service manifest, relative to the program."""
    manifest: NotRequired[ServiceManifestArgs]
    """The same content in Python."""
    variables: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Values of the manifest's `$NAME` variables."""
    environment: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Values of its `global` variables, as a mesh gives them."""
    cas_key: NotRequired[pulumi.Input[str]]
    """Key hash of CAS that the image pins."""
    native_image: NotRequired[Any]
    """An image that the program makes, in the place of `from`: a reference, an Output of one, or the image resource."""
    builder: NotRequired[BuilderArgs]
    """Who builds, in place of this package; default: the stack's setting `scone:builder`, a JSON list of words."""
    native_stage: NotRequired[NativeStageArgs]
    """How `run` and `requirements` are carried out."""
    delete_images: NotRequired[bool]
    """Remove pushed images from the registry when the resource is destroyed."""
    refresh_base: NotRequired[bool]
    """Resolve the base image's tag again instead of keeping the locked digest."""


class MeshDeploymentArgs(TypedDict):
    """A Meshfile, the manifests of the services that it builds itself, and how to deploy them."""

    mesh_file: NotRequired[str]
    """Path of a Meshfile, relative to the program."""
    mesh: NotRequired[MeshArgs]
    """The same content in Python."""
    manifest_files: NotRequired[Sequence[str]]
    """Paths of service manifests; one is used by each service whose image is its `build.to`."""
    manifests: NotRequired[Sequence[ServiceManifestArgs]]
    """The same content in Python."""
    catalogue: NotRequired[Sequence[str]]
    """Folders with curated services of your own, which come before the package's (docs/curated-services.md)."""
    variables: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Values of the `$NAME` variables in all files."""
    kubernetes_namespace: NotRequired[pulumi.Input[str]]
    """Kubernetes namespace of the release; default: `default`."""
    release: NotRequired[str]
    """Name of the Helm release; default: the component's name."""
    owners: NotRequired[Sequence[pulumi.Input[str]]]
    """Key hashes that may read and update the policies; default: the one who creates them."""
    adopt: NotRequired[bool]
    """Take over policies of these names that this stack did not create."""
    delete_images: NotRequired[bool]
    """Remove pushed images from the registry when the mesh is destroyed."""
    refresh_base: NotRequired[bool]
    """Resolve the base images' tags again instead of keeping the locked digests."""
    pull_secret: NotRequired[bool]
    """Make the pull secrets that the services name from the docker configuration; else they must exist."""
    registry_credentials: NotRequired[pulumi.Input[str]]
    """Docker configuration (JSON) for these pull secrets, in place of the one of whoever deploys."""
    native_images: NotRequired[Mapping[str, Any]]
    """Service → an image that the program makes, in the place of the `from` of that service's manifest."""
    builder: NotRequired[BuilderArgs]
    """Who builds, in place of this package; default: the stack's setting `scone:builder`, a JSON list of words."""
    native_stage: NotRequired[NativeStageArgs]
    """How `run` and `requirements` of all manifests are carried out."""
    rollout: NotRequired[str]
    """`replace` (default): policies know the new images only. `overlap`: what was released last stays trusted until
    the new pods are ready, so that no request is lost (docs/rollouts.md)."""
    rollout_timeout: NotRequired[int]
    """Seconds until a rollout that is not ready fails; default: 120."""
