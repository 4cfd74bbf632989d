"""TLS that is pinned to one key: no connection gets a single byte of a request before its peer has proven that key."""

import hmac
import secrets
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from scone_policy.keys.cas_certificate import cas_key_hash, is_vouched_for
from scone_provider.cas.address import CasAddress
from scone_provider.cas.identity import Identity
from scone_provider.deadline import Deadline, TimedTlsSocket
from scone_provider.errors import TrustError
from scone_provider.file_errors import file_errors

if TYPE_CHECKING:
    import httpx

CONNECT_TIME = 5.0
READ_TIME = 30.0
_CONNECTIONS = 8
_KEPT_CONNECTIONS = 4

_clients: "dict[tuple[str, int, bytes, str | None], httpx.Client]" = {}
_lock = threading.Lock()


class PinnedContext(ssl.SSLContext):
    """A client context whose every connection is checked against the key hash of one CAS right after the handshake."""

    pinned: str | None = None

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:  # noqa: ANN401 - as the base class
        """Connect, then compare. Raises TrustError when the peer has another key."""
        secured = super().wrap_socket(*args, **kwargs)
        found = peer_key_hash(secured)
        if self.pinned is None or not hmac.compare_digest(found, self.pinned):
            secured.close()
            raise TrustError(f"the CAS answers with another key ({found}) than the attested one ({self.pinned})")
        return secured


def peer_certificate(secured: ssl.SSLSocket) -> x509.Certificate:
    """The certificate whose key the peer has proven to hold. Raises TrustError when it cannot be read."""
    found = secured.getpeercert(binary_form=True)
    if found is None:
        raise TrustError("the CAS presented no certificate")
    try:
        return x509.load_der_x509_certificate(found)
    except (ValueError, x509.InvalidVersion):
        raise TrustError("the certificate of the CAS cannot be read") from None


def peer_key_hash(secured: ssl.SSLSocket) -> str:
    """The key hash of the CAS that the peer has proven to be. Raises TrustError like `key_hash_of`."""
    return key_hash_of(peer_certificate(secured))


def key_hash_of(certificate: x509.Certificate) -> str:
    """The key hash of the CAS with that TLS certificate: of its own key, or of the identity that vouches for it.

    Raises TrustError when that identity does not, or not now.
    """
    try:
        return cas_key_hash(certificate, now=datetime.now(UTC))
    except ValueError as problem:
        raise TrustError(f"the certificate of the CAS {problem}") from None


@contextmanager
def unverified(address: CasAddress) -> Iterator[ssl.SSLSocket]:
    """A connection to whoever answers, for looking at its key and asking for evidence. It carries nothing of ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = TimedTlsSocket
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # this is where the key is found out; everything else uses PinnedContext
    with (
        socket.create_connection((address.host, address.port), CONNECT_TIME) as raw,
        context.wrap_socket(raw, server_hostname="cas") as secured,
    ):
        secured.settimeout(READ_TIME)
        # For all of it: nobody is trusted yet, and every byte that drips in would begin a new time-out.
        with Deadline(READ_TIME).applied():
            yield secured


def shared_client(address: CasAddress, certificate: x509.Certificate, identity: Identity | None) -> "httpx.Client":
    """The one HTTP client of this process for this CAS, key and identity. Safe for threads."""
    import httpx  # noqa: PLC0415 - a preview asks no CAS, and would wait for this import

    key_hash = key_hash_of(certificate)
    exact = certificate.fingerprint(hashes.SHA256())
    place = (address.host, address.port, exact, identity.key_hash if identity else None)
    with _lock:
        if place not in _clients:
            _clients[place] = httpx.Client(
                base_url=address.base,
                verify=_context(certificate, key_hash, identity),
                timeout=httpx.Timeout(READ_TIME, connect=CONNECT_TIME),
                limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_KEPT_CONNECTIONS),
                trust_env=False,
                follow_redirects=False,
            )
        return _clients[place]


def close_clients() -> None:
    """Close all clients, for the end of a process or a test."""
    with _lock:
        for client in _clients.values():
            client.close()
        _clients.clear()


def _context(certificate: x509.Certificate, key_hash: str, identity: Identity | None) -> ssl.SSLContext:
    context = PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.pinned = key_hash
    context.sslsocket_class = TimedTlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Host names never match the certificate of a CAS (`cas`): the key is what counts, and it is compared.
    context.check_hostname = False
    if is_vouched_for(certificate):
        # The CAS has another such key after each start: what its identity vouches for is judged on every connection.
        context.verify_mode = ssl.CERT_NONE
    else:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=certificate.public_bytes(Encoding.PEM).decode())
    if identity is not None:
        _load_identity(context, identity)
    return context


def _load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Python reads keys from files only: a private one, for a moment, with the key encrypted in it."""
    password = secrets.token_urlsafe(32)
    key = load_pem_private_key(identity.private_key_pem.encode(), password=None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))
    with (
        file_errors("the identity cannot be handed to TLS", where=tempfile.gettempdir()),
        tempfile.NamedTemporaryFile(prefix="scone-", suffix=".pem") as file,
    ):
        file.write(pem + identity.certificate_pem.encode())
        file.flush()
        context.load_cert_chain(file.name, password=password)
