"""Fixtures: registries, honest and not, and clients for them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scone_provider.image.base.cache import BaseCache
from scone_provider.image.oci.layers import bytes_blob
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.connection import RegistryOptions
from scone_provider.image.registry.manifests import OCI_MANIFEST
from scone_provider.image.registry.repository import Repository
from support.real_registry import Liar, RealRegistry
from support.tiny_image import TinyImage


@pytest.fixture
def real_registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """A registry that everyone may use, deleting included."""
    registry = RealRegistry(tmp_path / "registry")
    yield registry
    registry.kill()


@pytest.fixture
def start_registry(tmp_path: Path) -> Iterator[Callable[..., RealRegistry]]:
    """Starts registries with other settings."""
    started: list[RealRegistry] = []

    def start(**settings: object) -> RealRegistry:
        started.append(RealRegistry(tmp_path / f"registry-{len(started)}", **settings))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for registry in started:
        registry.kill()


def _no_pause(_: float) -> None:
    pass


@pytest.fixture
def client(tmp_path: Path) -> Callable[..., Registry]:
    """Registry clients without credentials of this machine, that do not wait between attempts."""

    def client(**options: object) -> Registry:
        defaults: dict[str, object] = {"docker_config": tmp_path / "no-config.json", "pause": _no_pause}
        return Registry(RegistryOptions(**(defaults | options)))  # type: ignore[arg-type]

    return client


@pytest.fixture
def cache(tmp_path: Path) -> BaseCache:
    """An empty cache."""
    return BaseCache(tmp_path / "cache")


def store(registry: Registry, reference: str, image: TinyImage) -> None:
    """Puts a base image into a registry under a tag."""
    parsed = parse_reference(reference)
    target: Repository = registry.target(parsed)
    for data in image.blobs.values():
        target.upload(bytes_blob(data, media_type="application/octet-stream"))
    target.put_manifest(parsed.version, image.manifest, media_type=OCI_MANIFEST)


@pytest.fixture(name="store")
def store_fixture() -> Callable[[Registry, str, TinyImage], None]:
    """The function `store`."""
    return store


@pytest.fixture
def liar() -> Iterator[Liar]:
    """A server that is no honest registry."""
    server = Liar()
    yield server
    server.stop()
