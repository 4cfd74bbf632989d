"""An embedded CAS as its own process, as an operator runs it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scone_provider.cas.address import CasAddress
from scone_provider.cas.attest import attest
from scone_provider.cas.tolerance import Tolerance
from scone_provider.cas.transport import shared_client

TOLERANCE = "--only_for_testing-debug --only_for_testing-trust-any --only_for_testing-ignore-signer"
"""The switches under which an embedded CAS is trusted."""
_PROVIDER = Path(__file__).parents[2] / "provider"
"""The code of the checkout that the test itself is of, whatever is installed."""
_LONGEST_START = 130
"""Seconds, a little more than the CAS gives itself; it takes one or two on a machine that has nothing else to do."""
_LONGEST_STOP = 60


class EmbeddedCas:
    """`pulumi-scone cas serve` on a state folder; may be stopped, killed and started again."""

    def __init__(
        self, state: Path, *, host: str, port: int = 8081, enclave_port: int = 18765, options: Sequence[str] = ()
    ) -> None:
        self.state, self.host, self.port, self.enclave_port = state, host, port, enclave_port
        self.options = options
        self.log = state.parent / f"{state.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when both ports serve."""
        with self.log.open("ab") as log:
            before = log.tell()
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("pulumi-scone"), "cas", "serve", *self._options()],
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_PROVIDER)},
                start_new_session=True,
            )
        deadline = time.monotonic() + _LONGEST_START
        while b"serving" not in self.log.read_bytes()[before:]:
            assert self._process.poll() is None, self.log.read_text()
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(self.log.read_text())
            time.sleep(0.05)

    def _options(self) -> list[str]:
        ports = ["--port", str(self.port), "--enclave-port", str(self.enclave_port)]
        return ["--state", str(self.state), "--host", self.host, *ports, *self.options]

    def stop(self) -> None:
        """Gracefully."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_LONGEST_STOP)
            self._process = None

    def kill(self) -> None:
        """As a power cut would: supervisor and children at once."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None


def public_value(cas: EmbeddedCas, session: str, secret: str) -> str:
    """What a session publishes (`export_public`), as anybody reads it: from the attested CAS, without an identity."""
    address = CasAddress.parse(f"{cas.host}:{cas.port}", {})
    attested = attest(address, tolerance=Tolerance.parse(TOLERANCE), cas_key=None)
    answer = shared_client(address, attested.certificate, None).get(f"/v1/values/session={session},secret={secret}")
    value = answer.raise_for_status().json()["value"]
    assert isinstance(value, str)
    return value
