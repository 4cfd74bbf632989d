"""Flattening of layers: whiteouts, links, and nothing ever outside of the root."""

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_provider.errors import ImageError
from scone_provider.image.oci.tree import Member, Node, Tree, normalise
from scone_provider.image.protection.protection_file import base_entries

Parts = tuple[str, ...]
Layers = list[list[tuple[str, Parts]]]
PARTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple)
OPERATIONS = st.tuples(st.sampled_from(["file", "directory", "whiteout", "opaque"]), PARTS)
LAYERS = st.lists(st.lists(OPERATIONS, max_size=8), max_size=4)


def member(path: str, kind: Literal["f", "d", "l", "o", "h"] = "f", **values: Any) -> Member:
    return Member(parts=normalise(path), kind=kind, **values)


def operation(kind: str, parts: Parts, digest: str) -> Member:
    if kind == "whiteout":
        return Member(parts=(*parts[:-1], f".wh.{parts[-1]}"), kind="f")
    if kind == "opaque":
        return Member(parts=(*parts, ".wh..wh..opq"), kind="f")
    return Member(parts=parts, kind="f" if kind == "file" else "d", digest=digest)


def present(tree: Tree, path: str) -> Node:
    node = tree.find(path)
    assert node is not None
    return node


class ClashError(Exception):
    """The model's word for a file with something below it."""


def model(layers: Layers) -> dict[str, str | None]:
    """The same rules over a plain map from path to digest (None for directories)."""
    found: dict[Parts, str | None] = {}
    for number, layer in enumerate(layers):
        for kind, parts in layer:
            hides = {"whiteout": lambda p, q: p[: len(q)] == q, "opaque": lambda p, q: p[: len(q)] == q and p != q}
            if kind in hides:
                found = {path: digest for path, digest in found.items() if not hides[kind](path, parts)}
        for kind, parts in layer:
            if kind not in {"file", "directory"}:
                continue
            for depth in range(1, len(parts)):
                if found.setdefault(parts[:depth], None) is not None:
                    raise ClashError
            if kind == "directory" and parts in found and found[parts] is None:
                continue
            found = {path: digest for path, digest in found.items() if path[: len(parts)] != parts}
            found[parts] = str(number) if kind == "file" else None
    return {"/" + "/".join(parts): digest for parts, digest in found.items()}


@given(LAYERS)
def test_flattening_agrees_with_a_plain_model(layers: Layers) -> None:
    """Any mix of files, directories, whiteouts and opaque marks gives what the specification's rules give."""
    tree = Tree()
    try:
        wanted = model(layers)
    except ClashError:
        with pytest.raises(ImageError, match="no directory"):
            apply(tree, layers)
        return
    apply(tree, layers)
    found = {path: node.digest if node.kind == "f" else None for path, node in tree.walk()}
    assert found == wanted | {"/": None}


def apply(tree: Tree, layers: Layers) -> None:
    for number, layer in enumerate(layers):
        tree.apply([operation(kind, parts, str(number)) for kind, parts in layer])


def test_a_whiteout_hides_lower_layers_only() -> None:
    """A file and its whiteout in one layer: the file of the lower layer goes, the new one stays, in either order."""
    for order in (1, -1):
        tree = Tree()
        tree.apply([member("a", digest="old")])
        tree.apply([member("a", digest="new"), member(".wh.a")][::order])
        assert present(tree, "/a").digest == "new"


@pytest.mark.parametrize("path", ["../a", "a/../../b", "a/..", "./../../etc/shadow"])
def test_a_path_that_leaves_the_root_is_refused(path: str) -> None:
    """An archive cannot name anything outside of the image."""
    with pytest.raises(ImageError, match="leaves its root"):
        normalise(path)


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh..."])
def test_a_malformed_whiteout_is_refused(name: str) -> None:
    """A whiteout of the directory itself or of its parent is no whiteout."""
    with pytest.raises(ImageError, match="malformed whiteout"):
        Tree().apply([member(f"a/{name}")])


def test_links_on_the_way_are_followed_inside_the_root() -> None:
    """`lib/x` lands in `usr/lib` where `/lib` is a link there; a link that climbs stops at the root."""
    tree = Tree()
    tree.apply([member("usr/lib", "d"), member("lib", "l", target="usr/lib"), member("up", "l", target="../../..")])
    tree.apply([member("lib/x", digest="1"), member("up/y", digest="2"), member("lib/.wh.none")])
    assert present(tree, "/usr/lib/x").digest == "1"
    assert present(tree, "/y").digest == "2"
    assert tree.find("/lib/x") is None
    assert tree.resolve("/lib/x") == ("/usr/lib/x", present(tree, "/usr/lib/x"))


def test_links_in_a_circle_end() -> None:
    """A circle of links leads nowhere; to put something below it is an error."""
    tree = Tree()
    tree.apply([member("a", "l", target="b"), member("b", "l", target="a")])
    assert tree.resolve("/a/x") is None
    with pytest.raises(ImageError, match="no directory"):
        tree.apply([member("a/x")])


def test_a_hard_link_is_the_file_that_it_names() -> None:
    """It has content and mode of its target, which may lie in a lower layer, and keeps them when the target goes."""
    tree = Tree()
    tree.apply([member("a", digest="1", mode=0o755, size=3)])
    tree.apply([member("b", "h", target="./a"), member(".wh.none")])
    tree.apply([member(".wh.a")])
    assert tree.find("/a") is None
    assert (present(tree, "/b").digest, present(tree, "/b").mode) == ("1", 0o755)


@pytest.mark.parametrize("target", ["missing", "folder", "../a", ""])
def test_a_hard_link_to_anything_else_is_refused(target: str) -> None:
    """Neither to nothing, nor to a directory, nor to what lies outside."""
    tree = Tree()
    tree.apply([member("folder", "d")])
    with pytest.raises(ImageError):
        tree.apply([member("b", "h", target=target)])


def test_the_root_cannot_be_replaced() -> None:
    """A layer may set the root's mode, and nothing more of it."""
    tree = Tree()
    tree.apply([member("./", "d", mode=0o700)])
    assert tree.root.mode == 0o700
    with pytest.raises(ImageError, match="root directory"):
        tree.apply([member("", "l", target="/etc")])


def test_directories_that_no_layer_lists_are_bounded() -> None:
    """Few entries with long paths cannot make us remember millions of directories."""
    with pytest.raises(ImageError, match="directories that no layer lists"):
        Tree().apply(member(f"{number}/" + "a/" * 2000 + "x") for number in range(100))


def test_what_belongs_to_the_runtime_is_not_listed() -> None:
    """Nothing below /dev, /proc, /sys, /run, /tmp and /var/tmp is protected, nor the files of Kubernetes."""
    tree = Tree()
    names = ["dev/null", "proc/x", "run/x", "tmp/x", "var/tmp/x", "etc/hosts", "etc/mtab", "etc/passwd", "tmpfile"]
    tree.apply([member(name) for name in names])
    assert sorted(base_entries(tree)) == ["/", "/etc", "/etc/passwd", "/tmpfile", "/var"]  # noqa: S108


def test_a_name_that_is_not_utf8_is_refused_by_name() -> None:
    """It could not be protected; the error shows it, escaped."""
    tree = Tree()
    tree.apply([member("etc/caf\udce9")])
    with pytest.raises(ImageError, match=r"/etc/caf\\\\xe9|/etc/caf\\xe9"):
        base_entries(tree)


def test_a_link_to_nothing_is_refused() -> None:
    """No kernel makes one, and the launcher takes none."""
    tree = Tree()
    tree.apply([member("a", "l")])
    with pytest.raises(ImageError, match="a link to nothing"):
        base_entries(tree)


def test_a_confidential_image_is_no_base() -> None:
    """Two launchers in one image would each hold half of the truth."""
    tree = Tree()
    tree.apply([member(".scone/launcher")])
    with pytest.raises(ImageError, match="confidential image itself"):
        base_entries(tree)
