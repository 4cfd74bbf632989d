"""Layers of others: read as a stream, verified, and never beyond the limits."""

import gzip
import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_provider.errors import ImageError
from scone_provider.image.base.layer_archive import Budget, Limits, read_layer
from scone_provider.image.oci.tree import Member
from support.tiny_image import LAYER, USUAL, In, digest_of, elf, folder, program, tar


def read(
    data: bytes, *, packed: bytes | None = None, limits: Limits | None = None, diff_id: str | None = None
) -> list[Member]:
    stored = data if packed is None else packed
    return read_layer(
        io.BytesIO(stored),
        media_type=LAYER if packed is None else f"{LAYER}+gzip",
        digest=digest_of(stored),
        diff_id=diff_id or digest_of(data),
        budget=Budget(limits or Limits()),
    )


def test_members_come_with_everything_that_protection_needs() -> None:
    """Type, permission bits with set-id, size, digest, target; what is neither file, directory nor link is `o`."""
    fifo = In("fifo", kind=tarfile.FIFOTYPE)
    members = read(
        tar(folder("a"), In("a/f", b"abc", mode=0o4755), In("l", target="a/f"), In("h", kind=b"1", target="a/f"), fifo)
    )
    assert [(m.parts, m.kind) for m in members] == [
        (("a",), "d"),
        (("a", "f"), "f"),
        (("l",), "l"),
        (("h",), "h"),
        (("fifo",), "o"),
    ]
    assert (members[1].mode, members[1].size, members[1].digest) == (0o4755, 3, hashlib.sha256(b"abc").hexdigest())
    assert members[2].target == members[3].target == "a/f"


def test_programs_are_recognised_while_they_are_hashed() -> None:
    """An executable's loader is known without a second pass; a file without the bit is no program."""
    found = read(tar(program("a"), program("b", elf("")), program("c", b"#!/bin/sh\n"), In("d", elf())))
    assert [m.program for m in found] == ["elf:/lib64/ld.so", "elf:", "script", ""]


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_compressed_and_plain_layers_say_the_same(format: int) -> None:  # noqa: A002
    """Compressed or not, pax or GNU, with names too long for a plain header."""
    data = tar(In("n" * 300, b"x" * 5000), In("l", target="t" * 300), format=format)
    assert read(data) == read(data, packed=gzip.compress(data, mtime=0))


@pytest.mark.parametrize("packed", [False, True])
def test_a_changed_layer_is_refused(packed: bool) -> None:  # noqa: FBT001  a parameter of the test
    """A layer whose bytes are not those of its digest is not used, whatever they say."""
    stored = gzip.compress(USUAL, mtime=0) if packed else USUAL
    with pytest.raises(ImageError, match="another content"):
        read_layer(
            io.BytesIO(stored),
            media_type=f"{LAYER}+gzip" if packed else LAYER,
            digest=digest_of(b"what was promised"),
            diff_id=digest_of(USUAL),
            budget=Budget(Limits()),
        )


def test_a_layer_that_the_configuration_does_not_name_is_refused() -> None:
    """What a runtime checks when it unpacks (`diff_ids`) is checked here too."""
    with pytest.raises(ImageError, match="not the one that its configuration names"):
        read(USUAL, diff_id=digest_of(b"other"))


@given(st.data())
def test_no_broken_archive_is_more_than_an_error(data: st.DataObject) -> None:
    """Cut anywhere or with any byte changed, a layer is read or refused: no other exception, no hanging."""
    broken = bytearray(data.draw(st.sampled_from([USUAL, gzip.compress(USUAL, mtime=0)])))
    position = data.draw(st.integers(0, len(broken) - 1))
    if data.draw(st.booleans()):
        del broken[position:]
    else:
        broken[position] ^= data.draw(st.integers(1, 255))
    packed = bytes(broken[:2]) == b"\x1f\x8b"
    try:
        members = read_layer(
            io.BytesIO(bytes(broken)),
            media_type=f"{LAYER}+gzip" if packed else LAYER,
            digest=digest_of(bytes(broken)),
            diff_id=digest_of(bytes(broken)),
            budget=Budget(Limits()),
        )
    except ImageError:
        return
    assert all(m.kind in "fdloh" for m in members)


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end() -> None:
    """Otherwise a layer could show us less than it shows a container runtime."""
    data = bytearray(tar(In("a", b"1"), In("b", b"2"), In("c", b"3")))
    data[1024 + 148] ^= 0x55  # the checksum of the second member
    with pytest.raises(ImageError, match="broken"):
        read(bytes(data))


def test_a_decompression_bomb_is_cut_off() -> None:
    """A few kilobytes that unpack to more than the limit are refused after the limit, not after unpacking."""
    bomb = tar(In("zeros", bytes(30 << 20)))
    packed = gzip.compress(bomb, mtime=0)
    assert len(packed) < len(bomb) // 500
    with pytest.raises(ImageError, match="unpacks to more than 1048576 bytes"):
        read(bomb, packed=packed, limits=Limits(unpacked=1 << 20))


def test_the_limit_holds_over_all_layers_together() -> None:
    """Many layers are no way around the limit."""
    budget = Budget(Limits(entries=3))
    data = tar(In("a", b""), In("b", b""))

    def again() -> None:
        read_layer(io.BytesIO(data), media_type=LAYER, digest=digest_of(data), diff_id=digest_of(data), budget=budget)

    again()
    with pytest.raises(ImageError, match="more than 3 entries"):
        again()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_claims_megabytes_is_refused_before_it_is_read(kind: bytes) -> None:
    """Extended headers are collected in memory by tar readers: a long one is an attack."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 5 << 30
    with pytest.raises(ImageError, match="broken"):
        read(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))


def test_a_path_that_is_too_long_is_refused() -> None:
    """No kernel could open it."""
    with pytest.raises(ImageError, match="longer than 4096"):
        read(tar(In("a/" * 3000, b"")))


def test_a_layer_of_an_unknown_kind_is_refused_by_its_type() -> None:
    """What is not tar or gzip (zstd, say) is named; nobody is left to guess."""
    with pytest.raises(ImageError, match=r"tar\+zstd, which is not supported"):
        read_layer(io.BytesIO(b""), media_type=f"{LAYER}+zstd", digest="", diff_id="", budget=Budget(Limits()))
