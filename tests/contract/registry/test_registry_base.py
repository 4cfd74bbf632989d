"""Bases from a real registry: tags, indexes, mirrors, caches; and what is believed of one that lies."""

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.base.resolve import resolve_base
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.connection import RegistryOptions
from scone_provider.image.registry.errors import RegistryUnavailableError
from scone_provider.image.registry.manifests import OCI_INDEX, OCI_MANIFEST
from support.real_registry import Liar, RealRegistry
from support.tiny_image import LAYER, TinyImage, digest_of, tiny_image


def test_a_tag_is_locked_to_its_digest(
    real_registry: RealRegistry,
    client: Callable[..., Registry],
    cache: BaseCache,
    store: Callable[[Registry, str, TinyImage], None],
) -> None:
    """The locked base names manifest and repository, and keeps the reference as it was asked."""
    image = tiny_image(compressed=True)
    store(client(), f"{real_registry.host}/library/base:1", image)
    base = resolve_base(f"{real_registry.host}/library/base:1", program="python3", registry=client(), cache=cache)
    assert base.digest == image.digest
    assert base.reference == f"{real_registry.host}/library/base:1"
    assert base.repository == f"{real_registry.host}/library/base"
    assert base.manifest.encode() == image.manifest


def test_an_index_is_followed_to_linux_amd64(
    real_registry: RealRegistry,
    client: Callable[..., Registry],
    cache: BaseCache,
    store: Callable[[Registry, str, TinyImage], None],
) -> None:
    """Other platforms and attestations in the index are passed over."""
    image = tiny_image()
    reference = f"{real_registry.host}/base:multi"
    store(client(), f"{real_registry.host}/base:1", image)
    index = json.loads(image.index())
    index["manifests"] = [m for m in index["manifests"] if m["digest"] == image.digest]
    client().target(parse_reference(reference)).put_manifest("multi", json.dumps(index).encode(), media_type=OCI_INDEX)
    assert resolve_base(reference, program="python3", registry=client(), cache=cache).digest == image.digest


def test_an_index_without_our_platform_is_refused(
    liar: Liar, client: Callable[..., Registry], cache: BaseCache
) -> None:
    """The error says which platform is missing."""
    index = json.dumps({"manifests": [{"digest": digest_of(b""), "platform": {"os": "linux", "architecture": "arm"}}]})
    liar.answers["GET", "/v2/base/manifests/1"] = (200, {"Content-Type": OCI_INDEX}, index.encode())
    with pytest.raises(ImageError, match="no image for linux/amd64"):
        resolve_base(f"{liar.host}/base:1", program="python3", registry=client(), cache=cache)


def test_a_mirror_stands_in_for_a_registry_by_name(
    real_registry: RealRegistry,
    client: Callable[..., Registry],
    cache: BaseCache,
    store: Callable[[Registry, str, TinyImage], None],
) -> None:
    """`python:3.11-slim` comes from the mirror; what is recorded stays Docker Hub's name."""
    store(client(), f"{real_registry.host}/library/python:3.11-slim", tiny_image())
    mirrored = client(mirrors={"docker.io": real_registry.host})
    base = resolve_base("python:3.11-slim", program="python3", registry=mirrored, cache=cache)
    assert (base.reference, base.repository) == ("python:3.11-slim", "docker.io/library/python")


def test_a_missing_base_is_explained(
    real_registry: RealRegistry, client: Callable[..., Registry], cache: BaseCache
) -> None:
    """Name, tag, the mirror that was asked, and what to check."""
    with pytest.raises(ImageError) as caught:
        resolve_base(
            "nothing:1", program="python3", registry=client(mirrors={"docker.io": real_registry.host}), cache=cache
        )
    text = str(caught.value)
    assert "docker.io/library/nothing:1 does not exist" in text
    assert f"asked its mirror {real_registry.host}" in text
    assert "check name and tag" in text


def test_an_unreachable_registry_falls_back_to_what_was_seen_and_says_so(
    real_registry: RealRegistry,
    client: Callable[..., Registry],
    cache: BaseCache,
    store: Callable[[Registry, str, TinyImage], None],
) -> None:
    """With the registry down, a base that is cached is still locked, to the digest that its tag last had."""
    reference = f"{real_registry.host}/base:1"
    store(client(), reference, tiny_image())
    said: list[str] = []
    online = resolve_base(reference, program="python3", registry=client(), cache=cache)
    real_registry.kill()
    offline = resolve_base(reference, program="python3", registry=client(), cache=cache, progress=said.append)
    assert offline == online
    assert "taken as last seen" in said[0]


def test_an_unreachable_registry_without_a_cache_is_an_error(
    real_registry: RealRegistry, client: Callable[..., Registry], cache: BaseCache
) -> None:
    """Nothing is invented."""
    real_registry.kill()
    with pytest.raises(RegistryUnavailableError):
        resolve_base(f"{real_registry.host}/base:1", program="python3", registry=client(), cache=cache)


@pytest.fixture
def honest(liar: Liar) -> TinyImage:
    """A server that gives a good base, until the test changes an answer."""
    image = tiny_image(compressed=True)
    liar.answers["GET", "/v2/base/manifests/1"] = (200, {"Content-Type": OCI_MANIFEST}, image.manifest)
    liar.answers["GET", f"/v2/base/manifests/{image.digest}"] = (200, {"Content-Type": OCI_MANIFEST}, image.manifest)
    for digest, data in image.blobs.items():
        liar.answers["GET", f"/v2/base/blobs/{digest}"] = (200, {}, data)
    return image


@pytest.mark.parametrize("which", [0, 1], ids=["configuration", "layer"])
def test_changed_blobs_are_refused(
    liar: Liar, honest: TinyImage, client: Callable[..., Registry], cache: BaseCache, which: int
) -> None:
    """One other byte in configuration or layer: refused by digest, and nothing of it stays in the cache."""
    digest = list(honest.blobs)[which]
    data = bytearray(honest.blobs[digest])
    data[-1] ^= 1
    liar.answers["GET", f"/v2/base/blobs/{digest}"] = (200, {}, bytes(data))
    with pytest.raises(ImageError, match="another content"):
        resolve_base(f"{liar.host}/base:1", program="python3", registry=client(), cache=cache)
    assert not cache.has(digest, size=len(data))


@pytest.mark.parametrize("extra", [b"more", b"x" * 100_000])
def test_blobs_that_are_too_long_are_cut_off(
    liar: Liar, honest: TinyImage, client: Callable[..., Registry], cache: BaseCache, extra: bytes
) -> None:
    """A registry cannot fill the disk: the size in the manifest is the limit."""
    digest = list(honest.blobs)[1]
    liar.answers["GET", f"/v2/base/blobs/{digest}"] = (200, {}, honest.blobs[digest] + extra)
    with pytest.raises(ImageError, match="sends more than"):
        resolve_base(f"{liar.host}/base:1", program="python3", registry=client(), cache=cache)


def test_blobs_that_break_off_are_tried_again_and_then_an_error(
    liar: Liar, honest: TinyImage, client: Callable[..., Registry], cache: BaseCache
) -> None:
    """A connection that ends early is no end of file."""
    digest = list(honest.blobs)[1]
    data = honest.blobs[digest]
    liar.answers["GET", f"/v2/base/blobs/{digest}"] = (200, {"Content-Length": str(len(data))}, data[:100])
    with pytest.raises(RegistryUnavailableError, match="broke off"):
        resolve_base(f"{liar.host}/base:1", program="python3", registry=client(attempts=3), cache=cache)
    assert [path for _, path, _ in liar.requests].count(f"/v2/base/blobs/{digest}") == 3


def test_a_manifest_by_digest_is_verified(
    liar: Liar, honest: TinyImage, client: Callable[..., Registry], cache: BaseCache
) -> None:
    """What answers to a digest has that digest."""
    liar.answers["GET", f"/v2/base/manifests/{honest.digest}"] = (
        200,
        {"Content-Type": OCI_MANIFEST},
        honest.manifest + b" ",
    )
    with pytest.raises(ImageError, match="another content for the manifest"):
        resolve_base(f"{liar.host}/base@{honest.digest}", program="python3", registry=client(), cache=cache)


def test_a_manifest_whose_header_names_another_digest_is_refused(
    liar: Liar, honest: TinyImage, client: Callable[..., Registry], cache: BaseCache
) -> None:
    """A registry that contradicts itself is not believed in either word."""
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digest_of(b"other")}
    liar.answers["GET", "/v2/base/manifests/1"] = (200, headers, honest.manifest)
    with pytest.raises(ImageError, match="another content"):
        resolve_base(f"{liar.host}/base:1", program="python3", registry=client(), cache=cache)


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("text/html", b"<html>"),
        (OCI_MANIFEST, b"{}"),
        (OCI_MANIFEST, b"[]"),
        (OCI_MANIFEST, b"not json"),
        (OCI_MANIFEST, b'{"config":{"digest":"../../etc","size":1},"layers":[]}'),
        (OCI_MANIFEST, b'{"config":5,"layers":[{"digest":1}]}'),
        (OCI_INDEX, b'{"manifests":5}'),
        (OCI_INDEX, b'{"manifests":[5]}'),
        (OCI_MANIFEST, b" " * (5 << 20)),
    ],
)
def test_a_malformed_manifest_is_an_error_in_words(
    liar: Liar, client: Callable[..., Registry], cache: BaseCache, media_type: str, body: bytes
) -> None:
    """Whatever a registry sends, the user reads one sentence."""
    liar.answers["GET", "/v2/base/manifests/1"] = (200, {"Content-Type": media_type}, body)
    with pytest.raises(ImageError):
        resolve_base(f"{liar.host}/base:1", program="python3", registry=client(), cache=cache)


def test_layers_that_cannot_be_read_are_refused_before_they_are_downloaded(
    liar: Liar, honest: TinyImage, client: Callable[..., Registry], cache: BaseCache
) -> None:
    """A zstd layer is named at once; not a byte of any layer is fetched."""
    manifest = honest.manifest.replace(f"{LAYER}+gzip".encode(), f"{LAYER}+zstd".encode())
    liar.answers["GET", "/v2/base/manifests/1"] = (200, {"Content-Type": OCI_MANIFEST}, manifest)
    with pytest.raises(ImageError, match="not supported"):
        resolve_base(f"{liar.host}/base:1", program="python3", registry=client(), cache=cache)
    assert f"/v2/base/blobs/{list(honest.blobs)[1]}" not in [path for _, path, _ in liar.requests]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_overloaded_registry_is_asked_again(
    liar: Liar, client: Callable[..., Registry], cache: BaseCache, status: int
) -> None:
    """As long as it says that it may pass; then the error gives the last status."""
    liar.answers["GET", "/v2/base/manifests/1"] = (status, {"Retry-After": "7"}, b"")
    pauses: list[float] = []
    with pytest.raises(RegistryUnavailableError, match=f"answers {status}"):
        resolve_base(f"{liar.host}/base:1", program="python3", registry=client(pause=pauses.append), cache=cache)
    assert pauses == [7.0] * 4


def test_a_redirect_loop_ends(liar: Liar, client: Callable[..., Registry], cache: BaseCache) -> None:
    """A registry that sends us in circles is an error."""
    path = "/v2/base/manifests/1"
    liar.answers["GET", path] = (307, {"Location": path}, b"")
    with pytest.raises(ImageError, match="without end"):
        resolve_base(f"{liar.host}/base:1", program="python3", registry=client(), cache=cache)


def _resolve_in_process(host: str, folder: Path, queue: Any) -> None:
    base = resolve_base(
        f"{host}/base:1", program="python3", registry=Registry(RegistryOptions()), cache=BaseCache(folder)
    )
    queue.put(json.dumps(base.to_dict()))


def test_processes_resolve_one_base_at_once(
    real_registry: RealRegistry,
    client: Callable[..., Registry],
    store: Callable[[Registry, str, TinyImage], None],
    tmp_path: Path,
) -> None:
    """Three processes with one empty cache: the same answer, and no half file."""
    image = tiny_image(compressed=True)
    store(client(), f"{real_registry.host}/base:1", image)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    arguments = (real_registry.host, tmp_path / "shared", queue)
    workers = [context.Process(target=_resolve_in_process, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    answers = {queue.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(answers) == 1
    assert not list((tmp_path / "shared").rglob(".part-*"))
