"""Pulumi's plug-ins of the stack: which ones, whether they are installed, how they come there."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from tools.devstack.errors import DevstackError
from tools.devstack.gobuild import (
    BUILD_PLUGIN,
    DOCKER_BUILD_PLUGIN,
    KUBERNETES_PLUGIN,
    PLUGIN,
    Part,
    Toolchain,
    found_pulumi,
)
from tools.devstack.paths import Paths
from tools.devstack.steps import Job


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A resource plug-in `name` of `version`, which the toolchain builds as `part`."""

    name: str
    version: str
    part: Part

    @property
    def program(self) -> str:
        """Its executable's name."""
        return f"pulumi-resource-{self.name}"


KUBERNETES = Plugin(name="kubernetes", version=KUBERNETES_PLUGIN, part=PLUGIN)
DOCKER_BUILD = Plugin(name="docker-build", version=DOCKER_BUILD_PLUGIN, part=BUILD_PLUGIN)


def is_installed(paths: Paths, plugin: Plugin) -> bool:
    """Whether Pulumi has exactly this plug-in, whole."""
    folder = paths.pulumi_home / "plugins" / f"resource-{plugin.name}-v{plugin.version}"
    return (folder / plugin.program).is_file() and not folder.with_name(f"{folder.name}.partial").exists()


def make(
    job: Job,
    toolchain: Toolchain,
    plugin: Plugin,
    *,
    own: Mapping[str, str],
    environment: Mapping[str, str],
) -> None:
    """Let the user's own Pulumi (found in `own`) download the plug-in, or else build it into the cache."""
    if found := found_pulumi(job, environ=own):
        order = (found, "plugin", "install", "resource", plugin.name, plugin.version)
        if job.succeeds(*order, environment=environment):
            return
        job.say("cannot be downloaded, building it", estimate=plugin.part.estimate)
    toolchain.build(job, plugin.part)


def install(job: Job, toolchain: Toolchain, plugin: Plugin, *, environment: Mapping[str, str]) -> None:
    """Put the built plug-in into PULUMI_HOME."""
    program = toolchain.folder(job, plugin.part) / plugin.program
    pulumi = shutil.which("pulumi", path=environment["PATH"])
    if not pulumi:
        raise DevstackError("pulumi is not there", fix="run make up")
    order = ("plugin", "install", "resource", plugin.name, plugin.version, "--file", program, "--reinstall")
    job.command(pulumi, *order, environment=environment)
