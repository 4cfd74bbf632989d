"""The steps that set-up consists of, and in which order."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.devstack import (
    access,
    baseimage,
    buildkit,
    cas,
    cluster,
    containerd,
    files,
    host,
    network,
    packages,
    pki,
    plugins,
    registry,
    venv,
)
from tools.devstack.errors import DevstackError
from tools.devstack.gobuild import BUILDKIT, CLI, GO, NODE, PULUMI, Go, Toolchain, found_pulumi
from tools.devstack.paths import Paths
from tools.devstack.plugins import Plugin
from tools.devstack.process import Supervisor
from tools.devstack.recipes import PYTHON, SERVICES
from tools.devstack.settings import Target
from tools.devstack.steps import Job, Step
from tools.devstack.variables import environment, has_builder

_LONGEST_ROOT = 60  # characters: sockets below it have at most 107
_OWN_CLUSTER = "name your own cluster: KUBE_CONTEXT=… REGISTRY=… CAS_HOST=… make demo (README)"


def check_machine(paths: Paths, *, target: Target, environ: Mapping[str, str]) -> None:
    """Refuse, before anything is done, a machine on which set-up cannot work."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise DevstackError(
            f"{platform.system()} on {platform.machine()} is not supported",
            where="this machine",
            fix="use Linux on x86-64",
        )
    go = Go(environ)
    found = subprocess.run(
        [go.program, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=go.environment
    ).stdout.strip()
    if found != GO:
        raise DevstackError(
            f"{go.program} is {found or 'no Go that answers'}, and the launcher is built by {GO} exactly: "
            "its bytes are measured",
            where="this machine",
            fix=f"install {GO} and put it first in PATH",
        )
    if target.named:
        return
    if os.geteuid() != 0:
        raise DevstackError("a local cluster needs root", where="this machine", fix=f"run as root, or {_OWN_CLUSTER}")
    if len(str(paths.root)) > _LONGEST_ROOT:
        raise DevstackError(
            "the path is too long for the sockets below it",
            where=str(paths.root),
            fix=f"move the project to a path of at most {_LONGEST_ROOT} characters",
        )


class Stack:
    """Set-up of one checkout."""

    def __init__(self, paths: Paths, *, target: Target, environ: Mapping[str, str]) -> None:
        self._paths, self._target, self._environ = paths, target, environ
        self.supervisor = Supervisor(state=paths.state, run=paths.run, log=paths.log)
        self._toolchain = Toolchain(paths, environ=environ)

    def steps(self, *, whole: bool) -> list[Step]:
        """All steps for the target; `whole` also has what builds native images, which the demo does not."""
        wanted = [plugins.KUBERNETES, *([plugins.DOCKER_BUILD] if whole else [])]
        steps = [*self._everywhere(), *self._plugins(wanted)]
        if self._target.named:
            return [*steps, access.step(self._paths, target=self._target, environ=self._environ)]
        steps += [*self._machine(), *self._cluster()]
        if whole:
            steps += [self._images(), *([] if has_builder(self._environ) else self._builder())]
        return steps

    def _everywhere(self) -> list[Step]:
        paths, target, local = self._paths, self._target, not self._target.named
        return [
            Step(
                name="pulumi",
                is_ready=self._has_pulumi,
                run=self._make_pulumi,
                estimate=CLI.estimate,
                heavy=True,
                fix=_GO_FIX,
            ),
            self.venv(after=("packages",) if local else ()),
            Step(
                name="cas",
                is_ready=lambda _: self.supervisor.is_current(cas.daemon(paths, target=target)),
                run=lambda job: cas.start(job, self.supervisor, paths, target=target),
                after=("venv", "network") if local else ("venv",),
                estimate=3,
            ),
        ]

    def _plugins(self, wanted: Sequence[Plugin]) -> list[Step]:
        return [
            *(self._plugin(plugin) for plugin in wanted),
            Step(
                name="plugins",
                is_ready=lambda _: all(plugins.is_installed(self._paths, plugin) for plugin in wanted),
                run=lambda job: self._install_plugins(job, wanted),
                after=("pulumi", *(f"{plugin.name}-plugin" for plugin in wanted)),
                estimate=2 * len(wanted),
            ),
        ]

    def _plugin(self, plugin: Plugin) -> Step:
        return Step(
            name=f"{plugin.name}-plugin",
            is_ready=lambda job: (
                plugins.is_installed(self._paths, plugin) or self._toolchain.is_built(job, plugin.part)
            ),
            run=lambda job: plugins.make(
                job, self._toolchain, plugin, own=self._user_environ(), environment=self._environment()
            ),
            estimate=plugin.part.estimate,
            heavy=True,
            fix=_GO_FIX,
        )

    def venv(self, *, after: tuple[str, ...] = ()) -> Step:
        """The virtual environment, which lint needs and nothing else."""
        return Step(
            name="venv",
            is_ready=lambda _: venv.is_ready(self._paths),
            run=lambda job: venv.make(job, self._paths, environment=dict(self._environ)),
            after=after,
            estimate=45,
            fix="check that PyPI can be reached, then run this again",
        )

    def _machine(self) -> list[Step]:
        paths, supervisor = self._paths, self.supervisor
        return [
            Step(
                name="packages",
                is_ready=lambda _: not packages.missing(),
                run=packages.install,
                estimate=40,
                fix="check that Debian's packages can be reached, then run this again",
            ),
            Step(
                name="machine",
                is_ready=lambda _: host.is_claimed(paths),
                run=lambda _: host.claim(paths),
                after=("packages",),
                estimate=1,
            ),
            Step(name="network", is_ready=network.is_ready, run=network.make, after=("machine",), estimate=1),
            Step(
                name="registry",
                is_ready=lambda _: registry.is_ready(supervisor, paths),
                run=lambda job: registry.start(job, supervisor, paths),
                after=("machine",),
                estimate=2,
            ),
            Step(
                name="base-image",
                is_ready=lambda _: baseimage.is_ready(paths, (PYTHON,)),
                run=lambda job: baseimage.make(job, paths, (PYTHON,)),
                after=("registry",),
                estimate=baseimage.SECONDS,
                fix="check that Debian's packages can be reached, then run this again",
            ),
        ]

    def _cluster(self) -> list[Step]:
        paths, supervisor = self._paths, self.supervisor

        def programs(job: Job) -> Path:
            return self._toolchain.folder(job, NODE)

        return [
            Step(
                name="kubernetes-node",
                is_ready=lambda job: self._toolchain.is_built(job, NODE),
                run=lambda job: self._toolchain.build(job, NODE),
                estimate=NODE.estimate,
                heavy=True,
                fix=_GO_FIX,
            ),
            Step(
                name="keys",
                is_ready=lambda job: pki.is_ready(job, paths),
                run=lambda job: pki.make(job, paths),
                after=("packages",),
                estimate=1,
            ),
            Step(
                name="containerd",
                is_ready=lambda job: containerd.is_ready(job, supervisor, paths),
                run=lambda job: containerd.start(job, supervisor, paths, pause=programs(job) / "pause"),
                after=("kubernetes-node", "network"),
                estimate=2,
            ),
            Step(
                name="control-plane",
                is_ready=lambda job: cluster.is_up(
                    job, supervisor, paths, programs=programs(job), names=cluster.CONTROL_PLANE
                ),
                run=lambda job: cluster.start_control_plane(job, supervisor, paths, programs=programs(job)),
                after=("kubernetes-node", "keys", "network"),
                estimate=10,
            ),
            Step(
                name="node",
                is_ready=lambda job: (
                    cluster.is_up(job, supervisor, paths, programs=programs(job), names=cluster.NODE)
                    and cluster.takes_pods(job, paths)
                ),
                run=lambda job: cluster.start_node(job, supervisor, paths, programs=programs(job)),
                after=("control-plane", "containerd"),
                estimate=10,
            ),
        ]

    def _images(self) -> Step:
        return Step(
            name="images",
            is_ready=lambda _: baseimage.is_ready(self._paths, SERVICES),
            run=lambda job: baseimage.make(job, self._paths, SERVICES),
            after=("base-image",),
            estimate=baseimage.SECONDS * len(SERVICES),
            fix="check that Debian's packages can be reached, then run this again",
        )

    def _builder(self) -> list[Step]:
        paths, supervisor, environ = self._paths, self.supervisor, self._environ

        def program(job: Job) -> Path:
            return self._toolchain.folder(job, BUILDKIT) / "buildkitd"

        return [
            Step(
                name="buildkitd",
                is_ready=lambda job: self._toolchain.is_built(job, BUILDKIT),
                run=lambda job: self._toolchain.build(job, BUILDKIT),
                estimate=BUILDKIT.estimate,
                heavy=True,
                fix=_GO_FIX,
            ),
            Step(
                name="buildkit",
                is_ready=lambda job: buildkit.is_ready(supervisor, paths, program=program(job), environ=environ),
                run=lambda job: buildkit.start(job, supervisor, paths, program=program(job), environ=environ),
                after=("buildkitd", "packages", "registry"),
                estimate=2,
            ),
        ]

    def _user_environ(self) -> dict[str, str]:
        """The user's environment without our own toolchain on PATH."""
        words = [word for word in self._environ.get("PATH", "").split(os.pathsep) if word != str(self._paths.bin)]
        return {**self._environ, "PATH": os.pathsep.join(words)}

    def _has_pulumi(self, job: Job) -> bool:
        if found_pulumi(job, environ=self._user_environ()):
            self._paths.bin.unlink(missing_ok=True)
            return True
        folder = self._toolchain.folder(job, CLI)
        return folder.is_dir() and self._paths.bin.is_symlink() and self._paths.bin.readlink() == folder

    def _make_pulumi(self, job: Job) -> None:
        self._toolchain.build(job, CLI)
        files.link(self._paths.bin, self._toolchain.folder(job, CLI))

    def _install_plugins(self, job: Job, wanted: Sequence[Plugin]) -> None:
        for plugin in wanted:
            if not plugins.is_installed(self._paths, plugin):
                plugins.install(job, self._toolchain, plugin, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        return environment(self._paths, target=self._target, environ=self._environ)


_GO_FIX = f"check that Go's module proxy can be reached, then run this again (or install Pulumi {PULUMI} yourself)"
