"""A Pulumi project of a test's own: real CLI, file backend, everything it prints kept for the search for secrets."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSPHRASE = "a passphrase of the tests"


@dataclass(frozen=True)
class Run:
    """One run of the CLI."""

    status: int
    text: str
    """Standard output, and after it standard error, so that the order of the two does not depend on timing."""


class PulumiProject:
    """A folder with a Pulumi.yaml and one stack, `dev`."""

    longest = 280
    """Seconds that one command may take."""

    def __init__(self, folder: Path, *, environment: Mapping[str, str]) -> None:
        """`environment` names PATH (with the toolchain) and PULUMI_HOME (with the plugins)."""
        self.folder = folder
        self.transcripts: list[str] = []
        self.backend = folder.parent / f"{folder.name}-backend"
        self.backend.mkdir(exist_ok=True)
        self.environment = {
            **environment,
            "PULUMI_BACKEND_URL": f"file://{self.backend}",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PULUMI_STACK": "dev",
        }

    def init(self, config: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        """Create the stack; `secrets` go in encrypted."""
        self.pulumi("stack", "init", "dev")
        plain = [part for key, value in config.items() for part in ("--plaintext", f"{key}={value}")]
        hidden = [part for key, value in secrets.items() for part in ("--secret", f"{key}={value}")]
        self.pulumi("config", "set-all", *plain, *hidden)

    def pulumi(
        self, *arguments: str, stdin: str = "", check: bool = True, environment: Mapping[str, str] | None = None
    ) -> Run:
        """Run the CLI; a failure is an AssertionError with its text unless `check=False`."""
        command = ["pulumi", *arguments, "--non-interactive"]
        return self.execute(command, stdin=stdin, check=check, environment=environment)

    def run(self, *command: str) -> str:
        """Run a program in the project with the stack's environment; its output, checked."""
        return self.execute(command).text

    def execute(
        self,
        command: Sequence[str],
        *,
        stdin: str = "",
        check: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Run:
        """Run a program in the project; what it writes to standard error follows what it writes to standard output."""
        done = subprocess.run(
            [shutil.which(command[0], path=self.environment["PATH"]) or command[0], *command[1:]],
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            input=stdin,
            text=True,
            capture_output=True,
            timeout=self.longest,
            check=False,
        )
        text = done.stdout + (f"--- messages ---\n{done.stderr}" if done.stderr.strip() else "")
        self.transcripts.append(text)
        assert not check or done.returncode == 0, text
        return Run(done.returncode, text)

    def up(self, *, check: bool = True, environment: Mapping[str, str] | None = None) -> Run:
        """`pulumi up`, without asking."""
        return self.pulumi("up", "--yes", "--skip-preview", "--color=never", check=check, environment=environment)

    def preview(self, *, check: bool = True, environment: Mapping[str, str] | None = None) -> Run:
        """`pulumi preview --diff`."""
        return self.pulumi("preview", "--diff", "--color=never", check=check, environment=environment)

    def offline_preview(self) -> str:
        """`pulumi preview --diff` where there is no network but the loopback interface of an empty namespace."""
        command = "ip link set lo up && exec pulumi preview --diff --color=never --non-interactive"
        return self.run("unshare", "--net", "sh", "-c", command)

    def preview_steps(self, *, environment: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
        """`pulumi preview --json`: `type::name` → {"op", "diff": {path: kind}} of everything that is not unchanged."""
        text = self.pulumi("preview", "--json", environment=environment).text
        steps = json.loads(text[text.index("{") :])["steps"]
        return {
            "::".join(step["urn"].split("::")[-2:]).split("$")[-1]: {
                "op": step["op"],
                "diff": {path: detail["kind"] for path, detail in (step.get("detailedDiff") or {}).items()},
            }
            for step in steps
            if step["op"] != "same"
        }

    def refresh(self, *, check: bool = True) -> Run:
        """`pulumi refresh`, without asking."""
        return self.pulumi("refresh", "--yes", "--skip-preview", "--diff", "--color=never", check=check)

    def destroy(self, *, check: bool = True) -> Run:
        """`pulumi destroy`, without asking."""
        return self.pulumi("destroy", "--yes", "--skip-preview", "--color=never", check=check)

    def state(self) -> dict[str, Any]:
        """The exported state, secrets encrypted."""
        return json.loads(self.pulumi("stack", "export").text)

    def resources(self) -> dict[str, dict[str, Any]]:
        """`type::name` → resource in the state."""
        found = self.state()["deployment"].get("resources", [])
        return {"::".join(item["urn"].split("::")[-2:]).split("$")[-1]: item for item in found}

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        return json.loads(self.pulumi("stack", "output", "--json").text)

    def everything_written(self) -> bytes:
        """All transcripts, the state files and the settings: where a secret in clear would be found."""
        files = [path for path in self.backend.rglob("*") if path.is_file()]
        files += list(self.folder.glob("Pulumi.*.yaml"))
        return "\n".join(self.transcripts).encode() + b"".join(path.read_bytes() for path in files)


def normalised(text: str) -> str:
    """A preview without what differs between runs: digests are numbered, addresses named, times dropped."""
    numbers: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return numbers.setdefault(match.group(), f"<hex{len(match.group())}:{len(numbers) + 1}>")

    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uuid>", text)
    text = re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b|\b[0-9a-f]{12}\b", number, text)
    text = re.sub(r"(127\.0\.0\.1|10\.123\.0\.\d+|localhost):\d+", "<address>", text)
    text = re.sub(r"Duration: .*\n", "", text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
