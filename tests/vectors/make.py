"""Golden vectors of docs/image-format.md and docs/enclave-protocol.md, computed apart from the code that they test.

    python tests/vectors/make.py            says whether image.json and enclave.json are what the documents demand
    python tests/vectors/make.py --write    writes them anew (the sealed answer too, which is random by nature)

Only the `cryptography` package is used and nothing of this project, so that a mistake in the builder, the launcher or
the CAS cannot hide behind the same mistake here. All keys are fixed and worthless.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import struct
import sys
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import NameOID

HERE = pathlib.Path(__file__).resolve().parent
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
IMAGE_KEY = bytes(range(32))
IDENTITY = "team/python_hello_user"


def canonical(value: object) -> str:
    """Canonical JSON of docs/image-format.md."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def derive(purpose: str, *, identity: str = IDENTITY) -> bytes:
    info = b"pulumi-scone image v1\x00" + identity.encode() + b"\x00" + purpose.encode()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(IMAGE_KEY)


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def seal(label: bytes, plaintext: bytes) -> bytes:
    nonce = mac(derive("nonces"), struct.pack(">Q", len(label)) + label + plaintext)[:12]
    return nonce + AESGCM(derive("encryption")).encrypt(nonce, plaintext, label)


def file_label(path: str, mode: int) -> bytes:
    return b"file\x00" + path.encode() + b"\x00" + f"{mode:04o}".encode()


def blob_name(path: str) -> str:
    return mac(derive("names"), path.encode()).hex()[:32]


def injected_name(path: str) -> str:
    return "files/" + sha256(path.encode())[:32]


def measurement(inputs: dict[str, str]) -> dict[str, object]:
    text = canonical({"format": "pulumi-scone measurement v1", **inputs})
    return {"inputs": inputs, "canonical": text, "measurement": sha256(text.encode())}


def image_vectors() -> dict[str, object]:
    """Everything of docs/image-format.md that two programs must agree on to the bit."""
    samples: tuple[object, ...] = (
        {"b": 1, "a": [True, None, -3], "\U0001d11e": "", "\uffff": "", "é": 'tab\t quote" back\\ slash/'},
        {"": "\u0000\u0001\u001f\u007f\u0080\u2028\u2029<>&\b\f\n\r"},
        [],
        {},
    )
    launcher, program, loader = b"the launcher's bytes", b"the interpreter's bytes", b"the loader's bytes"
    sources = {
        "/python/print_env.py": (0o644, b'print("Hello")\n'),
        "/python/bin/run": (0o755, b"#!/bin/sh\nexec python3 print_env.py\n"),
        "/python/empty": (0o644, b""),
        "/python/grüße-日本-𝄞.txt": (0o640, "Grüße\n".encode()),
    }
    files = []
    tree: dict[str, list[object]] = {"bin": ["d", 0o755, 0, ""], "latest": ["l", 0, 0, "print_env.py"]}
    for path, (mode, content) in sources.items():
        sealed = seal(file_label(path, mode), content)
        files.append(
            {
                "path": path,
                "mode": mode,
                "plaintext": b64(content),
                "label": file_label(path, mode).hex(),
                "nonce": sealed[:12].hex(),
                "sealed": b64(sealed),
                "blob_name": blob_name(path),
                "blob_sha256": sha256(sealed),
                "fingerprint": mac(derive("fingerprints"), content).hex(),
            }
        )
        tree[path.removeprefix("/python/")] = [
            "f",
            mode,
            len(content),
            sha256(content),
            blob_name(path),
            sha256(sealed),
        ]
    base = canonical(
        {
            "version": 1,
            "entries": {
                "/": ["d", 0o755, 0, ""],
                "/data": ["d", 0o755, 0, ""],
                "/etc": ["d", 0o755, 0, ""],
                "/etc/motd-ünï\u2028": ["f", 0o644, 4, sha256(b"hey\n")],
                "/lib64": ["l", 0, 0, "usr/lib64"],
                "/usr": ["d", 0o755, 0, ""],
                "/usr/bin": ["d", 0o755, 0, ""],
                "/usr/bin/python3": ["l", 0, 0, "python3.11"],
                "/usr/bin/python3.11": ["f", 0o755, len(program), sha256(program)],
                "/usr/lib64": ["d", 0o755, 0, ""],
                "/usr/lib64/ld-linux-x86-64.so.2": ["f", 0o755, len(loader), sha256(loader)],
                "/var": ["d", 0o755, 0, ""],
                "/var/queue": ["o", 0o600, 0, ""],
            },
        }
    )
    configuration = canonical({"version": 1, "program": "/usr/bin/python3.11", "loader": "/lib64/ld-linux-x86-64.so.2"})
    service = canonical(
        {
            "version": 1,
            "base": sha256(base.encode()),
            "launcher": sha256(launcher),
            "configuration": sha256(configuration.encode()),
            "entries": {
                "/python": ["d", 0o755, 0, ""],
                "/tls": ["d", 0o755, 0, ""],
                "/tls/client.crt": ["l", 0, 0, "/.scone/memory/" + injected_name("/tls/client.crt")],
            },
            "encrypted": {"/python": {"mode": 0o755, "entries": tree}},
            "injected": {"/tls/client.crt": injected_name("/tls/client.crt")},
            "volumes": ["/data"],
            "unprotected": ["/var/log/app"],
        }
    )
    root = seal(b"root", service.encode())
    usual = {
        "launcher": sha256(launcher),
        "program": sha256(program),
        "loader": sha256(loader),
        "heap": "760M",
        "stack": "",
        "dlopen": "0",
    }
    return {
        "format": "docs/image-format.md, version 1",
        "image_key": IMAGE_KEY.hex(),
        "identity": IDENTITY,
        "keys": {purpose: derive(purpose).hex() for purpose in ("encryption", "nonces", "names", "fingerprints")},
        "keys_of_another_identity": {
            "identity": "größe/x",
            "encryption": derive("encryption", identity="größe/x").hex(),
        },
        "canonical": [{"value": value, "text": canonical(value)} for value in samples],
        "files": files,
        "base_json": base,
        "base_sha256": sha256(base.encode()),
        "launcher_json": configuration,
        "launcher_json_sha256": sha256(configuration.encode()),
        "launcher_json_with_pin": canonical(
            {"version": 1, "program": "/bin/app", "loader": "", "cas_key": key_hash(hashlib.sha256(b"spki").digest())}
        ),
        "injected": {"path": "/tls/client.crt", "name": injected_name("/tls/client.crt")},
        "service_plaintext": service,
        "service_sealed": b64(root),
        "fspf_tag": sha256(root)[:32],
        "fspf_key": derive("encryption").hex(),
        "measurements": [
            measurement(usual),
            measurement({**usual, "loader": "", "stack": "8M", "dlopen": "1"}),
            measurement({**usual, "heap": 'ü\u2028<&>"\\\t\u0001'}),
        ],
    }


def key_hash(digest: bytes, *, version: int = 1) -> str:
    """Base58Check of a certificate key hash: version byte, 32 bytes, four bytes of double SHA-256."""
    payload = bytes([version]) + digest
    payload += hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(payload, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(payload) - len(payload.lstrip(b"\0"))) + text


def raw_public(key: ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def key_hash_vector(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> dict[str, str]:
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha256(spki).digest()
    return {"spki": b64(spki), "sha256": digest.hex(), "key_hash": key_hash(digest)}


def tls_vectors() -> list[dict[str, object]]:
    """TLS certificates of a CAS (docs/cas-attestation.md): the key hash that each stands for, null where it fails."""
    identity, tls, other = (ec.derive_private_key(number, ec.SECP256R1()) for number in (0xC0FFEE, 0x715, 0x0BAD))
    p384 = ec.derive_private_key(0x384, ec.SECP384R1())
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    name, days = tls_name(identity), timedelta(days=398)
    own = key_hash_vector(tls)["key_hash"]
    vouched = key_hash_vector(identity)["key_hash"]

    def vector(
        what: str,
        expected: str | None,
        *,
        names: tuple[str, ...] = (name,),
        signer: ec.EllipticCurvePrivateKey = identity,
        digest: hashes.SHA256 | hashes.SHA384 = hashes.SHA256(),  # noqa: B008 - never changed
        ca: bool | None = False,
        at: datetime = begin,
    ) -> dict[str, object]:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cas")])
        uris = [x509.UniformResourceIdentifier(text) for text in names]
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).serial_number(7)
        builder = builder.public_key(tls.public_key()).not_valid_before(begin).not_valid_after(begin + days)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("cas"), *uris]), critical=False)
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        certificate = builder.sign(signer, digest, ecdsa_deterministic=True)
        der = certificate.public_bytes(serialization.Encoding.DER)
        return {"what": what, "certificate": b64(der), "at": int(at.timestamp()), "key_hash": expected}

    return [
        vector("a key of its own", own, names=(), signer=tls),
        vector("another URI is nothing to us", own, names=("https://cas.example/",), signer=tls),
        vector("signed by another, who is not named", own, names=()),
        vector("an identity vouches for it", vouched),
        vector("up to its last second", vouched, at=begin + days),
        vector("over", None, at=begin + days + timedelta(seconds=1)),
        vector("not yet", None, at=begin - timedelta(seconds=1)),
        vector("signed by another than is named", None, signer=other),
        vector("signed by itself", None, signer=tls),
        vector("another digest", None, digest=hashes.SHA384()),
        vector("a CA", None, ca=True),
        vector("perhaps a CA", None, ca=None),
        vector("two identities", None, names=(name, tls_name(other))),
        vector("the same identity twice", None, names=(name, name)),
        vector("an identity on another curve", None, names=(tls_name(p384),), signer=p384),
        vector("no key", None, names=("pulumi-scone:tls-of:",)),
        vector("base64 of something", None, names=("pulumi-scone:tls-of:AAAA",)),
        vector("padding", None, names=(name + "=",)),
        vector("more after the key", None, names=(name + "A" * 300,)),
    ]


def tls_name(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "pulumi-scone:tls-of:" + base64.urlsafe_b64encode(der).decode().rstrip("=")


def enclave_vectors(stored_sealed: str | None) -> dict[str, object]:
    """Everything of docs/enclave-protocol.md that two programs must agree on to the bit."""
    quoting = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
    recipient = x25519.X25519PrivateKey.from_private_bytes(bytes(range(100, 132)))
    challenge = bytes(range(200, 232))
    body = json.dumps(
        {
            "format": "scone-simulated-1",
            "debug": True,
            "challenge": b64(challenge),
            "config_id": "hello/service-1/python_hello_user",
            "measurement": sha256(b"measured"),
            "public_key": b64(raw_public(recipient)),
            "quoting_key": b64(raw_public(quoting)),
            "host_arguments": ["first", "zweites ü"],
            "host_environment": {"HOSTNAME": "pod-1", "PATH": "/usr/bin:/bin"},
        },
        ensure_ascii=False,
    ).encode()
    signature = quoting.sign(b"pulumi-scone evidence v1\x00" + body)
    info = b"pulumi-scone answer v1\x00" + hashlib.sha256(body).digest()
    answer = json.dumps(
        {
            "protocol": 1,
            "config_id": "hello/service-1/python_hello_user",
            "arguments": ["python3", "print_env.py"],
            "environment": {"API_USER": "myself", "GREETING": "Grüße"},
            "working_directory": "/python",
            "protection": {"key": derive("encryption").hex(), "tag": sha256(b"a sealed root")[:32]},
            "files": [{"path": "/tls/client.crt", "content": b64(b"-----BEGIN\x00\xff"), "mode": 0o700}],
        },
        ensure_ascii=False,
    ).encode()
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    sealed = stored_sealed or b64(suite.encrypt(answer, recipient.public_key(), info))
    try:
        opened = suite.decrypt(base64.b64decode(sealed), recipient, info)
    except (InvalidTag, ValueError):
        opened = b""
    return {
        "format": "docs/enclave-protocol.md, version 1",
        "key_hashes": [
            key_hash_vector(ec.derive_private_key(0xC0FFEE, ec.SECP256R1())),
            key_hash_vector(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)),
        ],
        "key_hash_of_zeros": key_hash(bytes(32)),
        "bad_key_hashes": [
            "",
            "0OIl",
            key_hash(bytes(32))[:-1] + ("1" if not key_hash(bytes(32)).endswith("1") else "2"),
            key_hash(bytes(32), version=10),
            key_hash(bytes(31)),
            "1" + key_hash(bytes(32)),
        ],
        "tls_certificates": tls_vectors(),
        "evidence": {
            "quoting_private_key": (bytes([7]) * 32).hex(),
            "challenge": b64(challenge),
            "body": b64(body),
            "body_sha256": sha256(body),
            "signature": b64(signature),
            "request": {"evidence": {"body": b64(body), "signature": b64(signature), "countersignatures": []}},
        },
        "answer": {
            "recipient_private_key": bytes(range(100, 132)).hex(),
            "info": info.hex(),
            "sealed": sealed,
            "plaintext": answer.decode() if opened == answer else "the stored sealed answer does not open",
        },
    }


def main() -> int:
    write = sys.argv[1:] == ["--write"]
    if sys.argv[1:] and not write:
        sys.stderr.write(__doc__)
        return 2
    enclave = HERE / "enclave.json"
    stored = None if write else json.loads(enclave.read_text(encoding="utf-8"))["answer"]["sealed"]
    wrong = []
    for path, vectors in ((HERE / "image.json", image_vectors()), (enclave, enclave_vectors(stored))):
        text = json.dumps(vectors, indent=1, ensure_ascii=True) + "\n"
        if write:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            wrong.append(path.name)
    if wrong:
        sys.stderr.write(f"not what the documents demand: {', '.join(wrong)} (see --write)\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
