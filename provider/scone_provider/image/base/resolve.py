"""Turns `python:3.11-slim` into a `LockedBase`: by registry or cache, all bytes verified, flattened once per digest."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from scone_provider.errors import ImageError
from scone_provider.image.base.base_facts import FactFinder, Progress, silent
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.base.layer_archive import Limits
from scone_provider.image.base.locked_base import (
    LockedBase,
    ProtectionPart,
    check_configuration,
    describe_paths,
    diff_ids_of,
    find_program,
    layers_of,
    search_path_of,
)
from scone_provider.image.oci.canonical_json import parse_object
from scone_provider.image.oci.reference import Reference, is_digest, parse_reference
from scone_provider.image.protection.protection_file import base_protection_layer
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.errors import RegistryUnavailableError
from scone_provider.image.registry.manifests import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    MANIFEST_LIMIT,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
)

_CONFIG_LIMIT = 8 << 20
_KEPT_MANIFESTS = "manifest-"


def resolve_base(
    reference: str,
    *,
    program: str,
    registry: Registry,
    cache: BaseCache,
    locked: LockedBase | None = None,
    paths: Iterable[str] = (),
    binaries: Iterable[str] = (),
    limits: Limits | None = None,
    progress: Progress = silent,
) -> LockedBase:
    """The linux/amd64 image that `reference` is now, locked, with what a service that starts `program` needs to know.

    `paths`: absolute paths of the image that the service wants to use (`layout.wanted_paths`); `binaries`: programs
    that it names besides. `locked`: what `reference` was locked to, for another program or other paths; its digest is
    taken, and no request is made when that is cached. When the registry cannot be reached, the digest that the tag had
    when it was last seen here is taken, which `progress` is told. Raises ImageError.
    """
    resolver = _Resolver(registry, cache, limits or Limits(), progress)
    programs, wanted = (program, *binaries), tuple(paths)
    if locked is None:
        return resolver.resolve(reference, programs, wanted)
    return resolver.lock(reference, locked.source, resolver.by_digest(locked.source), programs, wanted)


def base_protection_bytes(
    base: LockedBase, *, registry: Registry, cache: BaseCache, limits: Limits | None = None, progress: Progress = silent
) -> bytes:
    """`base.json` of a locked base, from the cache or computed. Raises ImageError when it is not what was locked."""
    resolver = _Resolver(registry, cache, limits or Limits(), progress)
    base_json = resolver.facts.of(base.source, base.digest, base.layers, base.diff_ids).base_json
    if hashlib.sha256(base_json).hexdigest() != base.protection.digest:
        raise ImageError(
            "the base's protection is not the one that was locked",
            where=base.reference,
            fix="refresh the base (`refresh_base`)",
        )
    return base_json


class _Resolver:
    def __init__(self, registry: Registry, cache: BaseCache, limits: Limits, progress: Progress) -> None:
        self._registry, self._cache, self._limits, self._progress = registry, cache, limits, progress
        self.facts = FactFinder(registry, cache, limits, progress)

    def resolve(self, text: str, programs: tuple[str, ...], paths: tuple[str, ...]) -> LockedBase:
        reference = parse_reference(text)
        if reference.digest:
            return self.lock(text, reference, self.by_digest(reference), programs, paths)
        try:
            found = self._registry.source(reference).manifest(reference.version)
        except RegistryUnavailableError:
            digest = self._cache.recall(str(reference))
            if digest is None:
                raise
            self._progress(f"{text}: the registry cannot be reached; taken as last seen, {digest}")
            return self.lock(text, reference, self.by_digest(reference.at(digest)), programs, paths)
        if found is None:
            raise self._missing(reference)
        self._keep_manifest(found)
        locked = self.lock(text, reference, found, programs, paths)
        self._cache.remember(str(reference), found.digest)
        return locked

    def by_digest(self, reference: Reference) -> Manifest:
        digest = reference.digest
        assert digest is not None
        kept = self._cache.get(digest, limit=MANIFEST_LIMIT)
        media_type = self._cache.fact(_KEPT_MANIFESTS + digest.removeprefix("sha256:"))
        if kept is not None and media_type is not None:
            return Manifest(data=kept, media_type=media_type.decode("ascii", "replace"), digest=digest)
        found = self._registry.source(reference).manifest(digest)
        if found is None:
            raise self._missing(reference)
        self._keep_manifest(found)
        return found

    def lock(
        self, text: str, reference: Reference, found: Manifest, programs: tuple[str, ...], paths: tuple[str, ...]
    ) -> LockedBase:
        found = self._platform(reference, found)
        try:
            manifest = parse_object(found.data, what="the base's manifest", limit=MANIFEST_LIMIT)
            layers = layers_of(manifest)
            descriptor: Any = manifest["config"]
            config = self._config(reference, descriptor)
            parsed = parse_object(config, what="the base's configuration", limit=_CONFIG_LIMIT)
            diff_ids = diff_ids_of(parsed)
            check_configuration(parsed)
            platform = (parsed.get("os"), parsed.get("architecture"))
            manifest_text, config_text = found.data.decode(), config.decode()
        except (KeyError, TypeError, ValueError):
            raise ImageError("the base's manifest or configuration is malformed", where=text) from None
        if platform != ("linux", "amd64"):
            raise ImageError(f"the base is for {platform[0]}/{platform[1]}; linux/amd64 is needed", where=text)
        if len(layers) != len(diff_ids) or len(layers) > self._limits.layers:
            raise ImageError("the base has too many layers, or its configuration names other ones", where=text)
        facts = self.facts.of(reference, found.digest, layers, diff_ids)
        layer, tree = base_protection_layer(facts.base_json), facts.tree
        locked = LockedBase(
            reference=text,
            repository=reference.name,
            digest=found.digest,
            media_type=found.media_type,
            manifest=manifest_text,
            config=config_text,
            protection=ProtectionPart(
                digest=hashlib.sha256(facts.base_json).hexdigest(),
                size=len(facts.base_json),
                layer_digest=layer.digest,
                layer_size=layer.size,
            ),
            binaries={name: find_program(tree, name, search_path=search_path_of(parsed)) for name in programs},
            paths=describe_paths(tree, paths),
        )
        # What would not come back out of the state must not go in.
        return LockedBase.from_dict(locked.to_dict())

    def _platform(self, reference: Reference, found: Manifest) -> Manifest:
        if found.media_type in {OCI_MANIFEST, DOCKER_MANIFEST}:
            return found
        if found.media_type not in {OCI_INDEX, DOCKER_INDEX}:
            raise ImageError(f"the base is of type {found.media_type!r}, which is no image", where=str(reference))
        index = parse_object(found.data, what="the base's index", limit=MANIFEST_LIMIT)
        try:
            digest = _baseline(index)
        except (KeyError, TypeError, AttributeError):
            raise ImageError("the base's index is malformed", where=str(reference)) from None
        if digest is None:
            raise ImageError("the base has no image for linux/amd64", where=str(reference))
        chosen = self.by_digest(reference.at(digest))
        if chosen.media_type not in {OCI_MANIFEST, DOCKER_MANIFEST}:
            raise ImageError("the base's index names an index in turn", where=str(reference))
        return chosen

    def _config(self, reference: Reference, descriptor: Mapping[str, object]) -> bytes:
        digest, size = descriptor["digest"], descriptor["size"]
        if (
            not isinstance(digest, str)
            or not is_digest(digest)
            or not isinstance(size, int)
            or not 0 < size <= _CONFIG_LIMIT
        ):
            raise ValueError
        kept = self._cache.get(digest, limit=_CONFIG_LIMIT)
        if kept is None:
            source = self._registry.source(reference)
            self._cache.fetch(digest, lambda file: source.download(digest, size=size, into=file))
            kept = self._cache.get(digest, limit=_CONFIG_LIMIT)
        if kept is None:
            raise ValueError
        return kept

    def _keep_manifest(self, found: Manifest) -> None:
        self._cache.put(found.digest, found.data)
        self._cache.keep_fact(_KEPT_MANIFESTS + found.digest.removeprefix("sha256:"), found.media_type.encode())

    def _missing(self, reference: Reference) -> ImageError:
        asked = self._registry.source(reference).host
        mirror = f" (asked its mirror {asked})" if asked != reference.host else ""
        return ImageError(
            f"the base image {reference} does not exist{mirror}",
            where="build.from",
            fix="check name and tag, and that the registry has it",
        )


def _baseline(index: Mapping[str, Any]) -> str | None:
    """The image of an index that every linux/amd64 machine runs: without a variant, else of the lowest one.

    An index may say nothing of its images' platforms; one image alone is then tried, and judged by its configuration.
    """
    found: list[tuple[str, str]] = []
    unsaid: list[str] = []
    for item in index["manifests"]:
        platform = item.get("platform") or {}
        if not is_digest(item["digest"]) or item.get("artifactType"):
            continue
        if not platform:
            unsaid.append(item["digest"])
        elif (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
            variant = str(platform.get("variant") or "v1")
            found.append((f"{len(variant):04}{variant}", item["digest"]))
    if found:
        return min(found, key=lambda one: one[0])[1]  # the first of equals
    return unsaid[0] if len(unsaid) == 1 else None
