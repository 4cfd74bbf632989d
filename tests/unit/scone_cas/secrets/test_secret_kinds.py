"""Every kind of secret, from the uploaded session to what an attested service receives."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
    pkcs12,
)

import scone_policy
from scone_cas.errors import Refusal
from scone_cas.sessions.descriptions import read_upload
from support.secret_session import received, secret_session
from support.software_enclave import MEASUREMENT

PRINTABLE = set(map(chr, range(33, 127)))


def pem(key: object, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """A private key as people give it."""
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()  # type: ignore[attr-defined]


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    """What the OpenSSL command prints."""
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout


def test_ascii(cas, person) -> None:
    """Exactly the size, of exactly the printable characters; the same wherever it is delivered, and the next time.

    So many characters that each of the 94 comes, but once in some 10^17 runs.
    """
    cas.upload(
        secret_session({"s": {"kind": "ascii", "size": 4096}}, ["s"], environment={"S": "$$SCONE::s$$"}), person("ann")
    )
    found = received(cas)["s"].decode()
    assert len(found) == 4096
    assert set(found) == PRINTABLE
    assert cas.attest("app/main")[1]["environment"] == {"S": found}


def test_binary(cas, person) -> None:
    """All seven suffixes and the old one spell the same bytes."""
    suffixes = ["", ":bin", ":hex", ":base64", ":base64url", ":base32", ":base32nopad", ".hex"]
    cas.upload(secret_session({"s": {"kind": "binary", "size": 33}}, [f"s{end}" for end in suffixes]), person("ann"))
    found = received(cas)
    raw = found["s"]
    assert len(raw) == 33
    assert found["s:bin"] == raw
    assert found["s:hex"].decode() == found["s.hex"].decode() == raw.hex()
    assert base64.b64decode(found["s:base64"]) == base64.urlsafe_b64decode(found["s:base64url"]) == raw
    assert base64.b32decode(found["s:base32"]) == raw
    assert found["s:base32"].rstrip(b"=") == found["s:base32nopad"]
    assert found["s:base32"].endswith(b"=")


KEYS = {
    "P-256": lambda key: isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1",
    "P-384": lambda key: isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp384r1",
    "Ed25519": lambda key: isinstance(key, Ed25519PrivateKey),
    "RSA-2048": lambda key: isinstance(key, rsa.RSAPrivateKey) and key.key_size == 2048,
    "RSA-3072": lambda key: isinstance(key, rsa.RSAPrivateKey) and key.key_size == 3072,
}


@pytest.mark.parametrize("key_type", [None, *KEYS])
def test_private_key(cas, person, key_type: str | None) -> None:
    """A key of the type asked for, in PKCS#8 as PEM and DER; public-key is its other half, and OpenSSL reads both."""
    secrets = {
        "key": {"kind": "private-key", **({"key_type": key_type} if key_type else {})},
        "public": {"kind": "public-key", "private_key": "key"},
    }
    forms = ["key", "key:pem", "key:pkcs8:pem", "key:der", "key:pkcs8:der", "public", "public:spki:pem"]
    cas.upload(secret_session(secrets, [*forms, "public:spki:der"]), person("ann"))
    found = received(cas)
    key = load_pem_private_key(found["key"], password=None)
    assert KEYS[key_type or "P-256"](key)
    assert found["key"] == found["key:pem"] == found["key:pkcs8:pem"]
    assert found["key"].startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert found["key:der"] == found["key:pkcs8:der"]
    assert pem(load_der_private_key(found["key:der"], password=None)).encode() == found["key"]
    assert found["public"] == found["public:spki:pem"]
    expected = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert found["public:spki:der"] == expected
    assert openssl("pkey", "-pubout", given=found["key"]) == found["public"]


def test_explicit_keys(cas, person) -> None:
    """Given keys are delivered as they are, and a public key follows from a given private key too."""
    key, other = ec.generate_private_key(ec.SECP256R1()), Ed25519PrivateKey.generate()
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    secrets = {
        "key": {"kind": "private-key", "value": pem(key)},
        "half": {"kind": "public-key", "private_key": "key"},
        "given": {"kind": "public-key", "value": public},
    }
    cas.upload(secret_session(secrets, ["key", "half:spki:der", "given"]), person("ann"))
    found = received(cas)
    assert found["key"].decode() == pem(key)
    assert load_der_public_key(found["half:spki:der"]) == key.public_key()
    assert found["given"].decode() == public


X509_FORMS = [
    "cert",
    "cert:crt",
    "cert:crt:pem",
    "cert:crt:der",
    "cert:privatekey",
    "cert:privatekey:pem",
    "cert:privatekey:der",
    "cert:privatekey:pkcs8:pem",
    "cert:privatekey:pkcs8:der",
    "cert:chain",
    "cert:pkcs12-with-private-key",
    "cert.crt",
    "cert.key",
    "cert.chain",
]
CHAIN = {
    "root-key": {"kind": "private-key", "key_type": "P-384"},
    "root": {"kind": "x509-ca", "private_key": "root-key", "common_name": "Root"},
    "middle-key": {"kind": "private-key", "key_type": "Ed25519"},
    "middle": {"kind": "x509-ca", "private_key": "middle-key", "issuer": "root"},
    "key": {"kind": "private-key"},
    "cert": {"kind": "x509", "private_key": "key", "issuer": "middle", "endpoint": "server", "dns": ["db.example"]},
}


def test_x509(cas, person) -> None:
    """All suffixes, the old dot forms included, spell one certificate, its key and the chain above it."""
    cas.upload(secret_session(CHAIN, [*X509_FORMS, "root", "middle", "key:der"]), person("ann"))
    found = received(cas)
    certificate = x509.load_pem_x509_certificate(found["cert"])
    assert found["cert"] == found["cert:crt"] == found["cert:crt:pem"] == found["cert.crt"]
    assert found["cert:crt:der"] == certificate.public_bytes(Encoding.DER)
    keys = [":privatekey", ":privatekey:pem", ":privatekey:pkcs8:pem", ".key"]
    assert {found[f"cert{end}"] for end in keys} == {found["cert:privatekey"]}
    assert found["cert:privatekey:der"] == found["cert:privatekey:pkcs8:der"] == found["key:der"]
    key = load_pem_private_key(found["cert:privatekey"], password=None)
    assert key.public_key() == certificate.public_key()
    assert found["cert:chain"] == found["middle"] + found["root"]
    assert found["cert.chain"] == found["root"] + found["middle"] + found["cert"]
    assert found["cert"] not in found["cert:chain"]
    bundle = pkcs12.load_pkcs12(found["cert:pkcs12-with-private-key"], None)
    assert bundle.cert is not None
    assert (bundle.key.public_key(), bundle.cert.certificate) == (key.public_key(), certificate)  # type: ignore[union-attr]
    assert [one.certificate for one in bundle.additional_certs] == x509.load_pem_x509_certificates(found["cert:chain"])
    shown = openssl("pkcs12", "-passin", "pass:", "-nodes", given=found["cert:pkcs12-with-private-key"])
    assert shown.count(b"BEGIN CERTIFICATE") == 3
    assert b"BEGIN PRIVATE KEY" in shown


def test_x509_ca(cas, person) -> None:
    """A certificate authority has the forms of a certificate; its chain, unlike a leaf's, begins with itself."""
    forms = ["root:crt", "root:chain", "root.chain", "root:privatekey", "root:pkcs12-with-private-key", "middle:chain"]
    cas.upload(secret_session(CHAIN, [*forms, "middle"]), person("ann"))
    found = received(cas)
    root = x509.load_pem_x509_certificate(found["root:crt"])
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert found["root:chain"] == found["root.chain"] == found["root:crt"]
    assert found["middle:chain"] == found["middle"] + found["root:crt"]
    assert pkcs12.load_pkcs12(found["root:pkcs12-with-private-key"], None).additional_certs == []
    assert load_pem_private_key(found["root:privatekey"], password=None).public_key() == root.public_key()


def test_explicit_certificate(cas, person) -> None:
    """A given certificate comes with its key and with what was given above it; a foreign key is refused."""
    cas.upload(secret_session(CHAIN, ["cert", "cert:chain", "key"], name="maker"), person("ann"))
    made = received(cas, "maker")
    chain = made["cert"].decode() + made["cert:chain"].decode()
    secrets = {
        "key": {"kind": "private-key", "value": made["key"].decode()},
        "cert": {"kind": "x509", "value": chain, "private_key": "key"},
        "alone": {"kind": "x509", "value": made["cert"].decode()},
    }
    cas.upload(secret_session(secrets, [*X509_FORMS, "alone:crt"]), person("ann"))
    found = received(cas)
    assert (found["cert"], found["cert:chain"], found["cert.key"]) == (made["cert"], made["cert:chain"], made["key"])
    secrets["key"] = {"kind": "private-key"}
    with pytest.raises(Refusal, match=r"secrets\.cert of 'other': the certificate is not one of the key key"):
        cas.upload(secret_session(secrets, name="other"), person("ann"))


def test_certificate_without_known_key(cas, person) -> None:
    """Where no key came with a given certificate, its key cannot be had, and that is said."""
    cas.upload(secret_session(CHAIN, ["cert"], name="maker"), person("ann"))
    secrets = {"cert": {"kind": "x509", "value": received(cas, "maker")["cert"].decode()}}
    cas.upload(secret_session(secrets, ["cert:privatekey"]), person("ann"))
    status, error = cas.attest("app/main")
    assert (status, error["code"]) == (403, "secret_unavailable")
    assert "secret cert: the private key of the certificate is not known here" in error["message"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"b": [1, "x"], "a": None}, b'{"a":null,"b":[1,"x"]}'),
        (["one", "two"], b'["one","two"]'),
        ("a text: with 'quotes'", b"a text: with 'quotes'"),
        (7, b"7"),
        (True, b"true"),
        (None, b"null"),
    ],
)
def test_config_fragment(cas, person, value: object, written: bytes) -> None:
    """In a text a fragment is JSON in one line, but a text as it is; `escape(json)` makes it fit inside JSON."""
    secrets = {"f": {"kind": "config-fragment", "value": value}}
    text = secret_session(secrets, ["f", "f|escape(json)"], environment={"F": "<$$SCONE::f$$>"})
    cas.upload(text, person("ann"))
    found = received(cas)
    assert found["f"] == written
    assert json.loads(b'"' + found["f|escape(json)"] + b'"').encode() == written
    assert cas.attest("app/main")[1]["environment"]["F"] == f"<{written.decode()}>"


def decoded(token: bytes) -> tuple[dict, dict, bytes, bytes]:
    """Header, claims, what was signed, and the signature."""
    header, claims, signature = (base64.urlsafe_b64decode(part + b"==") for part in token.split(b"."))
    return json.loads(header), json.loads(claims), token.rpartition(b".")[0], signature


def test_jwt(cas, person) -> None:
    """ES384 by the session's key, valid from the moment it is asked for, with the claims of the payload alone."""
    secrets = {
        "signer": {"kind": "private-key", "key_type": "P-384"},
        "public": {"kind": "public-key", "private_key": "signer"},
        "user": {"kind": "ascii", "value": "maria"},
        "token": {
            "kind": "jwt",
            "signer": "signer",
            "alg": "ES384",
            "validity": {"for": "24h"},
            "payload": {"sub": "user:$$SCONE::user$$", "mrenclave": "$$SCONE::self::software_identity$$"},
        },
    }
    text = secret_session(secrets, ["token", "public"], environment={"TOKEN": "$$SCONE::token$$"})
    cas.upload(text, person("ann"))
    found = received(cas)
    header, claims, signed, signature = decoded(found["token"])
    begin = int(cas.now.timestamp())
    assert header == {"alg": "ES384", "typ": "JWT"}
    assert claims == {
        "sub": "user:maria",
        "mrenclave": MEASUREMENT,
        "iat": begin,
        "nbf": begin,
        "exp": begin + 24 * 3600,
    }
    key = load_pem_public_key(found["public"])
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert len(signature) == 96
    r, s = (int.from_bytes(half, "big") for half in (signature[:48], signature[48:]))
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA384()))
    cas.now += timedelta(hours=1)
    assert decoded(received(cas)["token"])[1]["iat"] == begin + 3600
    assert decoded(received(cas, measurement="cd" * 32)["token"])[1]["mrenclave"] == "cd" * 32


def test_jwt_is_made_once_in_a_delivery(cas, person) -> None:
    """The signature is random, and still all places of one delivery hold the same token."""
    secrets = {
        "signer": {"kind": "private-key", "key_type": "P-384"},
        "token": {"kind": "jwt", "signer": "signer", "alg": "ES384", "validity": {"for": "1h"}},
    }
    cas.upload(secret_session(secrets, ["token"], environment={"T": "$$SCONE::token$$"}), person("ann"))
    _, found = cas.attest("app/main")
    assert base64.b64decode(found["files"][0]["content"]).decode() == found["environment"]["T"]


def test_jwt_needs_a_p384_key(cas, person) -> None:
    """A given key of another curve is refused at upload, by path."""
    secrets = {
        "signer": {"kind": "private-key", "value": pem(ec.generate_private_key(ec.SECP256R1()))},
        "token": {"kind": "jwt", "signer": "signer", "alg": "ES384", "validity": {"for": "1h"}},
    }
    with pytest.raises(Refusal, match=r"secrets\.token\.signer: must name a private-key secret with key_type P-384"):
        cas.upload(secret_session(secrets), person("ann"))


TOKEN = {"kind": "jwt", "signer": "k", "alg": "ES384", "validity": {"for": "1h"}}
PGP_FORMS = [
    f"key:{half}:{form}" for half in ("privatekey", "publickey") for form in ("asciiarmored", "binary", "base64")
]


@pytest.fixture
def gpg() -> Iterator[dict[str, str]]:
    """An environment in which GnuPG has no keys, on a path that is short enough for its agent."""
    home = Path("/tmp") / f"gpg-{os.getpid()}"  # noqa: S108 - private, and removed; a socket's path has 107 bytes at most
    home.mkdir(mode=0o700)
    environment = {"GNUPGHOME": str(home), "PATH": os.environ["PATH"]}
    yield environment
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=True)
    shutil.rmtree(home)


def test_pgp_key(cas, person, gpg) -> None:
    """Six forms of one key pair, with which GnuPG signs, verifies, encrypts and decrypts; it is kept over an update."""
    first = cas.upload(secret_session({"key": {"kind": "pgp-key"}}, PGP_FORMS), person("ann"))
    found = received(cas)
    for half, label in (("privatekey", "PRIVATE"), ("publickey", "PUBLIC")):
        assert base64.b64decode(found[f"key:{half}:base64"]) == found[f"key:{half}:binary"]
        assert found[f"key:{half}:asciiarmored"].startswith(f"-----BEGIN PGP {label} KEY BLOCK-----".encode())

    def run(*arguments: str, given: bytes) -> bytes:
        command = ["gpg", "--batch", "--yes", "--trust-model", "always", *arguments]
        return subprocess.run(command, input=given, env=gpg, capture_output=True, check=True).stdout

    run("--import", given=found["key:publickey:binary"])
    sealed = run("--encrypt", "--recipient", "key", given=b"hello")
    run("--import", given=found["key:privatekey:asciiarmored"])
    assert run("--decrypt", given=sealed) == b"hello"
    assert run("--decrypt", given=run("--sign", given=b"signed")) == b"signed"
    shown = run("--with-colons", "--list-keys", given=b"").decode()
    assert {line.split(":")[3] for line in shown.splitlines() if line.startswith(("pub", "sub"))} == {"22", "18"}
    assert all(line.split(":")[6] == "" for line in shown.splitlines() if line.startswith(("pub", "sub")))
    cas.upload(secret_session({"key": {"kind": "pgp-key"}}, PGP_FORMS, predecessor=first.hash), person("ann"))
    assert received(cas) == found


@pytest.mark.parametrize(
    ("secret", "form"),
    [
        ({"kind": "binary", "size": 4096}, "s"),
        ({"kind": "binary", "size": 4096}, "s:bin"),
        ({"kind": "private-key"}, "s:der"),
        ({"kind": "public-key", "private_key": "k"}, "s:spki:der"),
        ({"kind": "x509", "private_key": "k"}, "s:crt:der"),
        ({"kind": "x509", "private_key": "k"}, "s:privatekey:der"),
        ({"kind": "x509-ca", "private_key": "k"}, "s:pkcs12-with-private-key"),
        ({"kind": "pgp-key"}, "s:publickey:binary"),
    ],
)
def test_raw_bytes_cannot_be_a_variable(cas, person, capfd, secret: dict, form: str) -> None:
    """Forms that are no text are taken, as the language has them, with a line in the log; no service starts so."""
    text = secret_session({"s": secret, "k": {"kind": "private-key"}}, environment={"S": f"$$SCONE::{form}$$"})
    cas.upload(text, person("ann"))
    assert " caution session=app where=services.main.environment.S what=" in capfd.readouterr().err
    status, error = cas.attest("app/main")
    assert (status, error["code"]) == (403, "secret_unavailable")
    assert error["message"].startswith("environment.S: a secret put in here ")


def test_raw_bytes_cannot_be_escaped(cas, person, capfd) -> None:
    """In a file raw bytes may stand, but not as JSON text."""
    secret = {"s": {"kind": "binary", "value": "ff"}}
    cas.upload(secret_session(secret, ["s:bin|escape(json)"]), person("ann"))
    assert " caution session=app where=images.files." in capfd.readouterr().err
    _, error = cas.attest("app/main")
    assert error["message"] == "secret s: escape(json) needs text, and the value is not"


def test_numbers_in_fragments_stay_numbers(cas, person) -> None:
    """A number is not the text of its digits: it is delivered, hashed and shown again as the number it was."""
    hashes = set()
    for name, item in (("a", "0.10"), ("b", "'0.10'"), ("c", "1e400"), ("d", "'1e400'")):
        secret = f"[{{name: f, kind: config-fragment, value: {{x: [{item}]}}, export_public: true}}]"
        text = f"name: same\nversion: '0.3'\nsecrets: {secret}\n"
        hashes.add(read_upload(text.encode()).hash)
        cas.upload(text.replace("same", name), person("ann"))
        shown = json.loads(cas.ask("GET", f"/v1/values/session={name},secret=f").body)["value"]
        assert shown == f'{{"x":[{item}]}}'.replace("'", '"')
        again = cas.sessions.read(name, person("ann").caller).description
        assert scone_policy.parse(again).secrets["f"].value == shown
    assert len(hashes) == 4


def test_escape_json(cas, person) -> None:
    """A PEM text with its line breaks fits into a JSON string."""
    cas.upload(secret_session({"k": {"kind": "private-key"}}, ["k", "k|escape(json)"]), person("ann"))
    found = received(cas)
    assert b"\n" not in found["k|escape(json)"]
    assert json.loads(b'"' + found["k|escape(json)"] + b'"').encode() == found["k"]


def test_public_values_never_hold_a_private_part(cas, person) -> None:
    """Of certificates and OpenPGP keys anyone sees the public part alone."""
    shared = {"export_public": True}
    secrets = {
        "text": {"kind": "ascii", "value": "hello", **shared},
        "raw": {"kind": "binary", "value": "FF00", **shared},
        "key": {"kind": "private-key"},
        "half": {"kind": "public-key", "private_key": "key", **shared},
        "cert": {"kind": "x509", "private_key": "key", **shared},
        "authority": {"kind": "x509-ca", "private_key": "key", **shared},
        "tree": {"kind": "config-fragment", "value": {"a": [1]}, **shared},
        "pgp": {"kind": "pgp-key", **shared},
    }
    cas.upload(secret_session(secrets), person("ann"))
    answer = cas.ask("GET", "/v1/values/session=app")
    values = {name: item["value"] for name, item in json.loads(answer.body)["values"].items()}
    assert sorted(values) == sorted(secrets.keys() - {"key"})
    assert (values["text"], values["raw"], values["tree"]) == ("hello", "ff00", '{"a":[1]}')
    assert b"PRIVATE" not in answer.body
    for name in ("cert", "authority"):
        key = x509.load_pem_x509_certificate(values[name].encode()).public_key()
        assert key == load_pem_public_key(values["half"].encode())
    assert values["pgp"].startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")


def test_public_jwt_cannot_name_a_service(cas, person) -> None:
    """Without an attested service there is no software identity to put into a token."""
    secrets = {
        "signer": {"kind": "private-key", "key_type": "P-384"},
        "token": {
            "kind": "jwt",
            "signer": "signer",
            "alg": "ES384",
            "validity": {"for": "1h"},
            "payload": {"who": "$$SCONE::self::software_identity$$"},
            "export_public": True,
        },
    }
    cas.upload(secret_session(secrets), person("ann"))
    answer = cas.ask("GET", "/v1/values/session=app,secret=token")
    assert answer.status == 400
    assert b"stands for the service that asks" in answer.body


def test_keys_that_cannot_sign_are_refused(cas, person) -> None:
    """A key for key agreement is a value like any other, but nothing can be signed or derived with it."""
    key = {"kind": "private-key", "value": pem(X25519PrivateKey.generate())}
    cas.upload(secret_session({"key": key}, ["key"]), person("ann"))
    assert received(cas)["key"].decode() == key["value"]
    secrets = {"key": key, "cert": {"kind": "x509", "private_key": "key"}}
    with pytest.raises(Refusal, match=r"secrets\.cert\.private_key of 'other': holds no private key that can sign"):
        cas.upload(secret_session(secrets, name="other"), person("ann"))


CIRCLES = {
    "certificate": (
        {"a": {"kind": "x509-ca", "private_key": "k", "issuer": "a"}},
        "in a circle back to this certificate",
    ),
    "two certificates": (
        {
            "a": {"kind": "x509-ca", "private_key": "k", "issuer": "b"},
            "b": {"kind": "x509-ca", "private_key": "k", "issuer": "a"},
        },
        "in a circle back to this certificate",
    ),
    "token": (
        {
            "a": {
                "kind": "jwt",
                "signer": "k",
                "alg": "ES384",
                "validity": {"for": "1h"},
                "payload": {"x": "$$SCONE::a$$"},
            }
        },
        "is made from itself: a",
    ),
}


@pytest.mark.parametrize(("secrets", "circle"), CIRCLES.values(), ids=CIRCLES)
def test_circles_are_refused(cas, person, secrets: dict, circle: str) -> None:
    """A secret that would be made from itself is refused at upload, with the way round."""
    secrets = {"k": {"kind": "private-key", "key_type": "P-384"}, **secrets}
    with pytest.raises(Refusal, match=circle):
        cas.upload(secret_session(secrets), person("ann"))


def test_circle_over_sessions_ends(cas, person) -> None:
    """Two sessions whose tokens hold each other's token give nobody one, and nothing runs for ever."""

    def text(name: str, other: str | None, predecessor: str | None = None) -> str:
        payload = {"inner": "$$SCONE::other$$"} if other else {}
        secrets = {
            "k": {"kind": "private-key", "key_type": "P-384"},
            "token": {**TOKEN, "payload": payload, "export": [{"session": "a"}, {"session": "b"}]},
            **({"other": {"kind": "jwt", "import": {"session": other, "secret": "token"}}} if other else {}),
        }
        return secret_session(secrets, ["token"], name=name, predecessor=predecessor)

    first = cas.upload(text("a", None), person("ann"))
    cas.upload(text("b", "a"), person("ann"))
    cas.upload(text("a", "b", predecessor=first.hash), person("ann"))
    status, error = cas.attest("a/main")
    assert (status, error["code"]) == (403, "secret_unavailable")
    assert "is made from more than 16 others, or from itself" in error["message"]


def test_too_many_rsa_keys_are_refused(cas, person) -> None:
    """One upload cannot keep the CAS busy for minutes."""
    secrets = {f"k{number}": {"kind": "private-key", "key_type": "RSA-3072"} for number in range(17)}
    with pytest.raises(Refusal, match="at most 16 new RSA keys can be made at once, not 17"):
        cas.upload(secret_session(secrets), person("ann"))


def test_values_of_an_older_store_open(cas, person) -> None:
    """What was stored before values had parts, ascii and binary, is stored in the same bytes."""
    secrets = {"a": {"kind": "ascii", "size": 30}, "b": {"kind": "binary", "size": 30}}
    done = cas.upload(secret_session(secrets, ["a", "b"]), person("ann"))
    stored = cas.store.values(cas.store.version("app", done.hash))
    assert received(cas) == stored


def test_who_may_not_update_makes_no_work(cas, person) -> None:
    """Permission is asked before a key is made: the limit above is not even reached by somebody else."""
    first = cas.upload(secret_session({}), person("ann"))
    secrets = {f"k{number}": {"kind": "private-key", "key_type": "RSA-3072"} for number in range(17)}
    with pytest.raises(Refusal, match="no permission to update"):
        cas.upload(secret_session(secrets, predecessor=first.hash), person("bob"))


MIGRATIONS = [
    ({"kind": "ascii", "size": 9}, {"kind": "ascii", "size": 9}, True),
    ({"kind": "binary"}, {"kind": "binary", "export_public": True}, True),
    ({"kind": "ascii"}, {"kind": "binary"}, False),
    ({"kind": "pgp-key"}, {"kind": "pgp-key"}, True),
    ({"kind": "private-key"}, {"kind": "private-key"}, False),
    ({"kind": "private-key", "migrate": True}, {"kind": "private-key"}, False),
    ({"kind": "private-key"}, {"kind": "private-key", "migrate": True}, False),
    ({"kind": "private-key", "migrate": True}, {"kind": "private-key", "migrate": True}, True),
    ({"kind": "private-key", "migrate": True}, {"kind": "private-key", "migrate": True, "key_type": "P-256"}, True),
    ({"kind": "private-key", "migrate": True}, {"kind": "private-key", "migrate": True, "key_type": "P-384"}, False),
    ({"kind": "x509", "private_key": "k"}, {"kind": "x509", "private_key": "k"}, False),
    ({"kind": "x509-ca", "private_key": "k"}, {"kind": "x509-ca", "private_key": "k"}, False),
]


@pytest.mark.parametrize(("before", "after", "kept"), MIGRATIONS)
def test_migration(cas, person, before: dict, after: dict, kept: bool) -> None:  # noqa: FBT001 - what is expected
    """What outlives an update: keys only where both versions say so, certificates never, and never another kind."""
    key = {"k": {"kind": "private-key", "migrate": True}}
    first = cas.upload(secret_session({"s": before, **key}), person("ann"))
    old = cas.stored("app", "s").content
    cas.upload(secret_session({"s": after, **key}, predecessor=first.hash), person("ann"))
    assert (cas.stored("app", "s").content == old) == kept
