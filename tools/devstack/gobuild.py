"""Builds what is missing of the toolchain from pinned Go modules, once per version, into the user's cache."""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.devstack import files
from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths
from tools.devstack.steps import Job

GO = "go1.26.8"
"""What `go.mod` of the launcher names: exactly this one builds it, because the launcher's bytes are measured."""
PULUMI = "3.259.0"
KUBERNETES_PLUGIN = "4.25.0"
DOCKER_BUILD_PLUGIN = "0.0.22"
_OLDEST_PULUMI = (3, 216)  # dynamic providers return inputs from read since then
_KUBERNETES_MODULE = "github.com/pulumi/pulumi-kubernetes/provider/v4"
_DOCKER_BUILD_MODULE = "github.com/pulumi/pulumi-docker-build"
_PULUMI_SDK = "github.com/pulumi/pulumi/sdk/v3"
_COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "coredns")
_FLAGS = ("-buildvcs=false", "-trimpath")


@dataclass(frozen=True, kw_only=True)
class Build:
    """One program: `package` of the Go module in folder `module`, written as `program`; the linker sets `variables`.

    `estimate` in seconds from a cold cache on two cores.
    """

    module: str
    package: str
    program: str
    estimate: float
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Part:
    """Programs that are built and cached together. `finish(job, go, sources, folder)` adds what is not a Go program."""

    name: str
    builds: tuple[Build, ...]
    prepare: Callable[[Job, "Go", Path], None] | None = None
    finish: Callable[[Job, "Go", Path, Path], None] | None = None

    @property
    def estimate(self) -> float:
        """Seconds from a cold cache on two cores."""
        return sum(build.estimate for build in self.builds)


class Go:
    """The Go toolchain, with everything pinned that enters a build, so that equal sources meet in the build cache."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    @property
    def program(self) -> str:
        """Path of `go`. Raises DevstackError where there is none."""
        found = shutil.which("go", path=self._environ.get("PATH")) or shutil.which("/usr/local/go/bin/go")
        if not found:
            raise DevstackError(
                "Go is not installed",
                fix=f"install {GO}, exactly this version, and put it first in PATH",
            )
        return found

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a build: proxy and caches are the user's, the rest is ours."""
        fixed = {"CGO_ENABLED": "0", "GOFLAGS": " ".join(_FLAGS), "GOTOOLCHAIN": "local", "GOWORK": "off"}
        return {
            name: value
            for name, value in self._environ.items()
            if name not in ("GOOS", "GOARCH", "GOAMD64", "GOEXPERIMENT")
        } | fixed

    def __call__(self, job: Job, *words: str | Path, cwd: Path) -> str:
        """Run `go` in `cwd`, return what it prints."""
        return job.command(self.program, *words, cwd=cwd, environment=self.environment)

    def version(self, job: Job) -> str:
        """As `go1.26.8`."""
        return self(job, "env", "GOVERSION", cwd=Path("/")).strip()


class Toolchain:
    """The cached parts of one user."""

    def __init__(self, paths: Paths, *, environ: Mapping[str, str]) -> None:
        self._paths, self._environ = paths, environ
        self._go = Go(environ)
        self._version = ""

    def folder(self, job: Job, part: Part) -> Path:
        """Where `part` is, or will be: its name carries a digest of all that it is built from."""
        self._version = self._version or self._go.version(job)
        sources = [
            file for build in part.builds for file in (self._paths.modules / build.module).rglob("*") if file.is_file()
        ]
        recipe = repr((self._version, _FLAGS, part.builds))
        key = files.digest(recipe, files.digest_of(self._paths.modules, sources))
        return self._paths.cache / "toolchain" / f"{part.name}-{key[:16]}"

    def is_built(self, job: Job, part: Part) -> bool:
        """Whether `part` is in the cache, whole."""
        return self.folder(job, part).is_dir()

    def build(self, job: Job, part: Part) -> None:
        """Build `part` into the cache. Two runs never build at the same time; the second finds what the first made."""
        lock = self._paths.cache / "toolchain.lock"
        with files.locked(lock, waiting=lambda: job.say("waiting for another run that builds the toolchain")):
            folder = self.folder(job, part)
            if not folder.is_dir():
                files.publish(folder, lambda target: self._fill(job, part, target))

    def _fill(self, job: Job, part: Part, target: Path) -> None:
        sources = target / "sources"
        for module in {build.module for build in part.builds}:
            shutil.copytree(self._paths.modules / module, sources / module)
        if part.prepare:
            part.prepare(job, self._go, sources)
        for build in part.builds:
            job.say(build.program, estimate=build.estimate)
            linker = " ".join(["-s -w", *(f"-X {variable}" for variable in build.variables)])
            self._go(
                job,
                "build",
                "-p",
                "2",
                "-ldflags",
                linker,
                "-o",
                target / build.program,
                build.package,
                cwd=sources / build.module,
            )
        if part.finish:
            part.finish(job, self._go, sources, target)
        shutil.rmtree(sources)


def found_pulumi(job: Job, *, environ: Mapping[str, str]) -> Path | None:
    """The user's own Pulumi CLI if it is complete and recent enough."""
    found = shutil.which("pulumi", path=environ.get("PATH"))
    if not found or not shutil.which(
        "pulumi-language-python", path=f"{Path(found).resolve().parent}{os.pathsep}{environ.get('PATH', '')}"
    ):
        return None
    try:
        answer = job.command(found, "version", environment={**environ, "PULUMI_SKIP_UPDATE_CHECK": "1"}, timeout=20)
    except DevstackError:
        return None
    version = re.match(r"v?(\d+)\.(\d+)\.", answer)
    return Path(found) if version and (int(version[1]), int(version[2])) >= _OLDEST_PULUMI else None


def _module_folder(job: Job, go: Go, module: str, *, cwd: Path) -> Path:
    go(job, "mod", "download", module, cwd=cwd)
    return Path(go(job, "list", "-m", "-f", "{{.Dir}}", module, cwd=cwd).strip())


def _add_python_scripts(job: Job, go: Go, sources: Path, target: Path) -> None:
    sdk = _module_folder(job, go, _PULUMI_SDK, cwd=sources / "pulumi")
    for script in (sdk / "python/cmd/pulumi-language-python-exec", sdk / "python/dist/pulumi-resource-pulumi-python"):
        files.write(target / script.name, script.read_bytes(), mode=0o755)


def _embed_schema(job: Job, go: Go, sources: Path) -> None:
    module = sources / "kubernetes-provider"
    provider = _module_folder(job, go, _KUBERNETES_MODULE, cwd=module)
    job.command(
        "python3", module / "embed.py", module, provider / "cmd" / "pulumi-resource-kubernetes", KUBERNETES_PLUGIN
    )


def _link_components(_job: Job, _go: Go, _sources: Path, target: Path) -> None:
    for name in _COMPONENTS:
        (target / name).symlink_to("kube")


CLI = Part(
    name="pulumi",
    builds=(
        Build(
            module="pulumi",
            package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
            program="pulumi",
            estimate=290,
            variables=(f"{_PULUMI_SDK}/go/common/version.Version=v{PULUMI}",),
        ),
        Build(
            module="language-python",
            package=f"{_PULUMI_SDK}/python/cmd/pulumi-language-python",
            program="pulumi-language-python",
            estimate=30,
        ),
    ),
    finish=_add_python_scripts,
)
PLUGIN = Part(
    name="kubernetes-plugin",
    builds=(
        Build(
            module="kubernetes-provider",
            package=".",
            program="pulumi-resource-kubernetes",
            estimate=560,
            variables=(f"{_KUBERNETES_MODULE}/pkg/version.Version={KUBERNETES_PLUGIN}",),
        ),
    ),
    prepare=_embed_schema,
)
NODE = Part(
    name="kubernetes-node",
    builds=(
        Build(module="kubernetes", package=".", program="kube", estimate=370),
        Build(module="pause", package=".", program="pause", estimate=2),
    ),
    finish=_link_components,
)
BUILD_PLUGIN = Part(
    name="docker-build-plugin",
    builds=(
        Build(
            module="docker-build",
            package=f"{_DOCKER_BUILD_MODULE}/provider/cmd/pulumi-resource-docker-build",
            program="pulumi-resource-docker-build",
            estimate=145,
            variables=(f"{_DOCKER_BUILD_MODULE}/provider.Version={DOCKER_BUILD_PLUGIN}",),
        ),
    ),
)
BUILDKIT = Part(
    name="buildkit",
    builds=(
        Build(
            module="buildkit",
            package="github.com/moby/buildkit/cmd/buildkitd",
            program="buildkitd",
            estimate=100,
        ),
    ),
)
