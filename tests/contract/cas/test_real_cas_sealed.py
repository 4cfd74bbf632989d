"""Sealed policies against a real CAS: what the provider makes is what a CAS takes, version after version."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scone_provider.cas.client import CasClient
from scone_provider.cas.identity import Identity
from scone_provider.deadline import Deadline
from scone_provider.resources.sealed_policy import SealedPolicyProvider
from support.provider_process import ProviderProcess, started
from support.real_cas import ENOUGH, RealCas

IMAGE_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
PLANTED = "planted-90ab-value"
SECRET_MARK = "4dabf18193072939515e22adb298388d"


class Sealer:
    """A provider process of a stack whose identity is `ann`, and the same person as the one who uploads."""

    def __init__(self, process: ProviderProcess, cas: RealCas, ann: Identity, home: Path) -> None:
        self.process, self.home = process, home
        self.client: CasClient = cas.client(ann)

    def inputs(self, mode: str, *, policy: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Checked inputs."""
        trust = {"url": "cas.test", "tolerance": dict.fromkeys(ENOUGH.split(), True)}
        found, failures = self.process.check(
            SealedPolicyProvider, {"cas": trust, "policy": policy, "mode": mode, **more}
        )
        assert failures == []
        return _plain(found)

    def create(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Outputs of a first version."""
        return self.process.create(SealedPolicyProvider, inputs)[1]

    def update(self, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
        """Outputs of the next version."""
        return self.process.update(SealedPolicyProvider, "acme", _plain(olds), news)

    def upload(self, outs: dict[str, Any]) -> None:
        """Carry the document to CAS, as the cluster's operator or a person would."""
        document = _plain(outs)["document"]
        if "encryption_key" in document:
            body = {"encrypted_session": document["policy"], "encryption_key": document["encryption_key"]}
            answer = self.client._exchange("PUT", "/v1/encrypted_sessions", json.dumps(body).encode(), Deadline(60))
            assert answer.status == 201, answer.text()
        elif "signatures" in document:
            signatures = list(document["signatures"].values())
            self.client.upload(json.dumps({"session": document["policy"], "signatures": signatures}))
        else:
            self.client.upload(document["policy"])


def _plain(tree: Any) -> Any:
    """Without the marks of secrets, as the engine hands values to a provider."""
    if isinstance(tree, dict):
        return _plain(tree["value"]) if SECRET_MARK in tree else {key: _plain(value) for key, value in tree.items()}
    return [_plain(item) for item in tree] if isinstance(tree, list) else tree


@pytest.fixture(scope="module")
def sealer(cas: RealCas, ann: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealer]:
    """A provider of a stack that reaches the CAS."""
    home = tmp_path_factory.mktemp("program")
    with started(home) as process:
        process.configure(config(cas, ann))
        yield Sealer(process, cas, ann, home)


def config(cas: RealCas, identity: Identity) -> dict[str, str]:
    """What a stack that reaches the CAS is configured with."""
    connect = f"cas.test=127.0.0.1:{cas.port}"
    return {"scone:identity": identity.to_pem(), "scone:imageKey": IMAGE_KEY, "scone:connectTo": connect}


def policy(name: str, value: str = PLANTED) -> dict[str, Any]:
    """A policy with a given secret."""
    return {"name": name, "version": "0.3.12", "secrets": {"given": {"kind": "ascii", "value": value}}}


@pytest.mark.parametrize("mode", ["EncryptedManifest", "SignedManifest", "NoUpload", "EncryptedOnly"])
def test_what_is_sealed_is_what_cas_takes(sealer: Sealer, name: str, mode: str) -> None:
    """The first version and its successor are taken; the successor names what CAS has."""
    first = sealer.create(sealer.inputs(mode, policy=policy(name)))
    assert first["predecessor"] == ""
    sealer.upload(first)
    held = sealer.client.read(name)
    assert held is not None
    assert PLANTED in held.description_yaml
    second = sealer.update(first, sealer.inputs(mode, policy=policy(name, "another-value")))
    assert second["predecessor"] == held.hash
    sealer.upload(second)
    now = sealer.client.read(name)
    assert now is not None
    assert now.predecessor == held.hash


@pytest.mark.parametrize("mode", ["EncryptedManifest", "EncryptedOnly", "SignedManifest", "NoUpload"])
def test_explicit_secrets_are_never_in_clear(sealer: Sealer, name: str, mode: str) -> None:
    """A given value is ciphertext, or wrapped as a secret: nowhere else in what goes to state and chart."""
    outs = sealer.create(sealer.inputs(mode, policy=policy(name)))

    def bare(tree: Any) -> str:
        if isinstance(tree, dict):
            return "" if SECRET_MARK in tree else "".join(bare(value) for value in tree.values())
        return str(tree)

    assert PLANTED not in bare(outs)


def test_files_are_private_and_go_with_the_resource(sealer: Sealer, name: str) -> None:
    """A policy in clear is written for its owner only, and removed when the resource goes."""
    file = ".pulumi-scone/policies/cas/acme.yaml"
    outs = sealer.create(sealer.inputs("NoUpload", policy=policy(name), file=file))
    path = sealer.home / file
    assert PLANTED in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (sealer.home / ".pulumi-scone" / ".gitignore").read_text() == "*\n"
    sealer.process.delete(SealedPolicyProvider, name, _plain(outs))
    assert not path.exists()


def test_foreign_version_is_not_sealed_over(sealer: Sealer, name: str) -> None:
    """Somebody else's version stops the update and is shown by path, without values; so does a name that is taken."""
    first = sealer.create(sealer.inputs("EncryptedManifest", policy=policy(name)))
    sealer.upload(first)
    held = sealer.client.read(name)
    assert held is not None
    sealer.client.upload(
        f'name: {name}\nversion: "0.3.12"\npredecessor: {held.hash}\nsecrets: [{{name: theirs, kind: ascii}}]\n'
    )
    with pytest.raises(grpc.RpcError, match=r"secrets\.theirs") as caught:
        sealer.update(first, sealer.inputs("EncryptedManifest", policy=policy(name, "mine")))
    assert PLANTED not in str(caught.value)
    with pytest.raises(grpc.RpcError, match="does not say that a resource of this stack made it"):
        sealer.create(sealer.inputs("EncryptedManifest", policy=policy(name)))
    adopted = sealer.create(sealer.inputs("EncryptedManifest", policy=policy(name), adopt=True))
    sealer.upload(adopted)


def test_version_that_nobody_uploaded_is_replaced(sealer: Sealer, name: str) -> None:
    """A document that never got to CAS has no successor: the next one replaces what CAS has, which is nothing."""
    first = sealer.create(sealer.inputs("EncryptedManifest", policy=policy(name)))
    second = sealer.update(first, sealer.inputs("EncryptedManifest", policy=policy(name, "newer")))
    assert second["predecessor"] == ""
    sealer.upload(second)


@pytest.mark.parametrize("mode", ["EncryptedManifest", "SignedManifest", "NoUpload", "EncryptedOnly"])
def test_another_way_to_trust_the_same_cas_seals_nothing(sealer: Sealer, cas: RealCas, name: str, mode: str) -> None:
    """A pin or another switch leaves the document as it is, in its file too: whoever uploads it again loses keys."""
    switches = dict.fromkeys(ENOUGH.split(), True)
    trust = {"url": "cas.test", "tolerance": switches}
    file = f".pulumi-scone/policies/{mode}.yaml"
    first = sealer.create(sealer.inputs(mode, policy=policy(name), file=file))
    written = (sealer.home / file).read_text()
    for change in ({"key": cas.key_hash}, {"tolerance": {**switches, "-C": True}}):
        moved = f"{file}.moved"
        second = sealer.update(first, sealer.inputs(mode, policy=policy(name), file=moved, cas={**trust, **change}))
        assert second["document"] == first["document"]
        assert second["predecessor"] == first["predecessor"]
        assert (sealer.home / moved).read_text() == written
        assert not (sealer.home / file).exists()
        first = sealer.update(second, sealer.inputs(mode, policy=policy(name), file=file))
    assert sealer.update(first, sealer.inputs(mode, policy=policy(name, "new")))["document"] != first["document"]


def test_wrong_recipient_is_refused(sealer: Sealer, name: str) -> None:
    """A session encryption key that the attested CAS does not have is an error that names both."""
    inputs = sealer.inputs("EncryptedManifest", policy=policy(name), recipient="ab" * 32)
    with pytest.raises(grpc.RpcError, match="session encryption key"):
        sealer.create(inputs)


def test_unfit_signing_key_is_refused(cas: RealCas, ann: Identity, name: str, tmp_path: Path) -> None:
    """A P-256 key cannot sign sessions; the error says which settings take one that can, and no key."""
    pem = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with started(tmp_path) as process:
        process.configure({**config(cas, ann), "scone:sessionSigningKey": pem})
        sealer = Sealer(process, cas, ann, tmp_path)
        with pytest.raises(grpc.RpcError, match="neither Ed25519 nor P-384") as caught:
            sealer.create(sealer.inputs("SignedManifest", policy=policy(name)))
    assert pem.splitlines()[1] not in str(caught.value)


def test_modes_that_do_not_seal(sealer: Sealer, name: str) -> None:
    """Upload is no way of sealing; an unknown mode is refused in words, in preview already."""
    for mode in ("Upload", "Maybe"):
        _, failures = sealer.process.check(
            SealedPolicyProvider, {"cas": {"url": "cas.test"}, "policy": policy(name), "mode": mode}
        )
        assert failures
        assert failures[0][1].startswith("mode: ")


def test_refresh_keeps_the_document(sealer: Sealer, name: str) -> None:
    """A refresh makes nothing anew, and wraps again what must not be read."""
    outs = sealer.create(sealer.inputs("SignedManifest", policy=policy(name)))
    _, read, _ = sealer.process.read(SealedPolicyProvider, name, _plain(outs))
    assert read["document"] == outs["document"]
    assert SECRET_MARK in read["policy"]["secrets"]["given"]["value"]
