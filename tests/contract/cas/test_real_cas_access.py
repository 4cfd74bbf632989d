"""Signed and encrypted uploads, listing and public hashes over real TLS, as clients of the field send them."""

import json
import secrets
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from scone_policy.sealed.encrypted import LARGEST_TEXT, encrypt_session
from scone_policy.sealed.signed import sign_session
from scone_policy.syntax.yaml_source import MAX_BYTES
from scone_provider.cas.identity import Identity
from scone_provider.errors import TrustError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def text(name: str) -> str:
    """A minimal description."""
    return f"name: {name}\nversion: '0.3.12'\n"


def requests_of(client) -> httpx.Client:
    """The HTTP client below, pinned to the CAS's key."""
    return client._http


def test_session_encryption_key(cas, ann, name) -> None:
    """The client takes the key from evidence, whether CAS was pinned or not; what is encrypted to it is taken."""
    client = cas.client(ann)
    key = client.session_encryption_key()
    assert cas.client(ann, cas_key=cas.key_hash).session_encryption_key(pinned=key.hex().upper()) == key
    document = encrypt_session(text(name), recipient=key, seed=secrets.token_bytes(32))
    answer = requests_of(client).put("/v1/encrypted_sessions", content=json.dumps(document))
    assert answer.status_code == 201, answer.text
    found = client.read(name)
    assert found is not None
    assert found.hash in answer.text


def padded(description: str, size: int) -> str:
    """The description, with a comment of as much as is missing."""
    return description + "#" * (size - len(description))


def test_the_largest_that_can_be_sealed_is_taken(cas, ann, name) -> None:
    """What signing and encrypting let pass fits into a request, to the byte; so does the largest plain session."""
    client, key = cas.client(ann), Ed25519PrivateKey.generate()
    encrypted = encrypt_session(
        padded(text(f"{name}-e"), LARGEST_TEXT), recipient=client.session_encryption_key(), seed=secrets.token_bytes(32)
    )
    http = requests_of(client)
    assert http.put("/v1/encrypted_sessions", content=json.dumps(encrypted, indent=1)).status_code == 201
    room = MAX_BYTES - len(json.dumps(sign_session(text(f"{name}-s"), keys=[key]), indent=1)) - 1
    signed = sign_session(padded(text(f"{name}-s"), len(text(f"{name}-s")) + room), keys=[key])
    assert http.post("/session", content=json.dumps(signed, indent=1)).status_code == 201
    assert http.post("/session", content=padded(text(f"{name}-p"), MAX_BYTES)).status_code == 201
    assert http.post("/session", content=padded(text(f"{name}-q"), MAX_BYTES + 1)).status_code == 413


@pytest.mark.parametrize("pinned", [True, False])
def test_another_session_encryption_key_is_an_error(cas, ann, pinned: bool) -> None:  # noqa: FBT001
    """A Meshfile that pins another key than the evidence names is not followed; both keys are named."""
    client = cas.client(ann, cas_key=cas.key_hash if pinned else None)
    with pytest.raises(TrustError, match=f"{client.session_encryption_key().hex()}, but {'ab' * 32} is pinned"):
        client.session_encryption_key(pinned="ab" * 32)


def certificate(key: Ed25519PrivateKey) -> x509.Certificate:
    """A self-signed certificate."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=36500))
    return builder.sign(key, None)


def test_signer_reads_with_its_key(cas, ann, name) -> None:
    """Who signed a session is its creator: a TLS certificate with that key reads it; who carried it does not."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    signer = Identity.parse((private + certificate(key).public_bytes(Encoding.PEM)).decode())
    document = sign_session(text(name), keys=[key])
    answer = requests_of(cas.client(ann)).post("/session", json=document)
    assert answer.status_code == 201, answer.text
    assert requests_of(cas.client(ann)).get(f"/session/{name}").status_code == 403
    found = cas.client(signer).read(name)
    assert found is not None
    assert "signer:" in found.description_yaml


def test_root_listing_and_hashes(cas, ann, bob, name) -> None:
    """The root with its slash, a page of names and a public hash come through the real port."""
    client = requests_of(cas.client(ann))
    cas.client(ann).upload(text(name))
    hash_ = cas.client(ann).upload(text(f"{name}/x") + "salt: '00112233445566778899aabbccddeeff'\n")
    assert cas.client(ann).read("/") is not None
    assert client.get("/v1/sessions", params={"namespace": name}).json() == {"sessions": [f"{name}/x"], "next": None}
    other = requests_of(cas.client(bob))
    assert other.get("/v1/sessions", params={"namespace": name}).status_code == 403
    assert other.get(f"/v1/session_hashes/{name}/x").json() == {"hash": hash_}
    assert other.get(f"/v1/session_hashes/{name}").status_code == 403
