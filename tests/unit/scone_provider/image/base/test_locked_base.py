"""Locking a base: what is found in it, what is refused, and what is remembered; all from a cache."""

import hashlib
import json
import multiprocessing
import stat
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.base.locked_base import LockedBase
from scone_provider.image.base.resolve import base_protection_bytes, resolve_base
from scone_provider.image.registry.client import Registry
from support.tiny_image import USUAL, In, cached_base, digest_of, elf, folder, program, tar, tiny_image


def test_a_program_is_found_through_path_and_links(cache: BaseCache) -> None:
    """`python3` is looked up in the base's PATH, its link is followed, its loader is read and hashed."""
    binary = cached_base(tiny_image(), cache).binaries["python3"]
    assert binary.path == "/usr/bin/python3.11"
    assert binary.sha256 == hashlib.sha256(elf()).hexdigest()
    assert (binary.loader, binary.loader_sha256) == ("/lib64/ld.so", hashlib.sha256(elf("")).hexdigest())


def test_an_absolute_program_needs_no_path(cache: BaseCache) -> None:
    """A static program has no loader, and both of its fields are empty."""
    binary = cached_base(tiny_image(), cache, program="/lib64/ld.so").binaries["/lib64/ld.so"]
    assert (binary.path, binary.loader, binary.loader_sha256) == ("/lib64/ld.so", "", "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ruby", "no such program in /opt/bin:/usr/bin"),
        ("/usr/bin/ruby", "no such program"),
        ("tool", "is a script"),
        ("./app", "relative to a folder"),
        ("/etc/hosts", "no such program"),
        ("/usr/bin", "no such program"),
    ],
)
def test_a_program_that_cannot_be_measured_is_refused(cache: BaseCache, name: str, words: str) -> None:
    """Scripts, missing programs and relative paths are told apart, with the way out."""
    with pytest.raises(ImageError, match=words) as caught:
        cached_base(tiny_image(), cache, program=name)
    assert caught.value.fix or "/" in name


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([program("usr/bin/python3", elf(machine=183))], "not a program for linux/amd64"),
        ([program("usr/bin/python3", elf("/missing.so"))], "needs the loader /missing.so"),
        ([In("usr/bin/python3", target="python3")], "no such program"),
        ([In("usr/bin/python3", elf(""), mode=0o4755)], "set-user-ID"),
    ],
)
def test_a_program_that_could_not_start_is_refused(cache: BaseCache, members: list[In], words: str) -> None:
    """A foreign machine, a missing loader, a link to itself."""
    with pytest.raises(ImageError, match=words):
        cached_base(tiny_image(tar(*members)), cache)


def test_layers_are_laid_one_over_the_other(cache: BaseCache) -> None:
    """The program is the one that the topmost layer leaves visible."""
    top = tar(folder("usr/bin"), In("usr/bin/.wh.python3", b""), program("usr/bin/python3", elf("", body=b"new")))
    for compressed in (False, True):
        binary = cached_base(tiny_image(USUAL, top, compressed=compressed), cache).binaries["python3"]
        assert binary.sha256 == hashlib.sha256(elf("", body=b"new")).hexdigest()


def test_paths_are_described_with_their_parents(cache: BaseCache) -> None:
    """What a service wants to use is known in every part."""
    paths = cached_base(tiny_image(), cache, paths=("/usr/bin/python3", "/opt/empty/x", "/var/run/y", "/etc")).paths
    assert paths == {
        "/etc": "directory",
        "/opt": "directory",
        "/opt/empty": "empty",
        "/opt/empty/x": "absent",
        "/usr": "directory",
        "/usr/bin": "directory",
        "/usr/bin/python3": "link python3.11",
        "/var": "directory",
        "/var/run": "link /run",
        "/var/run/y": "absent",
    }


def test_a_base_for_another_platform_is_refused(cache: BaseCache) -> None:
    """An image that is no linux/amd64 says what it is."""
    with pytest.raises(ImageError, match="linux/arm64; linux/amd64 is needed"):
        cached_base(tiny_image(architecture="arm64"), cache)


@pytest.mark.parametrize(
    "config",
    [
        [],
        5,
        {"Env": "PATH=/x"},
        {"Env": [5]},
        {"Labels": []},
        {"Labels": {"a": 1}},
        {"User": 0},
        {"ExposedPorts": "80"},
    ],
    ids=str,
)
def test_a_malformed_configuration_is_refused_in_words(cache: BaseCache, config: Any) -> None:
    """A base whose configuration is not what the specification says ends in one sentence."""
    with pytest.raises(ImageError, match="malformed"):
        cached_base(tiny_image(config=config), cache)


def test_a_locked_base_is_extended_without_a_registry(cache: BaseCache) -> None:
    """Another program or path of the same base is found by digest in the cache; the digest never moves."""
    image = tiny_image()
    base = cached_base(image, cache)
    assert not base.knows(program="/lib64/ld.so", paths=["/etc"])
    wider = resolve_base(
        base.reference, locked=base, program="/lib64/ld.so", paths=["/etc"], registry=Registry(), cache=cache
    )
    assert wider.knows(program="/lib64/ld.so", paths=["/etc"])
    assert (wider.digest, wider.protection) == (base.digest, base.protection)


def test_the_protection_of_a_locked_base_is_computed_again(cache: BaseCache, tmp_path: Path) -> None:
    """An emptied cache costs time and changes nothing."""
    image = tiny_image()
    base = cached_base(image, cache)
    other = BaseCache(tmp_path / "other")
    image.fill(other)
    again = base_protection_bytes(base, registry=Registry(), cache=other)
    assert hashlib.sha256(again).hexdigest() == base.protection.digest
    assert len(again) == base.protection.size


def test_a_damaged_cache_is_not_believed(cache: BaseCache, tmp_path: Path) -> None:
    """A changed layer is refused and dropped; changed facts are computed again."""
    image = tiny_image()
    base = cached_base(image, cache)
    for fact in (tmp_path / "cache" / "facts").glob("*.base.json"):
        fact.write_bytes(fact.read_bytes().replace(b"python3.11", b"python3.12"))
    assert base_protection_bytes(base, registry=Registry(), cache=cache)
    for fact in (tmp_path / "cache" / "facts").glob("*.1.*"):
        fact.unlink()
    layer = base.layers[0]
    blob = tmp_path / "cache" / "blobs" / layer.digest.removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes().replace(b"localhost", b"evilhosts"))
    with pytest.raises(ImageError, match="another content"):
        base_protection_bytes(base, registry=Registry(), cache=cache)
    assert not cache.has(layer.digest, size=layer.size)


def test_the_cache_is_private(cache: BaseCache, tmp_path: Path) -> None:
    """Folder and files are their owner's alone."""
    cached_base(tiny_image(), cache)
    root = tmp_path / "cache"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_file()} == {0o600}
    assert not list(root.rglob(".part-*"))


def test_a_failed_download_leaves_nothing(cache: BaseCache, tmp_path: Path) -> None:
    """A file appears complete or not at all."""

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise ImageError("broken off")

    with pytest.raises(ImageError, match="broken off"):
        cache.fetch(digest_of(b"whole"), fail)
    assert not list((tmp_path / "cache" / "blobs").iterdir())


def test_a_cache_that_cannot_be_made_is_an_error_with_its_path(tmp_path: Path) -> None:
    """A file in the way is named."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ImageError, match=r"tmp.*file"):
        BaseCache(tmp_path / "file" / "cache")


def _lock_in_process(folder: Path, queue: Any) -> None:
    base = cached_base(tiny_image(USUAL, compressed=True), BaseCache(folder))
    queue.put(json.dumps(base.to_dict()))


def test_processes_share_a_cache(tmp_path: Path) -> None:
    """Four processes that lock the same base at once all get the same answer."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_lock_in_process, args=(tmp_path / "cache", queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    answers = {queue.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(answers) == 1


@pytest.mark.parametrize("field", ["digest", "manifest", "config", "protection", "binaries", "paths", "repository"])
def test_what_was_remembered_wrongly_is_refused(cache: BaseCache, field: str) -> None:
    """A base in the state that was cut or changed by hand is no base: it says how to look again."""
    data = cached_base(tiny_image(), cache).to_dict()
    wrongs: tuple[object, ...] = (None, 5, "x", {"a": 1}, [])
    for wrong in wrongs:
        with pytest.raises(ImageError, match="damaged") as caught:
            LockedBase.from_dict(data | {field: wrong})
        assert "refresh_base" in caught.value.fix
    with pytest.raises(ImageError, match="damaged"):
        LockedBase.from_dict({key: value for key, value in data.items() if key != field})
