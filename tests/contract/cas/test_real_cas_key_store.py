"""A whole CAS whose keys live in a PKCS#11 token (SoftHSM 2): started, attested by both clients, stopped, refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from scone_cas.identity.cas_evidence import measure
from scone_policy.keys.cas_evidence import software_key
from scone_policy.keys.key_hash import public_key_hash
from scone_provider.cas.transport import close_clients
from scone_provider.errors import CasError, TrustError
from support.real_cas import PROVIDER, RealCas
from support.secret_session import received, secret_session
from support.soft_token import PIN, SoftToken
from support.software_enclave import MEASUREMENT

LAUNCHER = PROVIDER / "launcher"
FREE = ("--client-port", "0", "--enclave-port", "0")
SEALING = bytes(range(32))
IDENTITY = ec.derive_private_key(0x1D, ec.SECP256R1())
CA = ec.derive_private_key(0xCA, ec.SECP384R1())
SECOND = ec.derive_private_key(0x2D, ec.SECP256R1())
SETTINGS: dict[str, Any] = {
    "sealing_key": "seal",
    "identity": "identity",
    "secrets": {
        "app/ca-key": {"object": "ca", "kind": "private-key"},
        "app/token": {"object": "token", "kind": "ascii"},
    },
}
SECRETS: dict[str, dict[str, Any]] = {
    "token": {"kind": "ascii"},
    "ca-key": {"kind": "private-key"},
    "ca": {"kind": "x509-ca", "private_key": "ca-key", "common_name": "app CA"},
    "key": {"kind": "private-key"},
    "leaf": {"kind": "x509", "private_key": "key", "issuer": "ca", "dns": ["db.example"], "endpoint": "server"},
}
FORMS = ["token", "leaf", "leaf:chain"]


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    """A token with all keys, made once; tests get copies of it."""
    found = SoftToken.create(tmp_path_factory.mktemp("token") / "blank")
    found.put_aes("seal", SEALING)
    found.put_key("identity", IDENTITY)
    found.put_key("ca", CA)
    found.put_data("token", b"planted token")
    return found


@pytest.fixture
def token(blank: SoftToken, tmp_path: Path) -> SoftToken:
    """A token of the test's own."""
    return blank.copy(tmp_path / "token")


@pytest.fixture
def held(token: SoftToken, tmp_path: Path) -> Iterator[RealCas]:
    """A CAS on that token."""
    found = RealCas(tmp_path / "state", "--config", str(token.configure(SETTINGS)), environment=token.environment)
    yield found.start()
    close_clients()
    if found.process is not None and found.process.poll() is None:
        found.stop()


class Enclave:
    """`received` asks this, as it asks a CAS without ports."""

    def __init__(self, cas: RealCas) -> None:
        self._cas = cas

    def attest(self, config_id: str, **changes: object) -> tuple[int, dict[str, object]]:
        """Status, and what a service receives."""
        return self._cas.enclave.attest(config_id, **changes)


def refused(token: SoftToken, state: Path, config: Path, **environment: str) -> str:
    """The error of a CAS that does not start."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "scone_cas", "serve", "--state", str(state), "--config", str(config), *FREE],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROVIDER), **token.environment, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert PIN not in done.stderr
    return done.stderr


def test_both_clients_and_a_restart(held: RealCas, ann) -> None:
    """The identity is the token's key; evidence and a pin both lead to it; a restart keeps it, and all else."""
    assert held.key_hash == public_key_hash(IDENTITY.public_key())
    client = held.client(ann)
    client.upload(secret_session(SECRETS, FORMS))
    before = received(Enclave(held))
    assert before["token"] == b"planted token"
    assert held.client(ann, cas_key=held.key_hash).read("app") is not None
    assert held.stop() == 0
    held.start()
    assert client.read("app") is not None, "the same client, pinned to the identity, meets another TLS key"
    assert received(Enclave(held)) == before
    assert held.stop() == 0
    assert held.audit().code == 0
    assert held.audit().cas_key == held.key_hash


def test_launcher_pins_the_identity(held: RealCas, ann, tmp_path: Path) -> None:
    """The launcher's client accepts the CAS under a pin of the token's key, and no other."""
    held.client(ann).upload(secret_session(SECRETS, FORMS))
    binary = tmp_path / "attest"
    subprocess.run(["go", "build", "-buildvcs=false", "-o", binary, "./cmd/attest"], cwd=LAUNCHER, check=True)
    command = [
        str(binary),
        "-cas",
        f"127.0.0.1:{held.enclave_port}",
        "-config-id",
        "app/main",
        "-measurement",
        MEASUREMENT,
    ]
    done = subprocess.run([*command, "-key", held.key_hash], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["arguments"] == ["prog"]
    other = public_key_hash(CA.public_key())
    done = subprocess.run([*command, "-key", other], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert f"expected {other}, found {held.key_hash}" in done.stderr


def test_wrong_pin_of_the_client(held: RealCas, ann) -> None:
    """A pin of another key stops the provider's client before it sends anything."""
    with pytest.raises(TrustError, match="is pinned"):
        held.client(ann, cas_key=public_key_hash(CA.public_key()))


def test_issued_chain(held: RealCas, ann, tmp_path: Path) -> None:
    """Certificates that the token's key signed verify with OpenSSL."""
    held.client(ann).upload(secret_session(SECRETS, FORMS))
    found = received(Enclave(held))
    leaf, chain = tmp_path / "leaf.pem", tmp_path / "chain.pem"
    leaf.write_bytes(found["leaf"])
    chain.write_bytes(found["leaf:chain"])
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(chain), str(leaf)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_keys_stay_in_the_token(held: RealCas, ann) -> None:
    """No planted key and no PIN is in the state or the log, and no PIN in the processes' environment or arguments.

    What SoftHSM itself has in memory is not looked at: it is software, in the processes that use it.
    """
    held.client(ann).upload(secret_session(SECRETS, FORMS))
    received(Enclave(held))
    identity = IDENTITY.private_numbers().private_value.to_bytes(32, "big")
    ca = CA.private_numbers().private_value.to_bytes(48, "big")
    files = [path.read_bytes() for path in held.state.iterdir() if path.is_file()] + [held.log.read_bytes()]
    for planted in (SEALING, identity, ca, PIN.encode(), SEALING.hex().encode(), identity.hex().encode()):
        assert not any(planted in content for content in files)
    processes = [held.process.pid, *held.children()] if held.process else []
    assert len(processes) >= 3
    for pid in processes:
        for name in ("environ", "cmdline"):
            assert PIN.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert not (held.state / "seal.key").exists()


def test_token_gone_while_serving(held: RealCas, token: SoftToken, ann) -> None:
    """Without the token what needs it is refused in words, the rest works; it works again when the token is back."""
    client = held.client(ann)
    client.upload(secret_session(SECRETS, FORMS))
    client.upload(secret_session({"own": {"kind": "ascii"}}, ["own"], name="other"))
    token.unplug()
    status, error = held.enclave.attest("app/main")
    assert (status, error["code"]) == (403, "secret_unavailable")
    assert "key store" in error["message"]
    assert received(Enclave(held), "other")["own"]
    assert client.read("app") is not None
    token.plug()
    assert received(Enclave(held))["token"] == b"planted token"


def test_object_removed_and_rotated(held: RealCas, token: SoftToken, ann) -> None:
    """A removed object is named; a new one in its place is delivered from then on, and signs certificates anew."""
    held.client(ann).upload(secret_session(SECRETS, FORMS))
    before = received(Enclave(held))
    token.remove("token", "data")
    status, error = held.enclave.attest("app/main")
    assert status == 403
    assert "no data object with this label" in error["message"]
    token.put_data("token", b"another token")
    token.remove("ca", "privkey", "pubkey")
    token.make_key("ca", "EC:prime256v1")
    after = received(Enclave(held))
    assert after["token"] == b"another token"
    assert after["leaf:chain"] != before["leaf:chain"]
    assert after["leaf"] != before["leaf"]


@pytest.fixture(scope="session")
def stopped(blank: SoftToken, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a CAS that has stopped, made once."""
    folder = tmp_path_factory.mktemp("stopped")
    token = blank.copy(folder / "token")
    cas = RealCas(folder / "state", "--config", str(token.configure(SETTINGS)), environment=token.environment)
    assert cas.start().stop() == 0
    return cas.state


@pytest.fixture
def sealed_state(stopped: Path, tmp_path: Path) -> Path:
    """A copy of that state."""
    return Path(shutil.copytree(stopped, tmp_path / "state"))


Change = Callable[[SoftToken], Path]
TROUBLES: dict[str, tuple[Change, str]] = {}


def trouble(said: str) -> Callable[[Change], Change]:
    """One way in which the token is not what it was; returns the configuration to start with."""

    def register(change: Change) -> Change:
        TROUBLES[change.__name__] = change, said
        return change

    return register


@trouble("the token refuses the PIN")
def _wrong_pin(token: SoftToken) -> Path:
    (token.folder / "pin").write_text("wrong")
    return token.configure(SETTINGS)


@trouble("others may read the file with the PIN")
def _open_pin(token: SoftToken) -> Path:
    (token.folder / "pin").chmod(0o640)
    return token.configure(SETTINGS)


@trouble("the variable that pin_env names is not set")
def _no_pin(token: SoftToken) -> Path:
    return token.configure(SETTINGS, pin_file=None, pin_env="CAS_PIN")


@trouble("there is no token with this label")
def _gone(token: SoftToken) -> Path:
    token.unplug()
    (token.folder / "tokens").mkdir()
    return token.configure(SETTINGS)


@trouble("no PKCS#11 module")
def _no_module(token: SoftToken) -> Path:
    return token.configure(SETTINGS, module="/usr/lib/softhsm/none.so")


@trouble("no PKCS#11 module")
def _other_library(token: SoftToken) -> Path:
    return token.configure(SETTINGS, module="/usr/lib/x86_64-linux-gnu/libz.so.1")


@trouble("object 'identity': the token has no private key with this label")
def _no_identity(token: SoftToken) -> Path:
    token.remove("identity", "privkey")
    return token.configure(SETTINGS)


@trouble("which clients have pinned")
def _other_identity(token: SoftToken) -> Path:
    token.make_key("new", "EC:prime256v1")
    return token.configure({**SETTINGS, "identity": "new"})


@trouble("must be an EC key on P-256")
def _wrong_curve(token: SoftToken) -> Path:
    token.make_key("large", "EC:secp384r1")
    return token.configure({**SETTINGS, "identity": "large"})


@trouble("could be taken out of its token")
def _loose_identity(token: SoftToken) -> Path:
    token.make_key("loose", "EC:prime256v1", "--extractable")
    return token.configure({**SETTINGS, "identity": "loose"})


@trouble("does not open the key of this state")
def _other_sealing_key(token: SoftToken) -> Path:
    token.make_aes("new", "--sensitive")
    return token.configure({**SETTINGS, "sealing_key": "new"})


@trouble("secrets.app/token: object 'none': the token has no data object with this label")
def _no_data(token: SoftToken) -> Path:
    secrets = {"app/token": {"object": "none", "kind": "ascii"}}
    return token.configure({**SETTINGS, "secrets": secrets})


@trouble("the key cannot leave its token")
def _delivers(token: SoftToken) -> Path:
    secrets = {"app/ca-key": {"object": "ca", "kind": "private-key", "deliver": True}}
    return token.configure({**SETTINGS, "secrets": secrets})


@trouble("state is sealed by a key store, and none is configured")
def _no_sealing_key(token: SoftToken) -> Path:
    return token.configure({"identity": "identity"})


@trouble("lives in a key store, and none is configured with an identity")
def _no_identity_named(token: SoftToken) -> Path:
    return token.configure({"sealing_key": "seal"})


@pytest.mark.parametrize("name", sorted(TROUBLES))
def test_no_start(sealed_state: Path, token: SoftToken, name: str) -> None:
    """A CAS whose token is not as it should be says what is wrong and where, and starts no process."""
    change, said = TROUBLES[name]
    error = refused(token, sealed_state, change(token))
    assert said in error
    assert "serving" not in error


def test_state_needs_its_token(sealed_state: Path) -> None:
    """Without --config the sealed state does not start, and says which file is the reason."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "scone_cas", "serve", "--state", str(sealed_state)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROVIDER)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "sealed by a key store" in done.stderr


def test_pin_from_the_environment(token: SoftToken, own_cas) -> None:
    """The PIN may come in a variable, which the processes behind the ports do not inherit."""
    config = token.configure(SETTINGS, pin_file=None, pin_env="CAS_PIN")
    found = own_cas("--config", str(config), environment={**token.environment, "CAS_PIN": PIN})
    for pid in found.children():
        assert PIN.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


def test_clear_state_is_not_taken(own_cas, token: SoftToken, tmp_path: Path) -> None:
    """A state whose seal.key lay on the disk is not pretended to be safe in a token."""
    own_cas(name="clear").stop()
    error = refused(token, tmp_path / "clear", token.configure(SETTINGS))
    assert "seal.key, which lies beside it in clear" in error


def test_sharing_between_such_cases(token: SoftToken, own_cas, ann, tmp_path: Path) -> None:
    """Two CASes with identities in tokens judge each other by these: by key, by software, and as the one that asks.

    A secret comes over, a key that only signs does not.
    """
    second = token.copy(tmp_path / "second")
    second.put_key("second", SECOND)
    importer_key = public_key_hash(SECOND.public_key())
    config = token.configure(SETTINGS)
    trusted = f"--trusted-peer={importer_key}=in"
    exporter = own_cas("--config", str(config), trusted, name="exporter", environment=token.environment)
    there = {name: {**secret, "export": {"session": "in"}} for name, secret in SECRETS.items()}
    exporter.client(ann).upload(secret_session(there))
    config = second.configure({"identity": "second"})
    route = f"--connect-to=other.test=127.0.0.1:{exporter.port}"
    importer = own_cas("--config", str(config), route, name="importer", environment=second.environment)
    assert importer.key_hash == importer_key

    def importing(secret: str, **trust: str) -> str:
        source = {"session": "app", "secret": secret, "cas_url": "other.test", **trust}
        return secret_session({"s": {"kind": SECRETS[secret]["kind"], "import": source}}, ["s"], name="in")

    client = importer.client(ann)
    with pytest.raises(CasError, match="has the key"):
        client.upload(importing("token", cas_key=importer_key))
    with pytest.raises(CasError, match="does not share a secret 'ca-key'"):
        client.upload(importing("ca-key", cas_key=exporter.key_hash))
    client.upload(importing("token", cas_key=exporter.key_hash))
    assert received(Enclave(importer), "in")["s"] == b"planted token"


def test_sharing_by_software(token: SoftToken, own_cas, ann) -> None:
    """A CAS whose identity is in a token is accepted by its software's key: its evidence names the TLS key."""
    config = token.configure(SETTINGS)
    importer = own_cas(name="importer")
    trusted = f"--trusted-peer={importer.key_hash}=in"
    exporter = own_cas("--config", str(config), trusted, name="exporter", environment=token.environment)
    exporter.client(ann).upload(secret_session({"token": {**SECRETS["token"], "export": {"session": "in"}}}))
    source = {"session": "app", "secret": "token", "cas_url": "other.test", "cas_software_key": software_key(measure())}
    importer.stop()
    importer.options = (f"--connect-to=other.test=127.0.0.1:{exporter.port}",)
    importer.start()
    importer.client(ann).upload(secret_session({"s": {"kind": "ascii", "import": source}}, ["s"], name="in"))
    assert received(Enclave(importer), "in")["s"] == b"planted token"
