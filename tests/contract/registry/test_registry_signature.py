"""Signatures of images: where cosign looks for them, in its format, verified by another program."""

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scone_provider.errors import ImageError
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.publish.cosign import (
    delete_signature,
    parse_key,
    public_pem,
    push_signature,
    read_key,
    signature_tag,
    stack_key,
)
from scone_provider.image.registry.client import Registry
from support.real_registry import RealRegistry

DIGEST = "sha256:" + "ab" * 32
IMAGE_KEY = bytes(range(32))
Client = Callable[..., Registry]


def signatures(registry: Registry, reference: str) -> list[tuple[bytes, bytes]]:
    """Payload and signature of each that stands beside an image, as cosign reads them."""
    target = registry.target(parse_reference(reference))
    found = target.manifest(signature_tag(DIGEST))
    if found is None:
        return []
    manifest: Any = json.loads(found.data)
    read = []
    for layer in manifest["layers"]:
        assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
        file = Path("payload")
        with file.open("w+b") as opened:
            target.download(layer["digest"], size=layer["size"], into=opened)
        signature = base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"], validate=True)
        read.append((file.read_bytes(), signature))
    return read


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_openssl_verifies_what_was_signed(real_registry: RealRegistry, client: Client, folder: Path) -> None:
    """The payload names image and digest; its signature is good under the public key, by OpenSSL's judgement."""
    reference = f"{real_registry.host}/team/api@{DIGEST}"
    key = stack_key(IMAGE_KEY)
    assert push_signature(reference, key, registry=client())
    ((payload, signature),) = signatures(client(), reference)
    assert json.loads(payload) == {
        "critical": {
            "identity": {"docker-reference": f"{real_registry.host}/team/api"},
            "image": {"docker-manifest-digest": DIGEST},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    (folder / "public.pem").write_text(public_pem(key))
    (folder / "signature").write_bytes(signature)
    (folder / "signed").write_bytes(payload)
    command = ["openssl", "dgst", "-sha256", "-verify", "public.pem", "-signature", "signature"]
    assert subprocess.run([*command, "signed"], capture_output=True, check=False).returncode == 0
    (folder / "signed").write_bytes(payload.replace(b"ab", b"ac", 1))
    assert subprocess.run([*command, "signed"], capture_output=True, check=False).returncode != 0


def test_signing_again_changes_nothing_and_others_stay(real_registry: RealRegistry, client: Client) -> None:
    """The same key signs to the same bytes; a second key's signature joins the first."""
    reference = f"{real_registry.host}/team/api@{DIGEST}"
    assert push_signature(reference, stack_key(IMAGE_KEY), registry=client())
    before = signatures(client(), reference)
    assert not push_signature(reference, stack_key(IMAGE_KEY), registry=client())
    assert signatures(client(), reference) == before
    assert push_signature(reference, stack_key(b"x" * 32), registry=client())
    assert signatures(client(), reference)[:1] == before
    assert len(signatures(client(), reference)) == 2
    delete_signature(reference, registry=client())
    assert signatures(client(), reference) == []


def test_the_stacks_key_is_its_own() -> None:
    """Derived, so always the same for a stack, another for another one, and not the image key."""
    assert public_pem(stack_key(IMAGE_KEY)) == public_pem(stack_key(IMAGE_KEY))
    assert public_pem(stack_key(IMAGE_KEY)) != public_pem(stack_key(b"x" * 32))


def test_a_key_of_ones_own(folder: Path) -> None:
    """A PEM file, as OpenSSL makes it with the command that the error names."""
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem"],
        check=True,
        capture_output=True,
    )
    assert "BEGIN PUBLIC KEY" in public_pem(read_key(folder / "key.pem", where="m.yaml:3"))


def test_what_is_no_signing_key_is_refused(folder: Path) -> None:
    """Each with the place in the manifest and the way to make one; nothing of the file is shown."""
    for key in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(ImageError, match=r"m\.yaml:3: the key is not on the curve P-256"):
            parse_key(text, where="m.yaml:3")
    with pytest.raises(ImageError, match="no private key in PEM") as caught:
        parse_key(b"planted-8812", where="m.yaml:3")
    assert "planted" not in str(caught.value)
    with pytest.raises(ImageError, match=r"'gone\.pem' cannot be read"):
        read_key(folder / "gone.pem", where="m.yaml:3")
