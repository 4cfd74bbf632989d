"""Service manifests and Meshfiles: models, variables, errors with file and line. Pure: no Pulumi, no I/O."""

from scone_provider.manifest.findings import ManifestErrors
from scone_provider.manifest.load import load_mesh, load_service
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.service import ServiceManifest

__all__ = ["ManifestErrors", "Mesh", "ServiceManifest", "load_mesh", "load_service"]
