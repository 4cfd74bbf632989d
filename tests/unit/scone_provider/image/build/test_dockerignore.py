"""`.dockerignore` means here what it means to Docker's builder (tests/engine/test_dockerignore.py asks BuildKit)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_provider.errors import ImageError
from scone_provider.image.build.dockerignore import parse
from scone_provider.image.build.source_files import scan_source


@pytest.mark.parametrize(
    ("patterns", "left_out", "kept"),
    [
        ("*.log", ["a.log"], ["lib/a.log", "a.txt"]),
        ("**/*.log", ["a.log", "lib/a.log", "lib/deep/a.log"], ["a.logs"]),
        ("lib", ["lib", "lib/a", "lib/deep/a"], ["src/lib"]),
        ("/lib/", ["lib", "lib/a"], ["src/lib"]),
        ("./lib/../src", ["src/a"], ["lib/a"]),
        ("lib/*", ["lib/a", "lib/deep/b"], ["lib"]),
        ("*\n!keep", ["a", "lib/a"], ["keep", "keep/a"]),
        ("**\n!lib/keep", ["a", "lib/a"], ["lib/keep"]),
        ("lib\n!lib/keep\nlib/keep/not", ["lib/a", "lib/keep/not"], ["lib/keep", "lib/keep/b"]),
        ("!lib\nlib", ["lib/a"], []),
        ("a?c", ["abc"], ["a/c", "ac"]),
        ("a[b-d]c", ["abc", "acc"], ["aec"]),
        ("a[^b]c", ["adc"], ["abc"]),
        ("**/node_modules", ["node_modules/x", "web/node_modules/x"], ["web/node_modules2"]),
        ("docs/**/draft", ["docs/draft", "docs/a/b/draft"], ["draft"]),
        ("#a\n \n a ", ["a"], ["#a"]),
        ("\\#a", ["#a"], ["a"]),
        ("a.b", ["a.b"], ["axb"]),
        ("a+(b)|c$", ["a+(b)|c$"], ["aab"]),
    ],
)
def test_patterns(patterns: str, left_out: list[str], kept: list[str]) -> None:
    """The last pattern that matches a path or a folder above it decides; one without `**` begins at the top."""
    ignore = parse(patterns, where=".dockerignore")
    assert [path for path in left_out if not ignore.excludes(path)] == []
    assert [path for path in kept if ignore.excludes(path)] == []


@pytest.mark.parametrize("patterns", ["!", "a\n!  ", "a[b"])
def test_broken_patterns_are_refused_with_their_line(patterns: str) -> None:
    """What Docker refuses is refused here, and not read as something else."""
    with pytest.raises(ImageError) as caught:
        parse(patterns, where="x/.dockerignore")
    assert caught.value.where == f"x/.dockerignore:{len(patterns.splitlines())}"


@given(st.text(max_size=200), st.lists(st.text("abc.*[]/!", min_size=1, max_size=8), max_size=5))
def test_any_text_is_read_or_refused(text: str, path: list[str]) -> None:
    """No text makes anything but an answer or an ImageError; the folder itself is never left out."""
    try:
        ignore = parse(text, where="x")
    except ImageError:
        return
    assert isinstance(ignore.excludes("/".join(path) or "a"), bool)
    assert not ignore.excludes(".")


def test_a_copied_folder_comes_without_what_is_ignored(tmp_path: Path) -> None:
    """Secrets and rubbish beside the program stay at home, as with `docker build`."""
    for name in ("src/app.py", "src/.env", "src/deep/debug.log", "src/deep/keep.log", "src/empty/x.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".dockerignore").write_text("**/.env\n**/*.log\n!**/keep.log\n")
    tree = scan_source(tmp_path, ["src"], into="/app")
    assert [file.path for file in tree.files] == ["/app/src/app.py", "/app/src/deep/keep.log"]
    assert "/app/src/empty" in tree.directories


def test_to_copy_what_is_ignored_is_an_error(tmp_path: Path) -> None:
    """Asked for and left out at once: the person is told, as Docker does."""
    (tmp_path / ".env").write_text("x")
    (tmp_path / ".dockerignore").write_text(".env\n")
    with pytest.raises(ImageError, match=r"'\.env' is to be copied, but \.dockerignore leaves it out"):
        scan_source(tmp_path, [".env"], into="/app")


def test_a_pruned_folder_is_not_even_read(tmp_path: Path) -> None:
    """A folder that nobody may read does no harm when it is ignored."""
    (tmp_path / "app.py").write_text("x")
    (tmp_path / "huge").mkdir()
    (tmp_path / "huge" / "fifo").symlink_to("/nowhere")
    (tmp_path / ".dockerignore").write_text("huge\n")
    assert [file.path for file in scan_source(tmp_path, ["."], into="/app").files] == [
        "/app/.dockerignore",
        "/app/app.py",
    ]
