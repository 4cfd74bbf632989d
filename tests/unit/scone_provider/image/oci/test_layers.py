"""Layers of ours: the same entries give the same bytes, and any tar reads them."""

import hashlib
import io
import tarfile
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_provider.errors import ImageError
from scone_provider.image.oci.layers import TarEntry, bytes_blob, directory, file, layer, link

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\x00"), min_size=1, max_size=150).filter(
    lambda name: name not in {".", ".."}
)


def archive(entries: list[TarEntry]) -> bytes:
    return b"".join(layer(entries).read())


def test_a_layer_has_the_recorded_digest() -> None:
    """The bytes depend on no Python version, machine or day: this digest was recorded once."""
    entries = [
        directory("/.scone"),
        file("/.scone/grüße", b"x" * 600),
        link("/a", "/.scone/grüße"),
        file("/b", b"", 0o755),
    ]
    assert layer(entries).digest == "sha256:496cd6e7084099351b1ac1e8e7e5054906d390db570fce897a92c5660c663f9e"


@given(st.dictionaries(NAMES, st.binary(max_size=700), max_size=6), st.randoms())
def test_any_tar_reads_a_layer_back_and_order_does_not_matter(files: dict[str, bytes], random: Random) -> None:
    """Names of any length and script survive; owners and times are zero; shuffled entries give the same bytes."""
    entries = [file(f"/{name}", content, 0o600) for name, content in files.items()]
    shuffled = random.sample(entries, len(entries))
    data = archive(entries)
    assert archive(shuffled) == data
    with tarfile.open(fileobj=io.BytesIO(data)) as read:
        members = read.getmembers()
        assert {m.name: content.read() for m in members if (content := read.extractfile(m))} == files
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} <= {(0, 0, 0, "", "")}


def test_the_descriptor_is_that_of_the_bytes() -> None:
    """Digest and size are known before the bytes are produced, and right."""
    blob = layer([file("/a", b"content")])
    data = b"".join(blob.read())
    assert (blob.digest, blob.size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


def test_two_entries_for_one_path_are_refused() -> None:
    """Which of two would win depends on the reader."""
    with pytest.raises(ImageError, match="/a twice"):
        layer([file("/a", b"1"), link("/a", "b")])


def test_content_of_another_size_than_announced_is_refused() -> None:
    """A file that grows while it is read cannot shift what comes after it."""
    with pytest.raises(ImageError, match="/a changed its size"):
        layer([TarEntry(path="/a", kind="f", mode=0o644, size=3, chunks=lambda: (b"four",))])


@pytest.mark.parametrize("later", [b"other", b"longer than before", b""])
def test_a_blob_that_changed_since_it_was_planned_is_refused(later: bytes) -> None:
    """What is sent is what was predicted, or an error."""
    contents = iter([b"first", later])
    blob = bytes_blob(b"first", media_type="text/plain")
    blob = type(blob)(digest=blob.digest, size=blob.size, media_type="text/plain", chunks=lambda: (next(contents),))
    assert b"".join(blob.read()) == b"first"
    with pytest.raises(ImageError, match="changed while it was built"):
        b"".join(blob.read())
