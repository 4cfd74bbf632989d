"""SCONE confidential applications as Pulumi resources."""

from importlib import import_module
from typing import TYPE_CHECKING

from pulumi_scone._arguments import (
    BuildArgs,
    BuilderArgs,
    CasArgs,
    CasNamespaceArgs,
    ConfidentialImageArgs,
    EnvironmentArgs,
    InjectionFileArgs,
    MeshArgs,
    MeshDeploymentArgs,
    MeshPolicyArgs,
    MeshServiceArgs,
    NativeStageArgs,
    RepoArgs,
    SecretArgs,
    SecretsArgs,
    ServiceManifestArgs,
    ServiceVariablesArgs,
    SignatureArgs,
    VariableArgs,
)
from pulumi_scone.cas_namespace import CasNamespace
from pulumi_scone.resources import Cas, SealedPolicy, SecurityPolicy

if TYPE_CHECKING:
    from pulumi_scone.confidential_image import ConfidentialImage
    from pulumi_scone.mesh_deployment import MeshDeployment

__all__ = [
    "BuildArgs",
    "BuilderArgs",
    "Cas",
    "CasArgs",
    "CasNamespace",
    "CasNamespaceArgs",
    "ConfidentialImage",
    "ConfidentialImageArgs",
    "EnvironmentArgs",
    "InjectionFileArgs",
    "MeshArgs",
    "MeshDeployment",
    "MeshDeploymentArgs",
    "MeshPolicyArgs",
    "MeshServiceArgs",
    "NativeStageArgs",
    "RepoArgs",
    "SealedPolicy",
    "SecretArgs",
    "SecretsArgs",
    "SecurityPolicy",
    "ServiceManifestArgs",
    "ServiceVariablesArgs",
    "SignatureArgs",
    "VariableArgs",
]

_LATER = {"ConfidentialImage": "confidential_image", "MeshDeployment": "mesh_deployment"}


def __getattr__(name: str) -> object:
    """Programs that only keep policies do not wait for the packages of Kubernetes and of image building."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
