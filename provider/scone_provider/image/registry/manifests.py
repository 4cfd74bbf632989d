"""Manifests as registries keep them, and their media types."""

import json
from dataclasses import dataclass

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_LIMIT = 4 << 20
_MANIFESTS = frozenset({OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX})


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest as stored. `digest` is computed here, never taken from the registry's word."""

    data: bytes
    media_type: str
    digest: str


def media_type_of(data: bytes, *, served_as: str) -> str:
    """The type of a manifest: the one it is served as, or what it says itself where that is `application/json`, say."""
    media_type = served_as.partition(";")[0].strip()
    if media_type in _MANIFESTS:
        return media_type
    try:
        document = json.loads(data)
        found = document.get("mediaType")
        if not found and document.get("schemaVersion") == 2:
            found = OCI_INDEX if isinstance(document.get("manifests"), list) else OCI_MANIFEST
    except (ValueError, AttributeError, RecursionError):
        found = ""
    return found if isinstance(found, str) else ""
