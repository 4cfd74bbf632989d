"""The demo: the project's stack `demo` on the development stack, from `pulumi up` to the confidential service's log."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.devstack import files, variables
from tools.devstack.errors import DevstackError
from tools.devstack.paths import CAS_URL, NODE_ADDRESS, REGISTRY, Paths
from tools.devstack.settings import Target

STACK = "demo"
EXPECTED = "Integrity OK"
_LOG_SECONDS = 60
_RELEASED = "app.kubernetes.io/managed-by=Helm"


class Demo:
    """One run of the demo's stack. `say` prints a line for the user."""

    def __init__(self, paths: Paths, *, target: Target, say: Callable[[str], None]) -> None:
        self._paths, self._target, self._say = paths, target, say
        self._work = variables.work_folder(paths, target=target)
        self._environment = variables.environment(paths, target=target)

    @property
    def settings(self) -> Path:
        """The stack's settings. `link` leads there from the project's root, where Pulumi looks for them."""
        return self._work / f"Pulumi.{STACK}.yaml"

    def exists(self) -> bool:
        """Whether the stack was ever made."""
        return self.settings.exists()

    def prepare(self) -> None:
        """Make backend, passphrase, stack, identity, image key and settings. Nothing that exists is made anew."""
        if not (self._paths.root / "Pulumi.yaml").is_file():
            raise DevstackError(
                "there is no Pulumi.yaml", where=str(self._paths.root), fix="run this in a checkout of the project"
            )
        variables.prepare(self._work)
        self._link()
        self._pulumi("stack", "select", "--create", STACK)
        self._run([str(self._paths.venv / "bin" / "pulumi-scone"), "identity", "create", "--stack", STACK])
        for name, value in self._wanted_settings().items():
            self._pulumi("config", "set", "--stack", STACK, name, value)

    def up(self) -> None:
        """`pulumi up`, on the screen."""
        self._stream("up", "--yes")

    def destroy(self) -> None:
        """`pulumi destroy`, on the screen."""
        self._link()
        self._stream("destroy", "--yes")

    def show_log(self) -> None:
        """Follow the confidential service's log until it says that its integrity is fine.

        Raises DevstackError with the pod's state and last words where it does not within a minute.
        """
        deadline = time.monotonic() + _LOG_SECONDS
        pod = self._pod(deadline)
        place, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self._say(f"log of pod {place}/{name}:")
        shown = 0
        while time.monotonic() < deadline:
            lines = self._kubectl("logs", "-n", place, name).splitlines()
            for line in lines[shown:]:
                self._say(f"  {line}")
            shown = max(shown, len(lines))
            if any(EXPECTED in line for line in lines):
                return
            state = _failure(json.loads(self._kubectl("get", "pod", "-n", place, name, "-o", "json") or "{}"))
            if state:
                raise DevstackError(
                    f"the pod fails: {state}",
                    where=f"pod {place}/{name}",
                    fix="the launcher's line above says what it refused",
                )
            time.sleep(0.5)
        raise DevstackError(
            f"no line with {EXPECTED!r} within {_LOG_SECONDS} s",
            where=f"pod {place}/{name}",
            fix=f"kubectl describe pod -n {place} {name}",
        )

    def _pod(self, deadline: float) -> dict[str, Any]:
        """The newest pod of a Helm release; kube-system has none."""
        while time.monotonic() < deadline:
            answer = json.loads(self._kubectl("get", "pods", "-A", "-l", _RELEASED, "-o", "json") or "{}")
            pods = [pod for pod in answer.get("items", ()) if "deletionTimestamp" not in pod["metadata"]]
            if pods:
                return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
            time.sleep(0.5)
        raise DevstackError(
            f"no pod with label {_RELEASED} appeared within {_LOG_SECONDS} s", where="demo", fix="kubectl get pods -A"
        )

    def _wanted_settings(self) -> dict[str, str]:
        if self._target.named:
            return {
                "pulumi-scone:casUrl": self._target.cas_host,
                "pulumi-scone:imageRepo": f"{self._target.registry}/demo",
            }
        return {
            "pulumi-scone:casUrl": CAS_URL,
            "pulumi-scone:imageRepo": f"{REGISTRY}/demo",
            "scone:connectTo": json.dumps({CAS_URL: NODE_ADDRESS}),
        }

    def _kubectl(self, *words: str) -> str:
        order = ["kubectl", f"--cache-dir={self._paths.state / 'kubectl'}", *words]
        return subprocess.run(
            order, env=self._environment, capture_output=True, text=True, check=False, timeout=30
        ).stdout

    def _pulumi(self, *words: str) -> None:
        self._run(["pulumi", *words, "--non-interactive"])

    def _run(self, order: list[str]) -> None:
        """A command whose output matters only when it fails."""
        done = self._start(order, capture=True)
        if done.returncode:
            raise DevstackError(
                f"{' '.join(order[:3])} failed:\n{done.stderr or done.stdout}".rstrip(),
                where="demo",
                fix="mend what it says, then run this again",
            )

    def _stream(self, *words: str) -> None:
        sys.stdout.flush()
        done = self._start(["pulumi", *words, "--stack", STACK], capture=False)
        if done.returncode:
            raise DevstackError(
                f"pulumi {words[0]} ended with exit code {done.returncode}", where="demo", fix="its own words are above"
            )

    def _start(self, order: list[str], *, capture: bool) -> "subprocess.CompletedProcess[str]":
        # Looked up here: a program is otherwise searched on the PATH of this process instead of the one it gets.
        program = shutil.which(order[0], path=self._environment["PATH"])
        if not program:
            raise DevstackError(f"{order[0]} is not there", where="demo", fix="run make up")
        return subprocess.run(
            [program, *order[1:]],
            cwd=self._paths.root,
            env=self._environment,
            capture_output=capture,
            text=True,
            check=False,
        )

    def _link(self) -> None:
        link = self._paths.root / self.settings.name
        if link.exists() and not link.is_symlink():
            raise DevstackError(
                "a file of yours is in the way", where=str(link), fix="rename it: the demo keeps its own settings there"
            )
        files.link(link, self.settings)


def forget_settings(paths: Paths) -> None:
    """Remove the link to the demo's settings; a file of the user's stays."""
    link = paths.root / f"Pulumi.{STACK}.yaml"
    if link.is_symlink():
        link.unlink()


def _failure(pod: dict[str, Any]) -> str:
    """What keeps a pod from running for good, in words; empty while there is hope."""
    for status in pod.get("status", {}).get("containerStatuses", ()):
        for state in (status.get("state", {}), status.get("lastState", {})):
            if ended := state.get("terminated"):
                return (
                    f"exit code {ended.get('exitCode')}: {ended.get('message', '').strip() or ended.get('reason', '')}"
                )
        waiting = status.get("state", {}).get("waiting", {})
        if waiting.get("reason") in (
            "ErrImagePull",
            "ImagePullBackOff",
            "CreateContainerConfigError",
            "InvalidImageName",
            "CreateContainerError",
        ):
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    return ""
