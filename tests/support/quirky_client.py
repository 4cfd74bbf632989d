"""The real client of registries, logged in, and the quirky registry that it talks to under names of the tests."""

import datetime as dt
import ipaddress
import json
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3.util.connection
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scone_provider.image.oci.layers import Blob, bytes_blob
from scone_provider.image.oci.reference import Reference
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import OCI_MANIFEST
from support.quirky_registry import SECRETS, Quirks, QuirkyRegistry

HOST = "registry.example.test"
REALM = f"https://{HOST}/token"
BEARER = f'Bearer realm="{REALM}",service="{HOST}",scope="{{scope}}"'
BASIC = 'Basic realm="somewhere"'
AUTH = {"auth": SECRETS[2]}
BLOB = bytes_blob(bytes(range(256)) * 8192, media_type="application/octet-stream")  # 2 MiB
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []}).encode()
Play = Callable[..., "Client"]


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A certificate authority of the test's own, and a server context for any name below `.test`."""

    file: Path
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One self-signed certificate that is its own authority."""
    folder = tmp_path_factory.mktemp("authority")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registries of the test")])
    names = [
        HOST,
        "*.example.test",
        "*.elsewhere.test",
        "registry-1.docker.io",
        "auth.docker.io",
        "sso.other.test",
        f"{HOST}.elsewhere.test",
    ]
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    *(x509.DNSName(one) for one in names),
                    *(x509.IPAddress(ipaddress.ip_address(one)) for one in ("2001:db8::5", "127.0.0.1")),
                ]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return Authority(file=folder / "ca.pem", context=context)


@dataclass(frozen=True, kw_only=True)
class Client:
    """A registry client and the server that it talks to."""

    server: QuirkyRegistry
    registry: Registry
    reference: Reference

    def push(self, blob: Blob = BLOB) -> None:
        """All that a push does in the registry, and that what was pushed is there."""
        target = self.registry.target(self.reference)
        if not target.has_blob(blob.digest) and not target.mount(blob.digest, source="library/base"):
            target.upload(blob)
        digest = bytes_blob(MANIFEST, media_type=OCI_MANIFEST).digest
        assert target.manifest("1") is None
        target.put_manifest("1", MANIFEST, media_type=OCI_MANIFEST)
        reader = self.registry.reader(self.reference)
        found = reader.manifest("1")
        assert found is not None
        assert (found.digest, found.media_type) == (digest, OCI_MANIFEST)
        assert reader.has_manifest(digest)
        assert reader.has_blob(blob.digest)
        assert self.server.repositories[self.reference.repository].blobs[blob.digest] == b"".join(blob.read())

    def pull(self, path: Path, blob: Blob = BLOB) -> None:
        """The blob comes back."""
        with path.open("wb+") as file:
            self.registry.reader(self.reference).download(blob.digest, size=blob.size, into=file)

    def secrets_shown_to(self) -> set[str]:
        """Hosts that were sent a password, an identity token, or any authorization at all."""
        return {seen.host.partition(":")[0] for seen in self.server.seen if seen.authorization}


@pytest.fixture
def play(
    authority: Authority, tmp_path: Path, client: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Play]:
    """Starts a quirky registry and a client that is logged in; every address leads to it."""
    servers: list[QuirkyRegistry] = []
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))

    def play(
        quirks: Quirks, login: Mapping[str, Any] | None = None, *, host: str = HOST, name: str = "team/app", **more: Any
    ) -> Client:
        servers.append(QuirkyRegistry(quirks, authority.context))
        monkeypatch.setattr(urllib3.util.connection, "create_connection", servers[-1].connect)
        config = tmp_path / "config.json"
        config.write_text(json.dumps(login if login is not None else {"auths": {host: AUTH}}))
        registry = client(docker_config=config, **more)
        return Client(server=servers[-1], registry=registry, reference=Reference(host=host, repository=name, tag="1"))

    yield play
    for server in servers:
        server.stop()
