"""`.dockerignore` against the judge: BuildKit itself gets folders and patterns, and says which files it saw."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.test_native_stage import layers_of
from scone_provider.image.build.source_files import scan_source
from support.pulumi_project import PulumiProject
from support.real_registry import RealRegistry

FILES = (
    "a.txt",
    "a.log",
    "#odd",
    "abc",
    "a.c",
    "[x]",
    "lib/a.txt",
    "lib/a.log",
    "lib/keep/b.log",
    "lib/keep/deep/c.log",
    "lib/other/d",
    "src/lib/a.txt",
    "src/a b",
    "web/node_modules/x/y",
    "node_modules/z",
    "docs/draft",
    "docs/a/b/draft",
)
PATTERNS = (
    "*.log",
    "**/*.log",
    "lib",
    "/lib/",
    "lib/*\n!lib/keep",
    "*\n!lib/keep",
    "**\n!src",
    "lib\n!lib/keep\nlib/keep/deep",
    "!lib\nlib",
    "a?c",
    "a[a-c]c",
    "a[^b]c",
    "**/node_modules",
    "docs/**/draft",
    "docs/**",
    "#a\n a.txt \n\n",
    "\\#odd",
    "./lib/../src",
    "src/a b",
    "**/lib/**\n!**/a.txt",
    "*/*/d",
    "[[]x]",
    "**/keep/**/c.log",
    "lib/**/*.log\n!lib/**/c.log",
)
PROGRAM = """
import pulumi
import pulumi_docker_build as docker_build

count, registry = {count}, pulumi.Config("test").require("registry")
for number in range(count):
    image = docker_build.Image(
        f"i{{number}}",
        push=True,
        build_on_preview=False,
        tags=[f"{{registry}}/t:{{number}}"],
        context=docker_build.BuildContextArgs(location=f"./context{{number}}"),
        dockerfile=docker_build.DockerfileArgs(inline="FROM scratch\\nCOPY . /c/\\n"),
    )
    pulumi.export(f"i{{number}}", image.ref)
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """An empty registry."""
    server = RealRegistry(tmp_path / "registry")
    yield server
    server.kill()


def test_buildkit_sees_what_we_copy(new_project: Callable[..., PulumiProject], registry: RealRegistry) -> None:
    """For every list of patterns, the files that BuildKit copies are exactly those that `copy` takes."""
    project = new_project(PROGRAM.format(count=len(PATTERNS)), {"test:registry": registry.host})
    for number, patterns in enumerate(PATTERNS):
        for name in FILES:
            path = project.folder / f"context{number}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        (project.folder / f"context{number}" / ".dockerignore").write_text(patterns)
    project.up()
    references = project.outputs()
    for number, patterns in enumerate(PATTERNS):
        theirs = {path for path, content in layers_of(references[f"i{number}"]).items() if content}
        ours = scan_source(project.folder / f"context{number}", ["."], into="/c")
        assert {file.path for file in ours.files} == theirs, patterns
