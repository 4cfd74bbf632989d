"""Owners of images in a real registry: the last one removes the image, and nobody loses what he uses."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.publish.cosign import push_signature, signature_tag, stack_key
from scone_provider.image.publish.ownership import Kind, Release, claim, new_owner, record_tag, release
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import OCI_MANIFEST
from scone_provider.image.registry.repository import Deletion, Repository
from support.real_registry import RealRegistry
from support.tiny_image import TinyImage, tiny_image

Client = Callable[..., Registry]
Store = Callable[[Registry, str, TinyImage], None]
A, B, C = (f"{number:032x}" for number in range(1, 4))


@pytest.fixture
def image(real_registry: RealRegistry) -> str:
    """Name and digest of an image that nobody pushed yet."""
    return f"{real_registry.host}/team/app@{tiny_image().digest}"


@pytest.fixture
def use(client: Client, store: Store, image: str) -> Callable[[str], Kind]:
    """What a resource does that is created: it claims the image, and pushes it where it is not."""

    def use(owner: str) -> Kind:
        registry = client()
        kind = claim(image, owner, registry=registry)
        if not exists(registry, image):
            store(registry, image.partition("@")[0] + ":1", tiny_image())
        return kind

    return use


def exists(registry: Registry, image: str) -> bool:
    """Whether the registry has the image."""
    parsed = parse_reference(image)
    assert parsed.digest
    return registry.reader(parsed).has_manifest(parsed.digest)


def records(registry: Registry, image: str) -> set[str]:
    """The tags of all records."""
    return {tag for tag in registry.reader(parse_reference(image)).tags() if ".owner-" in tag or ".user-" in tag}


@pytest.mark.parametrize("order", [(A, B, C), (C, A, B)])
def test_the_last_owner_removes_the_image(
    use: Callable[[str], Kind], client: Client, image: str, order: tuple[str, ...]
) -> None:
    """Three owners, whoever came first: the image stays until the last has gone, and no record is left then."""
    assert {use(owner) for owner in (A, B, C)} == {Kind.OWNER}
    for owner in order[:2]:
        found = release(image, owner, registry=client())
        assert not found.removed
        assert "another resource, of this stack or of another, uses it" in found.stays
        assert exists(client(), image)
    assert release(image, order[2], registry=client()) == Release(removed=True)
    assert not exists(client(), image)
    assert records(client(), image) == set()


def test_an_image_of_somebody_else_stays(store: Store, use: Callable[[str], Kind], client: Client, image: str) -> None:
    """What was there before anybody of ours came is removed by nobody of ours, also not by a later resource."""
    store(client(), image.partition("@")[0] + ":theirs", tiny_image())
    assert [use(A), use(B)] == [Kind.USER, Kind.USER]
    for owner in (A, B):
        assert "there before" in release(image, owner, registry=client()).stays
    assert exists(client(), image)
    assert records(client(), image) == set()


def test_claims_and_releases_can_be_repeated(use: Callable[[str], Kind], client: Client, image: str) -> None:
    """A run that was cut off and begins anew: one record, and what is gone is gone."""
    assert use(A) is use(A) is Kind.OWNER
    assert records(client(), image) == {record_tag(image.partition("@")[2], A, Kind.OWNER)}
    assert release(image, A, registry=client()).removed
    assert release(image, A, registry=client()).removed


def test_without_a_record_nothing_is_removed(store: Store, client: Client, image: str) -> None:
    """Somebody removed the record: then nobody knows, and the image stays."""
    store(client(), image.partition("@")[0] + ":1", tiny_image())
    assert "no record" in release(image, A, registry=client()).stays
    assert exists(client(), image)


def test_signatures_go_with_the_image_and_not_before(use: Callable[[str], Kind], client: Client, image: str) -> None:
    """The signature stays as long as an owner does."""
    use(A)
    use(B)
    push_signature(image, stack_key(bytes(32)), registry=client())
    parsed = parse_reference(image)
    place = signature_tag(str(parsed.digest))
    release(image, A, registry=client())
    assert client().reader(parsed).manifest(place) is not None
    release(image, B, registry=client())
    assert client().reader(parsed).manifest(place) is None


def test_who_comes_while_it_is_deleted_gets_it_back(
    use: Callable[[str], Kind], client: Client, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim between the last look and the deletion: the image and its tag are there again afterwards."""
    use(A)
    parsed = parse_reference(image)
    data = client().reader(parsed).manifest(str(parsed.digest))
    assert data is not None
    client().target(parsed).put_manifest("1", data.data, media_type=OCI_MANIFEST)

    delete = Repository.delete_manifest

    def comes(self: Repository, digest: str) -> Deletion:
        found = delete(self, digest)
        if digest == parsed.digest:
            claim(image, B, registry=client(), brings=False)
        return found

    monkeypatch.setattr(Repository, "delete_manifest", comes)
    found = release(image, A, registry=client(), tags=("1",))
    assert not found.removed
    assert exists(client(), image)
    tagged = client().reader(parsed).manifest("1")
    assert tagged is not None
    assert tagged.digest == parsed.digest
    assert len(records(client(), image)) == 1


def test_many_come_and_go_at_once(use: Callable[[str], Kind], client: Client, image: str) -> None:
    """Six resources that are created and removed together, beside one that stays: it never loses the image."""
    use(A)

    def come_and_go(_: int) -> bool:
        owner = new_owner()
        use(owner)
        there = exists(client(), image)
        release(image, owner, registry=client())
        return there

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(come_and_go, range(6)))
    assert exists(client(), image)
    assert release(image, A, registry=client()).removed


def test_two_that_leave_at_once_leave_nothing(use: Callable[[str], Kind], client: Client, image: str) -> None:
    """Each of two owners that go at the same time may be the last: the image does not stay behind."""
    for _ in range(3):
        use(A)
        use(B)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda owner: release(image, owner, registry=client()), (A, B)))
        assert not exists(client(), image)
        assert records(client(), image) == set()


def test_a_registry_that_does_not_delete(
    start_registry: Callable[..., RealRegistry], client: Client, store: Store
) -> None:
    """It is said, and image and record stay: a second try says the same."""
    host = start_registry(delete=False).host
    image = f"{host}/team/app@{tiny_image().digest}"
    assert claim(image, A, registry=client()) is Kind.OWNER
    store(client(), f"{host}/team/app:1", tiny_image())
    for _ in range(2):
        assert release(image, A, registry=client()).stays == "its registry does not delete images"
    assert exists(client(), image)
    assert len(records(client(), image)) == 1


def test_owners_are_of_digests(client: Client) -> None:
    """A tag moves: what has no digest has no owner."""
    with pytest.raises(ImageError, match="by digest only"):
        claim("127.0.0.1:1/a:1", A, registry=client())
