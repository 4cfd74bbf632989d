"""The native stage: a Dockerfile that is always the same, and a context without anything that is encrypted."""

import stat
from pathlib import Path
from typing import Any

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.build.native_stage import Context, dockerfile, lay_out_context, native_reference, read_context

PLANTED = "planted-77aa"


def context(folder: Path, **changes: Any) -> Context:
    """The context of a project with an encrypted program and a file that is not."""
    for name, content in (
        ("app.py", PLANTED),
        ("static/page.html", "<p>"),
        ("static/run.sh", "#!/bin/sh"),
        ("requirements.txt", "-r more/base.txt\nflask\n--constraint more/limits.txt\n-r https://example.com/x.txt\n"),
        ("more/base.txt", "redis\n"),
        ("more/limits.txt", "flask<4\n"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "static/run.sh").chmod(0o700)
    values: dict[str, Any] = {
        "copy": ["app.py", "static"],
        "dirs": ["/web/secret"],
        "pwd": "/web",
        "requirements": "requirements.txt",
        "places": {},
    }
    return read_context(folder, **(values | changes))


def test_the_dockerfile(tmp_path: Path) -> None:
    """Every instruction, in order; lines of one command are one line; the index is a secret of the build alone."""
    text = dockerfile(
        context(tmp_path), base="python:3.11-slim", run=["echo one\n && echo two \\\n && echo three\n", "true"]
    )
    assert text.splitlines() == [
        "FROM python:3.11-slim",
        "WORKDIR /web",
        'COPY ["files/", "/web/"]',
        (
            "RUN --mount=type=bind,source=requirements,target=/run/requirements --mount=type=secret,id=pip_config"
            " cd /run/requirements && PIP_CONFIG_FILE=/run/secrets/pip_config PIP_BREAK_SYSTEM_PACKAGES=1"
            " PIP_ROOT_USER_ACTION=ignore python3 -m pip install --no-cache-dir --no-compile --no-input"
            " -r requirements.txt"
        ),
        "RUN echo one && echo two && echo three",
        "RUN true",
    ]


def test_comments_do_not_swallow_a_command(tmp_path: Path) -> None:
    """A line that is a comment is left out, also within a continued command; a # inside of a line stays."""
    made = context(tmp_path, copy=[], pwd="/", requirements=None)
    run = ["# install\necho one \\\n  # and more \\\n  && echo '#two'\n", "echo a # b"]
    assert dockerfile(made, base="b", run=run) == "FROM b\nRUN echo one && echo '#two'\nRUN echo a # b\n"


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    """Without requirements, files in clear and `pwd`, the Dockerfile has none of their instructions."""
    made = context(tmp_path, copy=[], pwd="/", requirements=None)
    assert dockerfile(made, base="b", run=["true"]) == "FROM b\nRUN true\n"


def test_what_is_encrypted_is_not_in_the_context(tmp_path: Path) -> None:
    """The builder gets the requirements and the files in clear; of the program neither content nor name."""
    made = context(tmp_path, dirs=["/web/app.py"])
    location = lay_out_context(tmp_path, "dev/api", made)
    found = {path.relative_to(tmp_path / location).as_posix(): path for path in (tmp_path / location).rglob("*")}
    assert {name for name, path in found.items() if path.is_file()} == {
        "files/static/page.html",
        "files/static/run.sh",
        "requirements/more/base.txt",
        "requirements/more/limits.txt",
        "requirements/requirements.txt",
    }
    assert stat.S_IMODE(found["files/static/run.sh"].stat().st_mode) == 0o755
    assert stat.S_IMODE(found["files/static/page.html"].stat().st_mode) == 0o644
    assert all(PLANTED not in path.read_text() for path in found.values() if path.is_file())


def test_a_context_is_exactly_what_it_is_told(tmp_path: Path) -> None:
    """A second time, what vanished is removed, a file that became a folder is one, and links are never followed."""
    first = context(tmp_path)
    location = tmp_path / lay_out_context(tmp_path, "dev/api", first)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (location / "stranger").symlink_to(outside)
    (location / "files/app.py").unlink()
    (location / "files/app.py").mkdir()
    (location / "files/app.py/x").write_text("x")
    assert lay_out_context(tmp_path, "dev/api", first) == "./.pulumi-scone/native/dev/api"
    assert (location / "files/app.py").read_text() == PLANTED
    assert not (location / "stranger").is_symlink()
    assert (outside / "kept").read_text() == "kept"
    assert (tmp_path / ".pulumi-scone/.gitignore").read_text() == "*\n"
    lay_out_context(tmp_path, "dev/api", context(tmp_path, copy=["static"], requirements=None))
    assert not (location / "files/app.py").exists()
    assert not (location / "requirements").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"requirements": "gone.txt"}, "'gone.txt' cannot be read"),
        ({"requirements": "../x.txt"}, "is not a file below"),
        ({"requirements": "/etc/passwd"}, "is not a file below"),
        ({"pwd": "/web app"}, "cannot be written in a Dockerfile"),
        ({"pwd": "/web$HOME"}, "cannot be written in a Dockerfile"),
        ({"copy": ["gone"]}, "does not exist"),
    ],
)
def test_what_cannot_be_built_is_refused_at_once(tmp_path: Path, changes: Any, words: str) -> None:
    """Before anything is registered, with the manifest's place."""
    with pytest.raises(ImageError) as caught:
        context(tmp_path, **changes)
    assert words in str(caught.value)


def test_ignored_requirements_are_an_error(tmp_path: Path) -> None:
    """`.dockerignore` holds for requirements as for everything that goes to a builder."""
    (tmp_path / ".dockerignore").write_text("*.txt\n")
    with pytest.raises(ImageError, match="left out by"):
        context(tmp_path)


def test_the_native_image_has_a_tag_of_its_own() -> None:
    """In the repository of the image itself, so that its layers are there already; no tag is too long."""
    assert native_reference("localhost:5000/team/api:1") == "localhost:5000/team/api:native-1"
    assert len(native_reference(f"r.test/api:{'x' * 128}").rpartition(":")[2]) == 128


def test_links_in_the_context(tmp_path: Path) -> None:
    """A link is the same link in the context; a second time it is left alone, one that points elsewhere mended."""
    (tmp_path / "static").mkdir()
    (tmp_path / "static/index.html").symlink_to("page.html")
    made = context(tmp_path)
    link = tmp_path / lay_out_context(tmp_path, "dev/api", made) / "files/static/index.html"
    assert link.readlink() == Path("page.html")
    first = link.lstat().st_ino
    lay_out_context(tmp_path, "dev/api", made)
    assert link.lstat().st_ino == first
    link.unlink()
    link.symlink_to("/etc/passwd")
    lay_out_context(tmp_path, "dev/api", made)
    assert link.readlink() == Path("page.html")
