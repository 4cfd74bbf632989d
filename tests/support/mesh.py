"""An example as a project of a test's own, deployed for real, with kubectl at hand."""

import base64
import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.embedded_cas import EmbeddedCas
from support.pulumi_project import PulumiProject

_ROOT = Path(__file__).parents[2]
_NOT_FILES = shutil.ignore_patterns("__pycache__", ".pulumi-scone", "Pulumi.*.yaml")


class MeshProject(PulumiProject):
    """An example with a stack, an identity and names of its own.

    Without a Pulumi.yaml in it, as hello-python, it runs under the root's, as the example that `main` names.
    """

    service = "pythonapp"

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str],
        cas: EmbeddedCas,
        repository: str,
        kubernetes_namespace: str,
        cas_namespace: str,
        image_key: str | None = None,
        example: str = "hello-python",
    ) -> None:
        source = _ROOT / "examples" / example
        whole = (source / "Pulumi.yaml").is_file()
        self.program = folder if whole else folder / "examples" / example
        shutil.copytree(source, self.program, ignore=_NOT_FILES)
        super().__init__(folder, environment=environment)
        self.environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
        self.cas, self.repository, self.cas_namespace = cas, repository, cas_namespace
        self.kubernetes_namespace = kubernetes_namespace
        if not whole:
            shutil.copy(_ROOT / "Pulumi.yaml", folder)
            self.edit("mesh.yaml", "namespace: myPythonApp", f"namespace: {cas_namespace}")
        settings = example if whole else "pulumi-scone"
        self.kubectl("create", "namespace", kubernetes_namespace)
        self.init(
            {
                f"{settings}:casUrl": cas.host,
                f"{settings}:imageRepo": repository,
                f"{settings}:kubernetesNamespace": kubernetes_namespace,
                **({f"{settings}:casNamespace": cas_namespace} if whole else {}),
            },
            {"scone:imageKey": image_key or base64.b64encode(secrets.token_bytes(32)).decode()},
        )
        self.run("pulumi-scone", "identity", "create")

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that stands exactly once in a file of the program."""
        path = self.program / file
        content = path.read_text()
        assert content.count(old) == 1, (file, old)
        path.write_text(content.replace(old, new))

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """Kubectl as the cluster's administrator; what it prints is not part of the searched transcripts."""
        done = subprocess.run(
            ["kubectl", *arguments], env=self.environment, text=True, capture_output=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def kube(self, *arguments: str, check: bool = True) -> str:
        """Kubectl in this project's namespace."""
        return self.kubectl("-n", self.kubernetes_namespace, *arguments, check=check)

    def get(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind in the namespace."""
        return json.loads(self.kube("get", kind, "-o", "json"))["items"]

    def wait_until_gone(self, kind: str) -> None:
        """Until the namespace has no object of a kind: Kubernetes removes pods and claims in its own time."""
        self.kube("wait", kind, "--all", "--for=delete", "--timeout=60s")

    def workload(self) -> str:
        """Name of the one Deployment."""
        (found,) = self.get("deployments")
        return found["metadata"]["name"]

    def pod(self) -> str:
        """Name of the one pod that runs."""
        running = [
            item["metadata"]["name"]
            for item in self.get("pods")
            if item["status"]["phase"] == "Running" and "deletionTimestamp" not in item["metadata"]
        ]
        assert len(running) == 1, running
        return running[0]

    def log_until(self, text: str, *, seconds: float = 40) -> str:
        """The log of the newest pod, as soon as it holds `text`."""
        deadline = time.monotonic() + seconds
        while True:
            log = self.kube("logs", self.newest_pod(), check=False)
            if text in log:
                return log
            assert time.monotonic() < deadline, f"{text!r} never appeared in:\n{log}\n{self.kube('get', 'pods')}"
            time.sleep(0.3)

    def wait_for_log(self, pod: str, text: str, *, seconds: float = 40) -> str:
        """The log of a pod, as soon as it holds `text`."""
        deadline = time.monotonic() + seconds
        while text not in (log := self.kube("logs", pod, check=False)):
            assert time.monotonic() < deadline, f"{text!r} never appeared in:\n{log}"
            time.sleep(0.3)
        return log

    def newest_pod(self) -> str:
        """Name of the pod that was made last."""
        pods = [item for item in self.get("pods") if "deletionTimestamp" not in item["metadata"]]
        pods.sort(key=lambda item: item["metadata"]["creationTimestamp"])
        return pods[-1]["metadata"]["name"] if pods else "none"

    def refusal(self, *, seconds: float = 60) -> tuple[int, str]:
        """Exit code and termination message of a container that ended, as soon as there is one."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for item in self.get("pods"):
                if "deletionTimestamp" in item["metadata"]:
                    continue
                for status in item["status"].get("containerStatuses", []):
                    for state in (status["state"], status["lastState"]):
                        ended = state.get("terminated")
                        if ended and ended["exitCode"] != 0:
                            return ended["exitCode"], ended.get("message", "").strip()
            time.sleep(0.3)
        raise AssertionError(self.kube("describe", "pods"))

    @contextmanager
    def patched(self, container: Mapping[str, Any], *, pod: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Change the Deployment behind Helm's back: its container and its pod (lists merged by name); then undo it."""
        (found,) = self.get("deployments")
        name, spec = found["metadata"]["name"], found["spec"]
        own = spec["template"]["spec"]["containers"][0]["name"]
        patch = {
            "spec": {
                "strategy": {"$retainKeys": ["type"], "type": "Recreate"},
                "template": {
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        **(pod or {}),
                        "containers": [{"name": own, **container}],
                    }
                },
            }
        }
        self.kube("patch", "deployment", name, "--type=strategic", "-p", json.dumps(patch))
        try:
            yield
        finally:
            undo = [{"op": "replace", "path": "/spec", "value": {**spec, "strategy": {"type": "Recreate"}}}]
            self.kube("patch", "deployment", name, "--type=json", "-p", json.dumps(undo))
            undo[0]["value"] = spec
            self.kube("rollout", "status", f"deployment/{name}", "--timeout=60s")
            self.kube("patch", "deployment", name, "--type=json", "-p", json.dumps(undo))

    def remove(self) -> None:
        """Take everything of this project away, whatever state a test left it in."""
        if not self.cas.running:
            self.cas.start()
        self.destroy(check=False)
        self.kubectl("delete", "namespace", self.kubernetes_namespace, "--wait=false", "--ignore-not-found")
