"""Who uses an image: one record per owner beside it in the registry, so that the last owner alone removes it.

An owner is one resource of one stack, known by a random number that lives in its state. Its record is a tag,
`sha256-<digest>.owner-<number>`: a tag is written and removed in one step, whoever else does the same, and an index of
referrers that clients have to keep is not. A user's record (`.user-`) stands beside an image that was there before
anybody of ours came: nobody of ours removes that one. Each record is a manifest of its own, because registries
delete by digest. See docs/adr/007-image-owners.md.
"""

import re
import secrets
from dataclasses import dataclass
from enum import Enum

from scone_provider.errors import ImageError
from scone_provider.image.oci.canonical_json import canonical_json
from scone_provider.image.oci.layers import bytes_blob
from scone_provider.image.oci.reference import Reference, parse_reference
from scone_provider.image.publish.cosign import companion_configuration, delete_signature
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.errors import UnsupportedError
from scone_provider.image.registry.manifests import OCI_MANIFEST, Manifest
from scone_provider.image.registry.repository import Deletion

RECORD_TYPE = "application/vnd.pulumi-scone.image-owner.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_RECORD = re.compile(r"sha256-([0-9a-f]{64})\.(owner|user)-([0-9a-f]{32})")


class Kind(Enum):
    """What an owner may do with an image."""

    OWNER = "owner"
    USER = "user"


@dataclass(frozen=True, kw_only=True)
class Release:
    """What came of letting go of an image: `removed`, or why it stays, for the user to read."""

    removed: bool
    stays: str = ""


def new_owner() -> str:
    """A number for a resource that is created: nobody else has it, and nobody can guess it."""
    return secrets.token_hex(16)


def record_tag(digest: str, owner: str, kind: Kind) -> str:
    """The tag of a record."""
    return f"{digest.replace(':', '-')}.{kind.value}-{owner}"


def claim(reference: str, owner: str, *, registry: Registry, brings: bool | None = None) -> Kind:
    """Records `owner` beside the image `host/repository@sha256:…`, which may not be there yet. Safe to repeat.

    It has to come before the image is looked for and pushed: who deletes it at the same time looks for records
    afterwards. `brings`: whether the image is there by this owner's doing; None is found out. Raises ImageError.
    """
    parsed, digest = _parsed(reference)
    reader = registry.reader(parsed)
    if brings is None:
        brings = not registry.target(parsed).has_manifest(digest)
    records = {} if brings else _records(registry, parsed, digest)
    for kind in Kind:
        if records.get(owner) is kind:
            return kind
    kind = Kind.OWNER if brings or Kind.OWNER in records.values() else Kind.USER
    tag, manifest = record_tag(digest, owner, kind), _record(digest, owner, kind, registry=registry, parsed=parsed)
    target = registry.target(parsed)
    target.put_manifest(tag, manifest, media_type=OCI_MANIFEST)
    found = reader.manifest(tag)
    if found is None or found.data != manifest:
        raise ImageError(
            "the registry took the record of who uses the image, and does not have it",
            where=f"{parsed.name}:{tag}",
            fix="run the command again",
        )
    return kind


def release(reference: str, owner: str, *, registry: Registry, tags: tuple[str, ...] = ()) -> Release:
    """Removes the owner's record, and the image when no other record stands; `tags` are those that this owner gave it.

    A registry that does not list tags, or does not delete, keeps the image. Nobody can lose it by this: whoever claims
    it while it is being removed either finds it gone and pushes it anew, or is found here, and gets it back.
    Raises ImageError when the registry cannot be asked.
    """
    parsed, digest = _parsed(reference)
    image = _Image(registry, parsed, digest, owner)
    try:
        records = _records(registry, parsed, digest)
    except UnsupportedError:
        return Release(removed=False, stays="its registry does not list tags, so nobody knows who else uses it")
    manifest = registry.reader(parsed).manifest(digest)
    if manifest is None and not records:
        return Release(removed=True)
    if stays := _leave(image, records):
        return Release(removed=False, stays=stays)
    return _remove(image, reference, manifest, tags)


@dataclass(frozen=True)
class _Image:
    """One image as one of its owners sees it."""

    registry: Registry
    parsed: Reference
    digest: str
    owner: str


def _leave(image: _Image, records: dict[str, Kind]) -> str:
    """Takes back the owner's record where others stand; why the image has to stay then, empty for its last owner."""
    if image.owner not in records:
        return "its registry has no record of this resource any more"
    if records[image.owner] is Kind.USER:
        _forget(image, Kind.USER)
        return "it was there before this resource used it"
    if len(records) == 1:
        return ""
    if not _forget(image):
        return "its registry does not delete"
    # Where the others have gone meanwhile, each of us is the last.
    left = _records(image.registry, image.parsed, image.digest)
    return _used_by_others(image.parsed, image.digest, left) if left else ""


def _remove(image: _Image, reference: str, manifest: Manifest | None, tags: tuple[str, ...]) -> Release:
    """Deletes the image of which this is the last owner; puts it back where another one came meanwhile."""
    registry, parsed, digest, owner = image.registry, image.parsed, image.digest, image.owner
    if manifest is not None:
        kept = [tag for tag in tags if _points_to(registry, parsed, tag, digest)]
        deletion = registry.target(parsed).delete_manifest(digest)
        if deletion in {Deletion.UNSUPPORTED, Deletion.DENIED}:
            why = "does not delete images" if deletion is Deletion.UNSUPPORTED else "does not let us delete it"
            return Release(removed=False, stays=f"its registry {why}")
        others = {name: kind for name, kind in _records(registry, parsed, digest).items() if name != owner}
        if others:
            for version in (digest, *kept):
                registry.target(parsed).put_manifest(version, manifest.data, media_type=manifest.media_type)
            _forget(image)
            return Release(removed=False, stays=_used_by_others(parsed, digest, others))
        delete_signature(reference, registry=registry)
    _forget(image)
    return Release(removed=True)


def _records(registry: Registry, parsed: Reference, digest: str) -> dict[str, Kind]:
    """Owner → kind, of all records beside an image."""
    found = {}
    for tag in registry.reader(parsed).tags():
        match = _RECORD.fullmatch(tag)
        if match and f"sha256:{match[1]}" == digest:
            found[match[3]] = Kind(match[2])
    return found


def _record(digest: str, owner: str, kind: Kind, *, registry: Registry, parsed: Reference) -> bytes:
    """The manifest of a record, whose parts are in the registry then."""
    content = bytes_blob(
        canonical_json({"image": digest, kind.value: owner}),
        media_type=RECORD_TYPE,
    )
    layer = content.descriptor()
    config = bytes_blob(companion_configuration([layer]), media_type=_CONFIG_TYPE)
    target = registry.target(parsed)
    for part in (content, config):
        if not target.has_blob(part.digest):
            target.upload(part)
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.descriptor(), "layers": [layer]}
    return canonical_json(manifest)


def _forget(image: _Image, kind: Kind = Kind.OWNER) -> bool:
    """Removes the owner's record; False where the registry does not do it."""
    found = image.registry.reader(image.parsed).manifest(record_tag(image.digest, image.owner, kind))
    if found is None:
        return True
    return image.registry.target(image.parsed).delete_manifest(found.digest) in {Deletion.DELETED, Deletion.ABSENT}


def _points_to(registry: Registry, parsed: Reference, tag: str, digest: str) -> bool:
    found = registry.reader(parsed).manifest(tag)
    return found is not None and found.digest == digest


def _used_by_others(parsed: Reference, digest: str, records: dict[str, Kind]) -> str:
    first = min(records)
    more = f" and {len(records) - 1} more" if len(records) > 1 else ""
    return (
        f"another resource, of this stack or of another, uses it ({parsed.name}:"
        f"{record_tag(digest, first, records[first])}{more})"
    )


def _parsed(reference: str) -> tuple[Reference, str]:
    parsed = parse_reference(reference)
    if parsed.digest is None:
        raise ImageError("an image is found and deleted by digest only", where=reference)
    return parsed, parsed.digest
