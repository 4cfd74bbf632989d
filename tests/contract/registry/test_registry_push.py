"""Images in a real registry: pushed, found, pushed again, moved, deleted, and completed after a crash."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.base.locked_base import LockedBase
from scone_provider.image.base.resolve import resolve_base
from scone_provider.image.build.layout import wanted_paths
from scone_provider.image.build.plan import ImagePlan, plan_image
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.publish.push import alone, delete_image, image_exists, push_image, tag_digest
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.errors import RegistryUnavailableError
from scone_provider.image.registry.repository import Deletion
from support.real_registry import RealRegistry
from support.tiny_image import IMAGE_KEY, LAUNCHER, TinyImage, digest_of, service, tiny_image

SECRET_LINE = "print('the line that nobody may see')"


@pytest.fixture
def planned(
    real_registry: RealRegistry,
    client: Callable[..., Registry],
    cache: BaseCache,
    store: Callable[[Registry, str, TinyImage], None],
    tmp_path: Path,
) -> Any:
    """A base in the registry, and a service planned on it."""
    store(client(), f"{real_registry.host}/library/base:1", tiny_image(compressed=True))

    def planned(tag: str = "1", **changes: Any) -> Any:
        inputs = service(
            tmp_path / f"project-{tag}",
            to=f"{real_registry.host}/team/hello:{tag}",
            **({"files": {"app.py": SECRET_LINE}} | changes),
        )
        base = resolve_base(
            f"{real_registry.host}/library/base:1",
            program="python3",
            paths=wanted_paths(inputs),
            registry=client(),
            cache=cache,
        )
        return plan_image(inputs, base, image_key=IMAGE_KEY, launcher=LAUNCHER), base

    return planned


def test_a_pushed_image_can_be_pulled_whole(
    planned: Callable[..., tuple[ImagePlan, LockedBase]],
    client: Callable[..., Registry],
    cache: BaseCache,
    tmp_path: Path,
) -> None:
    """Tag and digest lead to the planned manifest; config and every layer come back with their digests."""
    plan, base = planned()
    said: list[str] = []
    report = push_image(plan, base, registry=client(), cache=cache, progress=said.append)
    assert report.digest == plan.digest == tag_digest(plan.reference, registry=client())
    assert image_exists(plan.pinned, registry=client())
    target = client().target(parse_reference(plan.reference))
    pulled = target.manifest(plan.digest)
    assert pulled is not None
    manifest = json.loads(pulled.data)
    for number, blob in enumerate([manifest["config"], *manifest["layers"]]):
        with (tmp_path / f"pulled-{number}").open("wb+") as file:
            target.download(blob["digest"], size=blob["size"], into=file)
    assert report.mounted == len(base.layers)
    assert said[-1] == f"{plan.reference}: pushed, {plan.digest}"
    assert any("bytes" in line for line in said)


def test_what_the_registry_stores_tells_nothing(
    planned: Callable[..., tuple[ImagePlan, LockedBase]],
    client: Callable[..., Registry],
    cache: BaseCache,
    real_registry: RealRegistry,
) -> None:
    """Neither a line of the program nor its file's name nor a key is in any byte of the registry's storage."""
    plan, base = planned()
    push_image(plan, base, registry=client(), cache=cache)
    stored = real_registry.blobs()
    assert b"org.pulumi-scone.measurement" in stored
    for planted in (b"nobody may see", b"app.py", IMAGE_KEY, IMAGE_KEY.hex().encode()):
        assert planted not in stored


def test_a_second_push_sends_nothing(
    planned: Callable[..., tuple[ImagePlan, LockedBase]], client: Callable[..., Registry], cache: BaseCache
) -> None:
    """What is there is not sent again, not even looked at blob by blob."""
    plan, base = planned()
    push_image(plan, base, registry=client(), cache=cache)
    again = push_image(plan, base, registry=client(), cache=cache)
    assert (again.sent, again.mounted) == (0, 0)


def test_services_that_share_an_image_push_it_once(
    planned: Callable[..., tuple[ImagePlan, LockedBase]], client: Callable[..., Registry], cache: BaseCache
) -> None:
    """Eight at the same time: one sends, the others find it there. (Without `alone` a registry may refuse some.)"""
    plan, base = planned()

    def push(_: int) -> int:
        with alone(plan.reference, cache):
            return push_image(plan, base, registry=client(), cache=cache).sent

    with ThreadPoolExecutor(8) as pool:
        sent = sorted(pool.map(push, range(8)))
    assert sent[:7] == [0] * 7
    assert sent[7] > 0


def test_an_edited_program_sends_only_its_own_layer(
    planned: Callable[..., tuple[ImagePlan, LockedBase]], client: Callable[..., Registry], cache: BaseCache
) -> None:
    """Base, launcher and base protection are shared by every image on the same base."""
    first, base = planned()
    push_image(first, base, registry=client(), cache=cache)
    second, base = planned("2", files={"app.py": "print(2)"})
    report = push_image(second, base, registry=client(), cache=cache)
    assert report.sent == second.blobs[1].size + second.blobs[2].size
    assert report.present == len(base.layers) + 2


def test_a_tag_that_moved_is_moved_back(
    planned: Callable[..., tuple[ImagePlan, LockedBase]], client: Callable[..., Registry], cache: BaseCache
) -> None:
    """Someone else's image under our tag is replaced by ours; it stays in the registry by its digest."""
    plan, base = planned()
    other, _ = planned("other")
    push_image(plan, base, registry=client(), cache=cache)
    push_image(other, base, registry=client(), cache=cache)
    target = client().target(parse_reference(plan.reference))
    target.put_manifest("1", other.manifest, media_type="application/vnd.oci.image.manifest.v1+json")
    assert tag_digest(plan.reference, registry=client()) == other.digest
    report = push_image(plan, base, registry=client(), cache=cache)
    assert report.sent == 0
    assert tag_digest(plan.reference, registry=client()) == plan.digest
    assert image_exists(other.pinned, registry=client())


def test_deleting_removes_one_digest_and_is_patient(
    planned: Callable[..., tuple[ImagePlan, LockedBase]], client: Callable[..., Registry], cache: BaseCache
) -> None:
    """The image goes, another one stays, and to delete again is no error."""
    plan, base = planned()
    other, _ = planned("2", files={"app.py": "other"})
    for each in (plan, other):
        push_image(each, base, registry=client(), cache=cache)
    assert delete_image(plan.pinned, registry=client()) is Deletion.DELETED
    assert not image_exists(plan.pinned, registry=client())
    assert tag_digest(plan.reference, registry=client()) is None
    assert image_exists(other.pinned, registry=client())
    assert delete_image(plan.pinned, registry=client()) is Deletion.ABSENT


def test_nothing_is_deleted_by_tag(
    planned: Callable[..., tuple[ImagePlan, LockedBase]], client: Callable[..., Registry]
) -> None:
    """A tag may point to something else by now: only digests are deleted."""
    plan, _ = planned()
    with pytest.raises(ImageError, match="by digest only"):
        delete_image(plan.reference, registry=client())


def test_a_registry_that_cannot_delete_is_a_result(
    start_registry: Callable[..., RealRegistry],
    client: Callable[..., Registry],
    store: Callable[[Registry, str, TinyImage], None],
) -> None:
    """Deleting is switched off in many registries: that is reported, the destroy goes on."""
    registry = start_registry(delete=False)
    image = tiny_image()
    store(client(), f"{registry.host}/base:1", image)
    assert delete_image(f"{registry.host}/base@{image.digest}", registry=client()) is Deletion.UNSUPPORTED
    assert image_exists(f"{registry.host}/base@{image.digest}", registry=client())


@pytest.mark.parametrize("moment", range(5))
def test_a_push_that_was_cut_off_completes(
    planned: Callable[..., tuple[ImagePlan, LockedBase]],
    client: Callable[..., Registry],
    cache: BaseCache,
    real_registry: RealRegistry,
    moment: int,
) -> None:
    """The registry dies before any of the steps and comes back: the same push ends with the whole image."""
    plan, base = planned()
    steps = iter(range(100))

    def crash(_: str) -> None:
        if next(steps) == moment:
            real_registry.kill()

    registry = client(pause=lambda _: real_registry.start())
    push_image(plan, base, registry=registry, cache=cache, progress=crash)
    real_registry.start()
    assert tag_digest(plan.reference, registry=client()) == plan.digest


def test_a_push_that_was_cut_off_in_the_middle_of_a_layer_completes(
    planned: Callable[..., tuple[ImagePlan, LockedBase]],
    client: Callable[..., Registry],
    cache: BaseCache,
    real_registry: RealRegistry,
) -> None:
    """The registry dies while a layer is on its way: the layer is begun anew, and the image is whole."""
    plan, base = planned()
    launcher = plan.blobs[0]
    crashed: list[bool] = []

    def chunks() -> Iterator[bytes]:
        data = b"".join(launcher.chunks())
        yield data[:1000]
        if not crashed:
            crashed.append(True)
            real_registry.kill()
        yield data[1000:]

    fragile = dataclasses.replace(plan, blobs=(dataclasses.replace(launcher, chunks=chunks), *plan.blobs[1:]))
    push_image(fragile, base, registry=client(pause=lambda _: real_registry.start()), cache=cache)
    assert crashed
    assert real_registry.blob(launcher.digest).read_bytes() == b"".join(launcher.chunks())
    assert tag_digest(plan.reference, registry=client()) == plan.digest


def test_a_push_to_a_dead_registry_is_repeated_later(
    planned: Callable[..., tuple[ImagePlan, LockedBase]],
    client: Callable[..., Registry],
    cache: BaseCache,
    real_registry: RealRegistry,
) -> None:
    """When it does not come back, the error says so; the next run finishes."""
    plan, base = planned()
    real_registry.kill()
    pauses: list[float] = []
    with pytest.raises(RegistryUnavailableError) as caught:
        push_image(plan, base, registry=client(pause=pauses.append), cache=cache)
    assert "cannot be reached" in str(caught.value)
    assert real_registry.host in str(caught.value)
    assert pauses == sorted(pauses)
    assert len(pauses) == 4
    real_registry.start()
    push_image(plan, base, registry=client(), cache=cache)
    assert image_exists(plan.pinned, registry=client())


def test_the_base_is_copied_into_another_registry(
    planned: Callable[..., tuple[ImagePlan, LockedBase]],
    client: Callable[..., Registry],
    start_registry: Callable[..., RealRegistry],
    tmp_path: Path,
) -> None:
    """Without a common registry the base's layers are copied, byte for byte, also from an empty cache."""
    _, base = planned()
    other = start_registry()
    inputs = service(tmp_path / "elsewhere", to=f"{other.host}/team/hello:1")
    moved = plan_image(inputs, base, image_key=IMAGE_KEY, launcher=LAUNCHER)
    report = push_image(moved, base, registry=client(), cache=BaseCache(tmp_path / "empty"))
    assert report.mounted == 0
    assert other.blob(base.layers[0].digest).stat().st_size == base.layers[0].size
    assert tag_digest(moved.reference, registry=client()) == moved.digest


def test_a_damaged_cache_is_not_pushed(
    planned: Callable[..., tuple[ImagePlan, LockedBase]],
    client: Callable[..., Registry],
    cache: BaseCache,
    start_registry: Callable[..., RealRegistry],
    tmp_path: Path,
) -> None:
    """A layer that changed in the cache is noticed while it is sent; the registry keeps nothing of it."""
    _, base = planned()
    other = start_registry()
    inputs = service(tmp_path / "elsewhere", to=f"{other.host}/team/hello:1")
    moved = plan_image(inputs, base, image_key=IMAGE_KEY, launcher=LAUNCHER)
    blob = tmp_path / "cache" / "blobs" / base.layers[0].digest.removeprefix("sha256:")
    blob.write_bytes(bytes(blob.stat().st_size))
    with pytest.raises(ImageError):
        push_image(moved, base, registry=client(), cache=cache)
    assert not other.blob(digest_of(bytes(base.layers[0].size))).exists()
    assert tag_digest(moved.reference, registry=client()) is None


def test_files_that_changed_since_the_preview_are_not_pushed(
    planned: Callable[..., tuple[ImagePlan, LockedBase]],
    client: Callable[..., Registry],
    cache: BaseCache,
    tmp_path: Path,
) -> None:
    """What was approved is what is pushed, or nothing."""
    plan, base = planned()
    (tmp_path / "project-1" / "app.py").write_text("print('something else')")
    with pytest.raises(ImageError, match="changed while the image was built"):
        push_image(plan, base, registry=client(), cache=cache)
    assert tag_digest(plan.reference, registry=client()) is None
