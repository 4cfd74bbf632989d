"""A real CAS: the supervisor and its processes, on free ports of the loopback."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scone_cas.audit.rotation import files_in
from scone_cas.audit.verify import Part, Verdict, verify_parts
from scone_provider.cas.client import CasClient, connect
from scone_provider.cas.identity import Identity
from support.software_enclave import EnclavePort

PROVIDER = Path(__file__).parents[2] / "provider"
ENOUGH = "--only_for_testing-debug --only_for_testing-trust-any --only_for_testing-ignore-signer"


def audit_part(path: Path) -> Part:
    """One file of an audit log, as the verifier takes it."""
    return Part(name=path.name, open=lambda: path.open("rb"))


class RealCas:
    """`python -m scone_cas serve` on a state directory; its log goes to a file beside it."""

    def __init__(
        self, state: Path, *options: str, environment: Mapping[str, str] | None = None, open_files: int | None = None
    ) -> None:
        self.open_files = open_files
        self.state, self.options, self.environment = state, options, dict(environment or {})
        self.log = state.parent / f"{state.name}.log"
        self.port = self.enclave_port = 0
        self.key_hash = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "RealCas":
        """Return when both ports serve."""
        ports = ["--client-port", str(self.port), "--enclave-port", str(self.enclave_port)]
        with self.log.open("ab") as log:
            before = log.tell()
            self.process = subprocess.Popen(
                [*self._limits(), *self._command(), "--state", str(self.state), *ports, *self.options],
                stderr=log,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROVIDER), **self.environment},
                start_new_session=True,
            )
        pattern = re.compile(rb" serving .*client=\S+?:(\d+) enclave=\S+?:(\d+) key=(\S+)")
        while not (found := pattern.search(self.log.read_bytes()[before:])):
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        self.port, self.enclave_port, self.key_hash = int(found[1]), int(found[2]), found[3].decode()
        return self

    def _limits(self) -> list[str]:
        return ["prlimit", f"--nofile={self.open_files}"] if self.open_files is not None else []

    def _command(self) -> list[str]:
        return [sys.executable, "-P", "-m", "scone_cas", "serve"]

    def stop(self) -> int:
        """Gracefully; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self._reap()

    def kill(self) -> None:
        """All processes at once, as a power cut would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self._reap()

    def _reap(self) -> int:
        assert self.process is not None
        return self.process.wait(60)

    def audit(self) -> Verdict:
        """The verdict on its audit log, with the files before the one that is written to."""
        return verify_parts([audit_part(path) for path in files_in(self.state)])

    def audit_entries(self, event: str) -> list[dict[str, Any]]:
        """The fields of the entries of one kind, oldest first."""
        lines = (self.state / "audit.log").read_text(encoding="utf-8").splitlines()
        return [entry["fields"] for line in lines if (entry := json.loads(line)["entry"])["event"] == event]

    def children(self) -> list[int]:
        """Process ids of the processes behind the ports and their workers."""
        assert self.process is not None
        return descendants(self.process.pid)

    def client(self, identity: Identity | None, **changes: object) -> CasClient:
        """A client that attested this CAS."""
        options = {
            "tolerance": ENOUGH,
            "cas_key": None,
            "connect_to": {"cas.test": f"127.0.0.1:{self.port}"},
            "identity": identity,
        } | changes
        return connect("cas.test", **options)  # type: ignore[arg-type]

    @property
    def enclave(self) -> EnclavePort:
        """A client of the enclave port."""
        return EnclavePort("127.0.0.1", self.enclave_port)


def descendants(pid: int) -> list[int]:
    """Process ids below one."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found
