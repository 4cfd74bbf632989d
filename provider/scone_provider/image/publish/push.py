"""Brings a planned image into its registry, finds it there, and removes it: by digest, and only what is missing."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from scone_provider.errors import ImageError
from scone_provider.image.base.base_facts import Progress, fetch_layer, silent
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.base.locked_base import Descriptor, LockedBase
from scone_provider.image.base.resolve import base_protection_bytes
from scone_provider.image.build.plan import ImagePlan
from scone_provider.image.oci.layers import Blob
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.protection.protection_file import base_protection_layer
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import OCI_MANIFEST
from scone_provider.image.registry.repository import Deletion, Repository


@dataclass(frozen=True, kw_only=True)
class PushReport:
    """What a push did: bytes sent, layers that the registry took from its own, and blobs that were there."""

    digest: str
    sent: int
    mounted: int
    present: int


def alone(reference: str, cache: BaseCache) -> AbstractContextManager[None]:
    """While it is held, nobody else on this machine pushes into the reference's repository.

    Services that share an image push it at the same time, and registries mix up equal manifests that arrive together.
    """
    place = parse_reference(reference).name
    return cache.lock(f"push.{hashlib.sha256(place.encode()).hexdigest()}")


def push_image(
    plan: ImagePlan, base: LockedBase, *, registry: Registry, cache: BaseCache, progress: Progress = silent
) -> PushReport:
    """Makes `plan.reference` be the planned image. Safe to repeat: what the registry has is not sent again.

    Raises ImageError when the copied files are no longer those that were planned, or the registry does not do it.
    """
    reference = parse_reference(plan.reference)
    target = registry.target(reference)
    if _tag_points_to(target, reference.version, plan.digest):
        progress(f"{plan.reference}: already there, {plan.digest}")
        return PushReport(digest=plan.digest, sent=0, mounted=0, present=len(plan.base_layers) + len(plan.blobs) + 1)
    push = _Push(plan, base, registry=registry, cache=cache, progress=progress)
    for descriptor in dict.fromkeys(plan.base_layers):
        push.base_layer(descriptor)
    push.own(plan.base_protection.digest, push.protection_layer)
    for blob in plan.blobs:
        push.own(blob.digest, lambda blob=blob: blob)  # type: ignore[misc]
    target.put_manifest(plan.digest, plan.manifest, media_type=OCI_MANIFEST)
    target.put_manifest(reference.version, plan.manifest, media_type=OCI_MANIFEST)
    if not _tag_points_to(target, reference.version, plan.digest):
        raise ImageError(
            "the registry took the image, but its tag points to another one",
            where=plan.reference,
            fix="check who else pushes to this tag",
        )
    progress(f"{plan.reference}: pushed, {plan.digest}")
    return PushReport(digest=plan.digest, sent=push.sent, mounted=push.mounted, present=push.present)


def image_exists(reference: str, *, registry: Registry, write: bool = False) -> bool:
    """True when the registry has the image `host/repository@sha256:…`; `write` by someone who is about to push it."""
    parsed = parse_reference(reference)
    repository = registry.target(parsed) if write else registry.reader(parsed)
    return repository.has_manifest(_digest(reference, parsed.digest))


def tag_digest(reference: str, *, registry: Registry) -> str | None:
    """The digest that the tag `host/repository:tag` has now, None when there is no such tag."""
    parsed = parse_reference(reference)
    found = registry.reader(parsed).manifest(parsed.tag or "latest")
    return found.digest if found else None


def delete_image(reference: str, *, registry: Registry) -> Deletion:
    """Deletes the image `host/repository@sha256:…`, nothing else. A registry that cannot is a result, no error."""
    parsed = parse_reference(reference)
    return registry.target(parsed).delete_manifest(_digest(reference, parsed.digest))


def _digest(reference: str, digest: str | None) -> str:
    if digest is None:
        raise ImageError("an image is found and deleted by digest only", where=reference)
    return digest


def _tag_points_to(target: Repository, tag: str, digest: str) -> bool:
    found = target.manifest(tag)
    return found is not None and found.digest == digest


class _Push:
    def __init__(
        self, plan: ImagePlan, base: LockedBase, *, registry: Registry, cache: BaseCache, progress: Progress
    ) -> None:
        self._plan, self._base, self._progress = plan, base, progress
        self._registry, self._cache = registry, cache
        self._target = registry.target(parse_reference(plan.reference))
        self._source = registry.source(base.source)
        self.sent = self.mounted = self.present = 0

    def base_layer(self, layer: Descriptor) -> None:
        """A layer of the base: there, mounted from the base's own repository, or copied."""
        if self._target.has_blob(layer.digest):
            self.present += 1
            return
        same_registry = self._source.host == self._target.host and self._source.name != self._target.name
        if same_registry and self._target.mount(layer.digest, source=self._source.name):
            self.mounted += 1
            return
        if not self._cache.has(layer.digest, size=layer.size):
            self._progress(f"{self._base.reference}: downloading a layer, {layer.size} bytes")
            fetch_layer(self._source, self._cache, layer)
        self._send(
            Blob(
                digest=layer.digest,
                size=layer.size,
                media_type=layer.media_type,
                chunks=lambda: _cached(self._cache, layer.digest),
            )
        )

    def own(self, digest: str, blob: Callable[[], Blob]) -> None:
        """A blob of ours, produced only when the registry does not have it."""
        if self._target.has_blob(digest):
            self.present += 1
        else:
            self._send(blob())

    def protection_layer(self) -> Blob:
        """The layer with `base.json`."""
        layer = base_protection_layer(
            base_protection_bytes(self._base, registry=self._registry, cache=self._cache, progress=self._progress)
        )
        if layer.digest != self._plan.base_protection.digest:
            raise ImageError("the base's protection is not the one that was locked", where=self._base.reference)
        return layer

    def _send(self, blob: Blob) -> None:
        self._progress(f"{self._plan.reference}: sending {blob.digest[:19]}, {blob.size} bytes")
        self._target.upload(blob)
        self.sent += blob.size


def _cached(cache: BaseCache, digest: str) -> Iterator[bytes]:
    with cache.open(digest) as stream:
        while chunk := stream.read(1 << 20):
            yield chunk
