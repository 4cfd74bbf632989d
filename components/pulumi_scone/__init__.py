"""SCONE confidential applications as Pulumi resources."""

from pulumi_scone._arguments import (
    BuildArgs,
    CasArgs,
    CasNamespaceArgs,
    ConfidentialImageArgs,
    EnvironmentArgs,
    InjectionFileArgs,
    MeshArgs,
    MeshDeploymentArgs,
    MeshPolicyArgs,
    MeshServiceArgs,
    RepoArgs,
    SecretArgs,
    SecretsArgs,
    ServiceManifestArgs,
    ServiceVariablesArgs,
    VariableArgs,
)
from pulumi_scone.cas_namespace import CasNamespace
from pulumi_scone.confidential_image import ConfidentialImage
from pulumi_scone.mesh_deployment import MeshDeployment
from pulumi_scone.resources import Cas, SealedPolicy, SecurityPolicy

__all__ = [
    "BuildArgs",
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
    "RepoArgs",
    "SealedPolicy",
    "SecretArgs",
    "SecretsArgs",
    "SecurityPolicy",
    "ServiceManifestArgs",
    "ServiceVariablesArgs",
    "VariableArgs",
]
