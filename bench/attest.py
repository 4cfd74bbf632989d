"""Attest and deliver against a bare answer, in one run: the launcher's own client, a new TLS connection each time.

`python -m bench.attest [-n 400] [-c 16] [--rounds 9]`. The bare answer is `bench/bare.py`: the same server with
the same settings and the same client; a request costs one signature check, one key exchange and an answer of the same
size, and nothing is kept, judged or recorded. The CAS has its audit log on. Rounds alternate: both meet one machine.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
MEASUREMENT = "ab" * 32
ENOUGH = "--only_for_testing-debug --only_for_testing-trust-any --only_for_testing-ignore-signer"
SESSION = f"""name: bench
version: '0.3.10'
services:
  - name: main
    command: [prog, $$SCONE::s$$]
    environment: {{GREETING: hello}}
    attestation: {{mrenclave: {MEASUREMENT}}}
secrets: [{{name: s, kind: ascii, size: 24}}]
security: {{attestation: {{tolerate: [debug-mode]}}}}
"""
WANTED = 0.6


def main() -> int:
    """Print both rates of every round and the median ratio; 1 when it is below what is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", type=int, default=400, help="attestations a round (%(default)s)")
    parser.add_argument("-c", type=int, default=16, help="at a time (%(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="(%(default)s)")
    options = parser.parse_args()
    load = ["-n", str(options.n), "-c", str(options.c)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        client = build_client(place)
        with serving(["-m", "scone_cas", "serve", "--state", str(place / "state"), "--rate", "1000000"]) as cas:
            upload(cas["client"])
            with serving([str(ROOT / "bench" / "bare.py")]) as bare:
                ratios = []
                for _ in range(options.rounds):
                    ours, theirs = (rate(client, each["enclave"], load) for each in (cas, bare))
                    ratios.append(ours / theirs)
                    print(f"attest and deliver {ours:7.0f}/s   bare answer {theirs:7.0f}/s   ratio {ours / theirs:.2f}")
        log = place / "state" / "audit.log"
        print(f"audit log: {log.read_bytes().count(b'service_attested')} entries of attested services")
    print(f"median ratio {median(ratios):.2f}, wanted {WANTED}")
    return 0 if median(ratios) >= WANTED else 1


def build_client(place: Path) -> Path:
    """The launcher's protocol client, built from this checkout."""
    binary = place / "attest"
    command = ["go", "build", "-buildvcs=false", "-o", str(binary), "./cmd/attest"]
    subprocess.run(command, cwd=ROOT / "provider" / "launcher", check=True)
    return binary


@contextmanager
def serving(command: Sequence[str]) -> Iterator[dict[str, str]]:
    """A server on free ports, and where its ports are."""
    if "scone_cas" in command:
        command = [*command, "--client-port", "0", "--enclave-port", "0"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(ROOT / "provider")},
            start_new_session=True,
        )
        try:
            yield _ports(process, log.fileno()) | {"pid": str(process.pid)}
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _ports(process: "subprocess.Popen[bytes]", log: int) -> dict[str, str]:
    while True:
        written = os.pread(log, 1 << 20, 0).decode()
        if re.search(r" serving .*\n", written):
            return dict(re.findall(r"(client|enclave|bare)=(\S+)", written))
        if process.poll() is not None:
            raise SystemExit(written)


def upload(address: str) -> None:
    """Store the session that is attested for."""
    from scone_provider.cas.client import connect
    from scone_provider.cas.identity import Identity

    who = Identity.create(common_name="bench", now=datetime.now(UTC))
    connect(address, tolerance=ENOUGH, cas_key=None, connect_to={}, identity=who).upload(SESSION)


def rate(client: Path, address: str, load: Sequence[str]) -> float:
    """Attestations a second, none of which failed."""
    command = [str(client), "-cas", address, "-config-id", "bench/main", "-measurement", MEASUREMENT, *load]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if found["errors"]:
        raise SystemExit(f"attestations failed: {found['errors']}")
    return float(found["per_second"])


if __name__ == "__main__":
    sys.exit(main())
