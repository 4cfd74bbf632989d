"""The launcher's own protocol client, in Go, against the real CAS: two implementations that must agree."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from scone_cas.attestation.one_time_passwords import STEP, password
from support.software_enclave import MEASUREMENT

LAUNCHER = Path(__file__).parents[3] / "provider" / "launcher"
SERVICE = f"""version: '0.3.10'
services:
  - name: main
    command: [prog, $$SCONE::s$$, "@@1"]
    environment: {{NODE: "@@NODE", GREETING: Grüße}}
    attestation: {{mrenclave: {MEASUREMENT}}}
secrets: [{{name: s, kind: ascii, size: 24}}]
security: {{attestation: {{tolerate: [debug-mode]}}}}
"""


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`attest`, which speaks the launcher's side of the protocol and states whatever its flags say."""
    binary = tmp_path_factory.mktemp("driver") / "attest"
    built = subprocess.run(
        ["go", "build", "-buildvcs=false", "-o", binary, "./cmd/attest"], cwd=LAUNCHER, capture_output=True, check=False
    )
    assert built.returncode == 0, built.stderr.decode()
    return binary


def drive(driver: Path, cas, config_id: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """One run of the driver, pinned to the CAS's key."""
    base = [driver, "-cas", f"127.0.0.1:{cas.enclave_port}", "-key", cas.key_hash, "-config-id", config_id]
    base += ["-measurement", MEASUREMENT, "-argument", "given", "-env", "NODE=n1"]
    return subprocess.run([*base, *flags], capture_output=True, text=True, timeout=60, check=False)


def test_go_client_opens_what_we_seal(driver, cas, ann, name) -> None:
    """Go opens the answer and finds the delivered configuration; its evidence is believed, as the limits say it is."""
    cas.client(ann).upload(f"name: {name}\n{SERVICE}")
    done = drive(driver, cas, f"{name}/main")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["arguments"][::2] == ["prog", "given"]
    assert len(found["arguments"][1]) == 24
    assert found["environment"] == {"NODE": "n1", "GREETING": "Grüße"}


@pytest.mark.parametrize(
    "case",
    [
        (["-measurement", "00" * 32], "unexpected measurement"),
        (["-debug=false"], "debug"),
        (["-format", "other-1"], "format"),
        (["-config-id", "nothing/main"], "no such service"),
        (["-key", "2wkBET2rRgE8pahuaczxKbmv7ciehqsne57F9gtzf1PVdr2VP3"], "key"),
    ],
)
def test_go_client_is_told_why(driver, cas, ann, name, case: tuple[list[str], str]) -> None:
    """Each refusal arrives as the launcher's one line."""
    flags, said = case
    cas.client(ann).upload(f"name: {name}\n{SERVICE}")
    done = drive(driver, cas, f"{name}/main", *flags)
    assert done.returncode != 0
    assert said in done.stderr


def test_go_client_with_a_password(driver, cas, ann, name) -> None:
    """A one-time password behind the name passes the launcher's client; its second use is told in words."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    asking = SERVICE.replace("tolerate:", f"one_time_password_shared_secret: {secret}, tolerate:")
    cas.client(ann).upload(f"name: {name}\n{asking}")
    config_id = f"{name}/main@{password(secret, int(time.time()) // STEP + 1)}"
    assert drive(driver, cas, config_id).returncode == 0
    again = drive(driver, cas, config_id)
    assert again.stderr == "Attestation failed: the one-time password was used before: wait for the next one\n"


def test_go_client_takes_a_service_with_volumes(driver, cas, ann, name) -> None:
    """Volumes, no command, a key without a tag: the launcher's strict reader takes the answer."""
    cas.client(ann).upload(
        f"""name: {name}
version: '0.3.12'
services:
  - name: main
    image_name: i
    attestation: {{mrenclave: {MEASUREMENT}}}
    fspf_key: {"0d" * 32}
    fspf_update_policy: no_rollback_protection
images: [{{name: i, volumes: [{{name: db, path: /data}}]}}]
volumes: [{{name: db}}]
security: {{attestation: {{tolerate: [debug-mode]}}}}
"""
    )
    done = drive(driver, cas, f"{name}/main")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["arguments"], found["protection"]["tag"]) == ([], None)
    assert "volumes" not in found


def test_many_at_once(driver, cas, ann, name) -> None:
    """Hundreds of attestations, 16 at a time, each on a new connection: all succeed."""
    cas.client(ann).upload(f"name: {name}\n{SERVICE}")
    done = drive(driver, cas, f"{name}/main", "-n", "300", "-c", "16")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["succeeded"], found["errors"]) == (300, {})
