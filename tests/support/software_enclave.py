"""The launcher's side of the enclave protocol, written a second time for tests: every field can be made wrong."""

import base64
import hashlib
import hmac
import http.client
import json
import ssl
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MEASUREMENT = "ab" * 32

Post = Callable[[str, object], tuple[int, dict[str, Any]]]


class SoftwareEnclave:
    """One attestation: `request` makes its body, `open` reads the answer."""

    def __init__(self) -> None:
        self.exchange_key = X25519PrivateKey.generate()
        self.quoting_key = Ed25519PrivateKey.generate()
        self.body = b""

    def claims(self, challenge: str, config_id: str, **changes: object) -> dict[str, object]:
        """What the evidence says; `changes` replace keys, None removes them."""
        claims: dict[str, object] = {
            "format": "scone-simulated-1",
            "debug": True,
            "challenge": challenge,
            "config_id": config_id,
            "measurement": MEASUREMENT,
            "public_key": encode(raw(self.exchange_key)),
            "quoting_key": encode(raw(self.quoting_key)),
            "host_arguments": [],
            "host_environment": {},
        } | changes
        return {key: value for key, value in claims.items() if value is not None}

    def request(self, challenge: str, config_id: str, **changes: object) -> dict[str, Any]:
        """The body of an attest request, rightly signed."""
        return self.sign(json.dumps(self.claims(challenge, config_id, **changes)).encode())

    def sign(self, body: bytes) -> dict[str, Any]:
        """A rightly signed request with this body."""
        self.body = body
        signature = self.quoting_key.sign(b"pulumi-scone evidence v1\0" + body)
        return {"evidence": {"body": encode(body), "signature": encode(signature), "countersignatures": []}}

    def open(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The configuration in an answer."""
        info = b"pulumi-scone answer v1\0" + hashlib.sha256(self.body).digest()
        suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
        plaintext = suite.decrypt(base64.b64decode(answer["sealed"]), self.exchange_key, info)
        opened: dict[str, Any] = json.loads(plaintext)
        return opened


class Lease:
    """What an enclave says after it was attested; `post` carries it, `lease` is the answer's."""

    def __init__(self, post: Post, lease: dict[str, Any]) -> None:
        self._post, self.id = post, lease["id"]
        self.key = base64.b64decode(lease["key"])
        self.number = 0

    def message(self, what: str, body: dict[str, object]) -> dict[str, Any]:
        """A request under the lease, for the route that ends in `what`."""
        return self.signed(what, json.dumps(body).encode())

    def signed(self, what: str, body: bytes) -> dict[str, Any]:
        """The same with any bytes in it."""
        said = b"pulumi-scone lease request v1\0" + f"/v1/enclave/{what}".encode() + b"\0" + body
        return {"lease": self.id, "body": encode(body), "mac": encode(hmac.digest(self.key, said, "sha256"))}

    def say(self, what: str, **keys: object) -> tuple[int, dict[str, Any]]:
        """Status and answer, whose mac is right; or the refusal."""
        self.number += 1
        request = self.message(what, {"number": self.number, **keys})
        status, answer = self._post(f"/v1/enclave/{what}", request)
        if status != 200:
            return status, answer["error"]
        body = base64.b64decode(answer["body"])
        asked = hashlib.sha256(base64.b64decode(request["body"])).digest()
        mac = hmac.digest(self.key, b"pulumi-scone lease answer v1\0" + asked + body, "sha256")
        assert hmac.compare_digest(mac, base64.b64decode(answer["mac"]))
        found: dict[str, Any] = json.loads(body)
        assert found.pop("number") == self.number
        return status, found

    def tag(self, tag: str, *, replaces: str | None, volume: str | None = None) -> str:
        """Replace a tag: "kept", or the code of the refusal."""
        status, found = self.say("tag", tag=tag, replaces=replaces, volume=volume)
        return "kept" if status == 200 else str(found["code"])


class EnclavePort:
    """A TLS client of an enclave port that trusts whoever answers (the pin is the launcher's affair)."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def post(self, path: str, body: object) -> tuple[int, dict[str, Any]]:
        """Status and JSON answer; `body` is bytes, or a value to be written as JSON."""
        connection = http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=20)
        try:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def challenge(self) -> str:
        """A fresh challenge, base64."""
        status, answer = self.post("/v1/enclave/challenge", {"protocol": 1})
        assert status == 200, answer
        return str(answer["challenge"])

    def attest(self, config_id: str, **changes: object) -> tuple[int, dict[str, Any]]:
        """Both steps: 200 and the opened configuration, or the refusal."""
        enclave = SoftwareEnclave()
        status, answer = self.post("/v1/enclave/attest", enclave.request(self.challenge(), config_id, **changes))
        return (status, enclave.open(answer)) if status == 200 else (status, answer["error"])


def encode(value: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(value).decode()


def raw(key: Any) -> bytes:
    """The raw public key, 32 bytes."""
    return bytes(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
