"""Dynamic provider processes, driven over gRPC, and a registry with a base image for those that look at one."""

import base64
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

import scone_policy
from scone_provider.cas.client import CasClient
from scone_provider.cas.identity import Identity
from scone_provider.cas.transport import close_clients
from scone_provider.image.oci.layers import bytes_blob
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import OCI_MANIFEST
from support.policy_stack import PolicyStack, policy, put, versions
from support.provider_process import ProviderProcess, started
from support.real_cas import RealCas
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


@pytest.fixture(scope="session")
def real_cas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCas]:
    """One CAS for all tests here."""
    found = RealCas(tmp_path_factory.mktemp("cas") / "state", "--rate", "100000").start()
    yield found
    close_clients()
    found.stop()


@pytest.fixture
def stack_process(start: Start, ann: Identity) -> ProviderProcess:
    """The provider process of ann's stack."""
    return start({"scone:imageKey": IMAGE_KEY, "scone:identity": ann.to_pem()})


@pytest.fixture
def stack(stack_process: ProviderProcess, real_cas: RealCas) -> PolicyStack:
    """A stack of ann's whose policy is not there yet."""
    return PolicyStack(stack_process, f"127.0.0.1:{real_cas.port}")


@pytest.fixture
def stored(real_cas: RealCas, ann: Identity, name: str) -> Callable[[], list[str]]:
    """The hashes of all versions of the test's session, newest first, as ann sees them."""
    return lambda: versions(real_cas.client(ann), name)


@pytest.fixture
def rights(ann: Identity, bob: Identity) -> dict[str, Any]:
    """Rights for both; who uploads is recorded, because CREATOR is named."""
    both = ["CREATOR", ann.key_hash, bob.key_hash]
    return {"access_policy": {"read": both, "update": both}}


@pytest.fixture
def wanted(name: str, rights: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """The policy, with changes."""
    return lambda **changes: policy(name, **(rights | changes))


@pytest.fixture
def theirs(real_cas: RealCas, bob: Identity) -> Callable[[dict[str, Any]], str]:
    """Uploads as bob, beside the stack; gives the hash."""
    return lambda changed: put(real_cas.client(bob), changed)


@pytest.fixture
def client(real_cas: RealCas, ann: Identity) -> CasClient:
    """Ann at her CAS."""
    return real_cas.client(ann)


@pytest.fixture
def trusted(client: CasClient, name: str) -> Callable[[], set[str]]:
    """The services that CAS lets start now."""

    def found() -> set[str]:
        stored = client.read(name)
        assert stored is not None
        return set(scone_policy.parse(stored.description_yaml).services)

    return found
