"""Composes a confidential image: from inputs, a locked base, the image key and the launcher to digests and blobs. Pure.

The same inputs give the same digest on any machine, without a registry: nothing of time, place or order enters.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scone_provider.errors import ImageError
from scone_provider.image.base.locked_base import Binary, Descriptor, LockedBase
from scone_provider.image.build import image_documents
from scone_provider.image.build.inputs import ImageInputs
from scone_provider.image.build.layout import Layout, lay_out
from scone_provider.image.build.promises import check_promises
from scone_provider.image.build.source_files import SourceFile
from scone_provider.image.oci.layers import LAYER_MEDIA_TYPE, Blob, TarEntry, bytes_blob, directory, file, layer, link
from scone_provider.image.oci.reference import Reference, parse_reference
from scone_provider.image.protection.image_keys import ImageKeys, derive_keys
from scone_provider.image.protection.measurement import measure
from scone_provider.image.protection.protection_file import (
    MEMORY,
    SCONE,
    EncryptedDirectory,
    Entry,
    ServiceProtection,
    protection_tag,
)
from scone_provider.image.protection.seal import OVERHEAD, file_label, seal

CONFIG_MEDIA_TYPE = "application/vnd.oci.image.config.v1+json"
_DIRECTORY: Entry = ("d", 0o755, 0, "")


@dataclass(frozen=True, kw_only=True)
class ImageSummary:
    """What is known of an image also without the image key. `files` are the copied paths, `notes` are for people."""

    name: str
    reference: str
    measurement: str
    encrypted: tuple[str, ...]
    injected: Mapping[str, str]
    volumes: tuple[str, ...]
    files: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ImagePlan(ImageSummary):
    """An image, predicted to the byte. `fingerprints` (path to 16 hex digits, `+x` when executable) tell changed files.

    `base_layers` and `base_protection` are descriptors of what the base brings; `blobs` are ours, config included.
    """

    digest: str
    fspf_tag: str
    fingerprints: Mapping[str, str]
    manifest: bytes = field(repr=False)
    base_layers: tuple[Descriptor, ...] = field(repr=False)
    base_protection: Descriptor = field(repr=False)
    blobs: tuple[Blob, ...] = field(repr=False)

    @property
    def pinned(self) -> str:
        """The image by digest, as a chart names it: `host/repository@sha256:…`."""
        return str(parse_reference(self.reference).at(self.digest))


@dataclass(frozen=True, kw_only=True)
class KeylessPlan(ImageSummary):
    """What can be said without the image key: digest and tag are unknown, `reason` says why."""

    reason: str = "the image key is not set here, so the image's digest and its fspf_tag are unknown"


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """What both plans begin with."""

    reference: Reference
    binary: Binary
    layout: Layout
    measurement: str
    launcher_sha256: str


def plan_without_key(inputs: ImageInputs, base: LockedBase, *, launcher: bytes) -> KeylessPlan:
    """The facts that need no image key. Raises ImageError as `plan_image` does."""
    return KeylessPlan(**_facts(inputs, _frame(inputs, base, launcher)))


def plan_image(inputs: ImageInputs, base: LockedBase, *, image_key: bytes, launcher: bytes) -> ImagePlan:
    """The image of `inputs` on `base`. Reads the copied files, nothing else.

    `base` must know the program and `wanted_paths(inputs)`. Raises ImageError for what cannot be built.
    """
    frame = _frame(inputs, base, launcher)
    keys = derive_keys(image_key, identity=frame.reference.repository)
    configuration = image_documents.launcher_configuration(frame.binary, inputs, base)
    encrypted, blobs = _encrypt(frame.layout, keys)
    protection = ServiceProtection(
        base=base.protection.digest,
        launcher=frame.launcher_sha256,
        configuration=hashlib.sha256(configuration).hexdigest(),
        entries=_entries(frame.layout),
        encrypted=encrypted,
        injected=frame.layout.injected,
        volumes=frame.layout.volumes,
        unprotected=frame.layout.unprotected,
    )
    root = protection.sealed(keys)
    tag = protection_tag(root)
    launcher_layer = layer([directory(SCONE), file(f"{SCONE}/launcher", launcher, 0o755)])
    service_layer = layer(
        [
            directory(SCONE),
            directory(f"{SCONE}/blobs"),
            directory(MEMORY),
            file(f"{SCONE}/launcher.json", configuration),
            file(f"{SCONE}/service.fspf", root),
            *blobs,
            *_clear(frame.layout),
        ],
    )
    labels = image_documents.labels(inputs, base, measurement=frame.measurement, tag=tag)
    base_part = Descriptor(
        media_type=LAYER_MEDIA_TYPE, digest=base.protection.layer_digest, size=base.protection.layer_size
    )
    own_diff_ids = [launcher_layer.digest, base_part.digest, service_layer.digest]
    config = bytes_blob(image_documents.configuration(base, labels, own_diff_ids), media_type=CONFIG_MEDIA_TYPE)
    own_layers = [_described(launcher_layer), base_part, _described(service_layer)]
    manifest = image_documents.manifest([*base.layers, *own_layers], config, labels)
    return ImagePlan(
        **_facts(inputs, frame),
        digest=f"sha256:{hashlib.sha256(manifest).hexdigest()}",
        fspf_tag=tag,
        fingerprints=fingerprints(inputs, image_key=image_key),
        manifest=manifest,
        base_layers=base.layers,
        base_protection=base_part,
        blobs=(launcher_layer, service_layer, config),
    )


def _frame(inputs: ImageInputs, base: LockedBase, launcher: bytes) -> _Frame:
    reference = parse_reference(inputs.to)
    if reference.digest:
        raise ImageError("an image is built to a tag, not to a digest", where=f"{inputs.name}: build.to")
    binary = base.binaries.get(inputs.program)
    if binary is None:
        raise ImageError(
            f"where the base has the program {inputs.program!r} is not known yet",
            where="base",
            fix="extend the locked base first",
        )
    _check_binaries(inputs, base, binary)
    launcher_sha256 = hashlib.sha256(launcher).hexdigest()
    layout = lay_out(inputs, base=base.paths, measured=frozenset({binary.path, binary.loader} - {""}))
    notes = check_promises(inputs, layout, base=base.paths, measured=binary)
    return _Frame(
        reference=reference,
        binary=binary,
        layout=replace(layout, notes=(*layout.notes, *notes)),
        measurement=measure(
            launcher=launcher_sha256,
            program=binary.sha256,
            loader=binary.loader_sha256,
            environment=inputs.environment,
        ),
        launcher_sha256=launcher_sha256,
    )


def _check_binaries(inputs: ImageInputs, base: LockedBase, started: Binary) -> None:
    """Of the programs in `binaries`, the one that the command starts is measured; the others are files as all are."""
    if not inputs.binaries:
        return
    known = {base.binaries[name].path for name in inputs.binaries if name in base.binaries}
    if started.path not in known:
        raise ImageError(
            f"the command starts {started.path}, which is none of them",
            where=inputs.place("binaries"),
            fix="name the program that the command starts",
        )


def _facts(inputs: ImageInputs, frame: _Frame) -> dict[str, Any]:
    return {
        "name": inputs.name,
        "reference": str(frame.reference),
        "measurement": frame.measurement,
        "encrypted": tuple(sorted(frame.layout.encrypted)),
        "injected": frame.layout.injected,
        "volumes": frame.layout.volumes,
        "files": tuple(sorted(f.path for f in inputs.source.files)),
        "notes": frame.layout.notes,
    }


def _fingerprint(keys: ImageKeys, source: SourceFile) -> str:
    return keys.fingerprint(source.read())[:16] + ("+x" if source.mode & 0o100 else "")


def fingerprints(inputs: ImageInputs, *, image_key: bytes) -> dict[str, str]:
    """What stands for the copied files in state and previews: path to 16 hex digits, `+x` when executable."""
    keys = derive_keys(image_key, identity=parse_reference(inputs.to).repository)
    return {f.path: _fingerprint(keys, f) for f in sorted(inputs.source.files, key=lambda f: f.path)}


def _encrypt(layout: Layout, keys: ImageKeys) -> tuple[dict[str, EncryptedDirectory], list[TarEntry]]:
    directories, blobs = {}, []
    for folder, content in layout.encrypted.items():
        entries: dict[str, tuple[object, ...]] = dict.fromkeys(content.directories, ("d", 493, 0, ""))
        entries |= {path: ("l", 0, 0, target) for path, target in content.links.items()}
        for path, source in content.files.items():
            name = keys.blob_name(source.path)
            sealed = hashlib.sha256(_sealed(keys, source)).hexdigest()
            entries[path] = ("f", source.mode, source.size, source.sha256, name, sealed)
            blobs.append(_blob_entry(name, source, keys))
        directories[folder] = EncryptedDirectory(mode=0o755, entries=entries)
    return directories, blobs


def _sealed(keys: ImageKeys, source: SourceFile) -> bytes:
    return seal(keys, file_label(source.path, source.mode), source.read())


def _blob_entry(name: str, source: SourceFile, keys: ImageKeys) -> TarEntry:
    # Sealed again whenever the layer is produced: the same bytes, and no more than one file in memory.
    return TarEntry(
        path=f"{SCONE}/blobs/{name}",
        kind="f",
        mode=0o644,
        size=source.size + OVERHEAD,
        chunks=lambda: (_sealed(keys, source),),
    )


def _entries(layout: Layout) -> dict[str, Entry]:
    entries: dict[str, Entry] = dict.fromkeys(layout.directories, ("d", 493, 0, ""))
    entries |= {path: ("l", 0, 0, target) for path, target in layout.links.items()}
    entries |= {path: ("f", f.mode, f.size, f.sha256) for path, f in layout.files.items()}
    return entries


def _clear(layout: Layout) -> list[TarEntry]:
    """What stands in the layer as it is."""
    return [
        *(directory(path) for path in layout.directories),
        *(link(path, target) for path, target in layout.links.items()),
        *(_clear_file(source) for source in layout.files.values()),
    ]


def _clear_file(source: SourceFile) -> TarEntry:
    return TarEntry(path=source.path, kind="f", mode=source.mode, size=source.size, chunks=lambda: (source.read(),))


def _described(blob: Blob) -> Descriptor:
    return Descriptor(media_type=blob.media_type, digest=blob.digest, size=blob.size)
