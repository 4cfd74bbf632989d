"""The bare answer that `bench/attest.py` measures against: one signature check, one key exchange, the same sizes."""

import base64
import hashlib
import json
import os
import socket
import sys
import threading
import time
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from scone_cas.identity.cas_identity import CasIdentity
from scone_cas.server import enclave_port

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
ANSWER = json.dumps(
    {
        "protocol": 1,
        "config_id": "bench/main",
        "arguments": ["prog", "x" * 24],
        "environment": {"GREETING": "hello"},
        "working_directory": None,
        "protection": None,
        "files": [],
    }
).encode()


async def app(scope: enclave_port.Message, receive: enclave_port.Receive, send: enclave_port.Send) -> None:
    """Answer either step of an attestation, believing everything that is rightly signed."""
    if scope["type"] != "http":
        return
    parts = bytearray()
    while True:
        message = await receive()
        parts += message.get("body", b"")
        if not message.get("more_body", False):
            break
    answer = challenge() if scope["path"].endswith("challenge") else attest(bytes(parts))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def challenge() -> bytes:
    """Thirty-two bytes that nobody remembers."""
    content = {"protocol": 1, "challenge": base64.b64encode(os.urandom(32)).decode(), "expires_in": 60}
    return json.dumps(content).encode()


def attest(request: bytes) -> bytes:
    """The one answer, sealed to the key in the evidence, whose signature is checked."""
    evidence = json.loads(request)["evidence"]
    body = base64.b64decode(evidence["body"])
    claims = json.loads(body)
    quoting = Ed25519PublicKey.from_public_bytes(base64.b64decode(claims["quoting_key"]))
    quoting.verify(base64.b64decode(evidence["signature"]), b"pulumi-scone evidence v1\0" + body)
    info = b"pulumi-scone answer v1\0" + hashlib.sha256(body).digest()
    public = X25519PublicKey.from_public_bytes(base64.b64decode(claims["public_key"]))
    return json.dumps({"sealed": base64.b64encode(SUITE.encrypt(ANSWER, public, info)).decode()}).encode()


def tell(port: int) -> None:
    """Say where it serves, once it does."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
            continue
        sys.stderr.write(f"bare serving enclave=127.0.0.1:{port} \n")
        return


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free: int = probe.getsockname()[1]
    threading.Thread(target=tell, args=(free,), daemon=True).start()
    identity = CasIdentity.create(now=datetime.now(UTC))
    enclave_port.server(identity.tls, host="127.0.0.1", port=free, workers=2).serve(target_loader=lambda _target: app)
