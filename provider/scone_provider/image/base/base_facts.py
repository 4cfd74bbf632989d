"""What a base's layers say once they are flattened: learnt once, and kept beside them."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from scone_provider.errors import ImageError
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.base.layer_archive import Budget, Limits, check_media_type, read_layer
from scone_provider.image.base.locked_base import Descriptor, tree_of
from scone_provider.image.oci.canonical_json import canonical_json, parse_object
from scone_provider.image.oci.reference import Reference
from scone_provider.image.oci.tree import Tree
from scone_provider.image.protection.protection_file import Entry, base_entries, base_protection
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.repository import Repository

Progress = Callable[[str], None]
_FACTS_LIMIT = 256 << 20
_FACTS_VERSION = "1"  # part of the name, so that another reading of layers never meets old facts
_PARALLEL_DOWNLOADS = 4


@dataclass(frozen=True, kw_only=True)
class BaseFacts:
    """What flattening a base gives, and what it takes minutes to learn again for a big one."""

    base_json: bytes
    programs: dict[str, str]

    @property
    def tree(self) -> Tree:
        """The base's file tree."""
        entries: dict[str, Entry] = json.loads(self.base_json)["entries"]
        return tree_of(entries, self.programs)


def silent(_: str) -> None:
    """The progress of someone who does not want to know."""


class FactFinder:
    """Downloads, verifies and flattens the layers of bases. What was done before comes from the cache."""

    def __init__(self, registry: Registry, cache: BaseCache, limits: Limits, progress: Progress) -> None:
        self._registry, self._cache, self._limits, self._progress = registry, cache, limits, progress

    def of(
        self, reference: Reference, digest: str, layers: tuple[Descriptor, ...], diff_ids: tuple[str, ...]
    ) -> BaseFacts:
        """What flattening the image `digest` gives; from the cache where it was done before."""
        name = f"{digest.removeprefix('sha256:')}.{_FACTS_VERSION}"
        with self._cache.lock(name):
            known = self._known_facts(name)
            if known is not None:
                return known
            self._download(reference, layers)
            entries, programs = self._flatten(layers, diff_ids)
            facts = BaseFacts(base_json=base_protection(entries), programs=programs)
            checksum = hashlib.sha256(facts.base_json).hexdigest()
            self._cache.keep_fact(f"{name}.base.json", facts.base_json)
            self._cache.keep_fact(f"{name}.programs.json", canonical_json({"base": checksum, "programs": programs}))
            return facts

    def _known_facts(self, name: str) -> BaseFacts | None:
        base_json, about = self._cache.fact(f"{name}.base.json"), self._cache.fact(f"{name}.programs.json")
        if base_json is None or about is None:
            return None
        try:
            programs = parse_object(about, what="a cached fact", limit=_FACTS_LIMIT)
        except ImageError:
            return None
        if programs.get("base") != hashlib.sha256(base_json).hexdigest():
            return None
        table: Any = programs.get("programs")
        return BaseFacts(base_json=base_json, programs=table) if isinstance(table, dict) else None

    def _download(self, reference: Reference, layers: tuple[Descriptor, ...]) -> None:
        for layer in layers:
            check_media_type(layer.media_type)
        if sum(layer.size for layer in layers) > self._limits.compressed:
            raise ImageError(f"the base has more than {self._limits.compressed} bytes", where=str(reference))
        wanted = {
            layer.digest: layer for layer in layers if not self._cache.has(layer.digest, size=layer.size)
        }.values()
        if not wanted:
            return
        self._progress(f"{reference}: downloading {len(wanted)} layers, {sum(layer.size for layer in wanted)} bytes")
        source = self._registry.source(reference)
        with ThreadPoolExecutor(max_workers=_PARALLEL_DOWNLOADS) as pool:
            for _ in pool.map(lambda layer: fetch_layer(source, self._cache, layer), wanted):
                pass

    def _flatten(
        self, layers: tuple[Descriptor, ...], diff_ids: tuple[str, ...]
    ) -> tuple[dict[str, Entry], dict[str, str]]:
        tree, budget = Tree(), Budget(self._limits)
        for layer, diff_id in zip(layers, diff_ids, strict=True):
            try:
                with self._cache.open(layer.digest) as stream:
                    members = read_layer(
                        stream, media_type=layer.media_type, digest=layer.digest, diff_id=diff_id, budget=budget
                    )
            except ImageError:
                self._cache.drop(layer.digest)  # a damaged file must not stand in the way of the next try
                raise
            tree.apply(members)
        entries = base_entries(tree)
        programs = {path: node.program for path, node in tree.walk() if node.program and path in entries}
        return entries, programs


def fetch_layer(source: Repository, cache: BaseCache, layer: Descriptor) -> None:
    """Downloads one layer of a base into the cache, verified."""
    cache.fetch(layer.digest, lambda file: source.download(layer.digest, size=layer.size, into=file))
