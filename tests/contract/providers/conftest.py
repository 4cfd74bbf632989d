"""Dynamic provider processes, driven over gRPC, and a registry with a base image for those that look at one."""

import base64
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from scone_provider.image.layers import bytes_blob
from scone_provider.image.reference import parse_reference
from scone_provider.image.registry import OCI_MANIFEST, Registry
from support.provider_process import ProviderProcess, started
from support.real_registry import RealRegistry
from support.tiny_image import TinyImage, tiny_image

Start = Callable[[Mapping[str, str]], ProviderProcess]
IMAGE_KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """A provider process with this stack config; one for each config, because a process is configured once."""
    known: dict[str, ProviderProcess] = {}
    with ExitStack() as stack:

        def process(config: Mapping[str, str]) -> ProviderProcess:
            name = json.dumps(config, sort_keys=True)
            if name not in known:
                known[name] = stack.enter_context(started(tmp_path_factory.mktemp("home")))
                known[name].configure(config)
            return known[name]

        yield process


@pytest.fixture
def provider_process(start: Start) -> ProviderProcess:
    """A process whose stack has an image key."""
    return start({"scone:imageKey": IMAGE_KEY})


def store(registry: RealRegistry, reference: str, image: TinyImage) -> None:
    """Put a base image into the registry, under `repository:tag`."""
    parsed = parse_reference(f"{registry.host}/{reference}")
    target = Registry().target(parsed)
    for data in image.blobs.values():
        target.upload(bytes_blob(data, media_type="application/octet-stream"))
    target.put_manifest(parsed.version, image.manifest, media_type=OCI_MANIFEST)


@pytest.fixture(scope="session")
def base_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A registry with the base image `base:1`."""
    registry = RealRegistry(tmp_path_factory.mktemp("registry"))
    store(registry, "base:1", tiny_image())
    yield registry
    registry.kill()


@pytest.fixture(name="store")
def store_fixture() -> Callable[[RealRegistry, str, TinyImage], None]:
    """The function `store`."""
    return store


@pytest.fixture
def closed_port() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"
