"""The JSON documents of an image: what the launcher reads, configuration, labels and manifest. Pure."""

import posixpath
from collections.abc import Mapping
from typing import Any

from scone_provider.image.base.locked_base import Binary, Descriptor, LockedBase
from scone_provider.image.build.inputs import ImageInputs
from scone_provider.image.oci.canonical_json import canonical_json
from scone_provider.image.oci.layers import LAYER_MEDIA_TYPE, Blob
from scone_provider.image.protection.protection_file import SCONE
from scone_provider.image.registry.manifests import OCI_MANIFEST

LABEL_PREFIX = "org.pulumi-scone."
RUNTIME_USER = "65532:65532"
"""Whom the image runs as where its base names nobody: not root. All files of ours are readable for everyone."""

_EPOCH = "1970-01-01T00:00:00Z"
_KEPT_CONFIGURATION = ("Env", "ExposedPorts", "StopSignal")
_OCI_LAYER = {
    "application/vnd.docker.image.rootfs.diff.tar": LAYER_MEDIA_TYPE,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{LAYER_MEDIA_TYPE}+gzip",
}


def launcher_configuration(binary: Binary, inputs: ImageInputs, base: LockedBase) -> bytes:
    """What the launcher starts, and which CAS it asks where the image pins one."""
    found: dict[str, object] = {"version": 1, "program": binary.path, "loader": binary.loader}
    if inputs.cas_key:
        found["cas_key"] = inputs.cas_key
    if inputs.image_defaults:
        found |= _image_defaults(base, into=inputs.pwd)
    return canonical_json(found)


def _image_defaults(base: LockedBase, *, into: str) -> dict[str, object]:
    """The base's own variables and working folder, for where the policy names none. SCONE's are never a base's."""
    config = base.configuration.get("config") or {}
    pairs = [str(variable).partition("=") for variable in config.get("Env") or []]
    environment = {name: value for name, sign, value in pairs if name and sign and not name.startswith("SCONE_")}
    folder = str(config.get("WorkingDir") or "")
    found: dict[str, object] = {"environment": environment}
    if into == "/" and folder != "/" and folder.startswith("/") and posixpath.normpath(folder) == folder:
        found["pwd"] = folder
    return found


def labels(inputs: ImageInputs, base: LockedBase, *, measurement: str, tag: str) -> dict[str, str]:
    """What the image says of itself to registries and tools."""
    return {
        "org.opencontainers.image.title": inputs.name,
        "org.opencontainers.image.base.name": base.reference,
        "org.opencontainers.image.base.digest": base.digest,
        f"{LABEL_PREFIX}format": "1",
        f"{LABEL_PREFIX}service": inputs.name,
        f"{LABEL_PREFIX}measurement": measurement,
        f"{LABEL_PREFIX}fspf-tag": tag,
    }


def configuration(base: LockedBase, labels: Mapping[str, str], diff_ids: list[str]) -> bytes:
    """The image configuration. The base's volumes go: they would be mounts, which the launcher refuses."""
    old = base.configuration
    config: dict[str, Any] = old.get("config") or {}
    kept: dict[str, object] = {key: config[key] for key in _KEPT_CONFIGURATION if config.get(key)}
    history = [entry for entry in old.get("history") or [] if isinstance(entry, dict)]
    own = [
        {"created": _EPOCH, "created_by": f"pulumi-scone: {part}"}
        for part in ("launcher", "base protection", "service")
    ]
    merged: dict[str, object] = {
        **kept,
        "Entrypoint": [f"{SCONE}/launcher"],
        "User": config.get("User") or RUNTIME_USER,
        "WorkingDir": "/",
        "Labels": {**(config.get("Labels") or {}), **labels},
    }
    return canonical_json(
        {
            "created": _EPOCH,
            "os": "linux",
            "architecture": "amd64",
            "config": merged,
            "rootfs": {"type": "layers", "diff_ids": [*base.diff_ids, *diff_ids]},
            "history": [*history, *own],
        },
    )


def manifest(layers: list[Descriptor], config: Blob, labels: Mapping[str, str]) -> bytes:
    """The OCI manifest over all layers, base and own."""
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor(),
            # A manifest of OCI's with layers of Docker's type is refused by some registries: same bytes, OCI's name.
            "layers": [
                {"mediaType": _OCI_LAYER.get(p.media_type, p.media_type), "digest": p.digest, "size": p.size}
                for p in layers
            ],
            "annotations": labels,
        },
    )
