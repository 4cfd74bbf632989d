"""Certificates that the CAS issues: their rules, their chains as OpenSSL judges them, and their renewal."""

import base64
import errno
import ipaddress
import json
import os
import ssl
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_cas.api.client import STATUS
from scone_cas.errors import Refusal
from scone_cas.keys import certificates
from scone_cas.keys.jwt import jwt
from scone_cas.storage.failures import StorageError
from scone_policy.model.secrets import Secret
from support.secret_session import received, secret_session

NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
KEY_TYPES = ["P-256", "P-384", "Ed25519", "RSA-2048"]
KEY = {"kind": "private-key"}


def chain_of(*key_types: str) -> dict[str, dict[str, Any]]:
    """Secrets of a chain: `leaf` below as many CAs as there are key types, of which the first is the root's."""
    secrets: dict[str, dict[str, Any]] = {}
    above: dict[str, str] = {}
    for number, key_type in enumerate(key_types):
        secrets[f"key{number}"] = {**KEY, "key_type": key_type}
        secrets[f"ca{number}"] = {"kind": "x509-ca", "private_key": f"key{number}", **above}
        above = {"issuer": f"ca{number}"}
    secrets["key"] = KEY
    secrets["leaf"] = {"kind": "x509", "private_key": "key", "endpoint": "server", "san": ["dns:db.example"], **above}
    return secrets


def issued(cas: Any, person: Any, secrets: Mapping[str, Any], name: str = "leaf") -> x509.Certificate:
    """The certificate that a service receives."""
    cas.upload(secret_session(secrets, [name]), person("ann"))
    return x509.load_pem_x509_certificate(received(cas)[name])


def verify(folder: Path, found: Mapping[str, bytes], now: datetime, *purpose: str) -> str:
    """What `openssl verify` says of leaf and chain, its strictest checks switched on, trusting the root alone."""
    blocks = found["leaf:chain"].split(b"-----END CERTIFICATE-----\n")
    *middle, root = [block + b"-----END CERTIFICATE-----\n" for block in blocks[:-1]]
    for name, content in {"leaf": found["leaf"], "middle": b"".join(middle), "root": root}.items():
        (folder / name).write_bytes(content)
    command = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-attime", str(int(now.timestamp())), *purpose]
    untrusted = ["-untrusted", str(folder / "middle")] if middle else []
    command += ["-CAfile", str(folder / "root"), *untrusted, str(folder / "leaf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("key_type", KEY_TYPES)
@pytest.mark.parametrize("depth", [1, 3])
def test_chains_verify(cas, person, tmp_path: Path, key_type: str, depth: int) -> None:
    """OpenSSL, and the verifier of cryptography, take leaf and chain for what they are, whatever keys sign."""
    secrets = chain_of(*[key_type] * depth)
    cas.upload(secret_session(secrets, ["leaf", "leaf:chain"]), person("ann"))
    found = received(cas)
    above = x509.load_pem_x509_certificates(found["leaf:chain"])
    assert len(above) == depth
    verdict = verify(tmp_path, found, cas.now, "-purpose", "sslserver", "-verify_hostname", "db.example")
    assert verdict.endswith("leaf: OK\n"), verdict
    assert "hostname mismatch" in verify(tmp_path, found, cas.now, "-verify_hostname", "other.example")
    assert "OK" not in verify(tmp_path, found, cas.now, "-purpose", "sslclient")
    if key_type != "Ed25519":
        builder = PolicyBuilder().store(Store([above[-1]])).time(cas.now)
        verifier = builder.build_server_verifier(x509.DNSName("db.example"))
        assert len(verifier.verify(x509.load_pem_x509_certificate(found["leaf"]), above[:-1])) == depth + 1


def test_tls_handshake(cas, person, tmp_path: Path) -> None:
    """Server and client of one session meet over TLS, each verifying the other's chain."""
    cas.now = datetime.now(UTC)
    secrets = chain_of("P-384", "P-256") | {
        "client-key": KEY,
        "client": {"kind": "x509", "private_key": "client-key", "issuer": "ca1", "endpoint": "client"},
    }
    forms = [f"{name}{form}" for name in ("leaf", "client") for form in ("", ":chain", ":privatekey")]
    cas.upload(secret_session(secrets, [*forms, "ca0"]), person("ann"))
    found = received(cas)
    (tmp_path / "root").write_bytes(found["ca0"])

    def context(name: str, protocol: int) -> ssl.SSLContext:
        (tmp_path / name).write_bytes(found[name] + found[f"{name}:chain"] + found[f"{name}:privatekey"])
        made = ssl.SSLContext(protocol)
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        made.load_cert_chain(tmp_path / name)
        made.load_verify_locations(tmp_path / "root")
        made.verify_mode = ssl.CERT_REQUIRED
        return made

    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context("leaf", ssl.PROTOCOL_TLS_SERVER).wrap_bio(to_server, to_client, server_side=True)
    client = context("client", ssl.PROTOCOL_TLS_CLIENT).wrap_bio(to_client, to_server, server_hostname="db.example")
    waiting = [client, server]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert waiting == []
    peer = x509.load_der_x509_certificate(server.getpeercert(binary_form=True) or b"")
    assert peer.subject.rfc4514_string() == "CN=client"


@pytest.mark.parametrize(
    ("secret", "common_name"),
    [
        ({}, "leaf"),
        ({"common_name": "given", "dns": ["a.example"]}, "given"),
        ({"dns": ["b.example", "a.example"]}, "b.example"),
        ({"dns": ["*.example."]}, "*.example"),
        ({"san": ["ip:10.0.0.1", "dns:c.example"]}, "c.example"),
        ({"san": ["dns:z.example", "dns:a.example"]}, "z.example"),
        ({"san": ["ip:10.0.0.1"]}, "leaf"),
        ({"dns": ["x" * 60 + ".example"]}, "leaf"),
    ],
)
def test_common_name(cas, person, secret: dict, common_name: str) -> None:
    """As given, else the first DNS name (where X.520 has room for it), else the secret's name."""
    found = issued(cas, person, {"key": KEY, "leaf": {"kind": "x509", "private_key": "key", **secret}})
    assert [item.value for item in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [common_name]


def test_alternative_names(cas, person) -> None:
    """`dns` and `san` become DNS names and addresses, each once; without them there are none."""
    secret = {"dns": ["a.example", "b.example"], "san": ["dns:b.example", "ip:10.0.0.1", "ip:2001:db8::1"]}
    found = issued(cas, person, {"key": KEY, "leaf": {"kind": "x509", "private_key": "key", **secret}})
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(names.get_values_for_type(x509.DNSName)) == ["a.example", "b.example"]
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        ipaddress.ip_address("10.0.0.1"),
        ipaddress.ip_address("2001:db8::1"),
    }
    alone = issued_alone({"kind": "x509", "private_key": "key"})
    with pytest.raises(x509.ExtensionNotFound):
        alone.extensions.get_extension_for_class(x509.SubjectAlternativeName)


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def issued_alone(secret: dict[str, Any], issuer: Any = None, signer: Any = None, now: datetime = NOW) -> Any:
    """A certificate for a key of its own, without a CAS."""
    key = ec.generate_private_key(ec.SECP256R1())
    return certificates.issue(
        "leaf",
        Secret.model_validate(secret),
        subject_key=key.public_key(),
        signer=signer or key,
        issuer=issuer,
        now=now,
    )


@pytest.mark.parametrize(
    ("endpoint", "usage"),
    [("server", ExtendedKeyUsageOID.SERVER_AUTH), ("client", ExtendedKeyUsageOID.CLIENT_AUTH), (None, None)],
)
@pytest.mark.parametrize("kind", ["x509", "x509-ca"])
def test_extended_key_usage(kind: str, endpoint: str | None, usage: object) -> None:
    """The endpoint decides; without one there is no extended key usage at all."""
    found = issued_alone({"kind": kind, "private_key": "key", **({"endpoint": endpoint} if endpoint else {})})
    usages = [list(item.value) for item in found.extensions if isinstance(item.value, x509.ExtendedKeyUsage)]
    assert usages == ([[usage]] if usage else [])


def test_ca_and_leaf_may_do_different_things() -> None:
    """A CA signs certificates and nothing else; a leaf signs handshakes and no certificates."""
    for kind, is_ca in (("x509-ca", True), ("x509", False)):
        extensions = issued_alone({"kind": kind, "private_key": "key"}).extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, is_ca, None)
        assert usage.critical
        assert usage.value.key_cert_sign == usage.value.crl_sign == is_ca
        assert usage.value.digital_signature == (not is_ca)


def test_self_signed_leaf_is_its_own_anchor(cas, person, tmp_path: Path) -> None:
    """Without an issuer a certificate verifies for those who trust it itself, and for nobody else."""
    found = issued(cas, person, {"key": KEY, "leaf": {"kind": "x509", "private_key": "key", "endpoint": "server"}})
    (tmp_path / "leaf").write_bytes(found.public_bytes(Encoding.PEM))
    command = ["openssl", "verify", "-attime", str(int(cas.now.timestamp())), "-purpose", "sslserver"]
    alone = subprocess.run([*command, tmp_path / "leaf"], capture_output=True, text=True, check=False)
    trusted = subprocess.run(
        [*command, "-CAfile", tmp_path / "leaf", tmp_path / "leaf"], capture_output=True, check=True
    )
    assert "self-signed certificate" in alone.stderr
    assert trusted.stdout.endswith(b"leaf: OK\n")


def test_key_identifiers(cas, person) -> None:
    """Subject and authority key identifiers link each certificate to the one above it; serial numbers differ."""
    secrets = chain_of("P-256", "P-256")
    cas.upload(secret_session(secrets, ["leaf", "leaf:chain"]), person("ann"))
    found = received(cas)
    path = [x509.load_pem_x509_certificate(found["leaf"]), *x509.load_pem_x509_certificates(found["leaf:chain"])]
    own = [one.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest for one in path]
    above = [one.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier for one in path]
    assert above == [own[1], own[2], own[2]]
    assert len({one.serial_number for one in path}) == 3
    assert min(one.serial_number for one in path).bit_length() > 64


def test_path_length_counts_down() -> None:
    """A given CA that allows one CA below it gets one that allows none; what would be too deep is refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    root = issued_alone({"kind": "x509-ca", "private_key": "key"})
    builder = (
        x509.CertificateBuilder(subject_name=root.subject, issuer_name=root.subject, public_key=key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1000))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
    )
    given = certificates.Issuer(certificate=builder.sign(key, hashes.SHA256()), chain=b"")
    below = issued_alone({"kind": "x509-ca", "private_key": "key"}, issuer=given, signer=key)
    assert below.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    lowest = certificates.Issuer(certificate=below, chain=given.whole_chain)
    with pytest.raises(ValueError, match="may not sign other CAs: its path length is 0"):
        issued_alone({"kind": "x509-ca", "private_key": "key"}, issuer=lowest, signer=key)


def days(certificate: x509.Certificate, now: datetime) -> float:
    """Days until the end."""
    return (certificate.not_valid_after_utc - now) / timedelta(days=1)


def test_validity(cas, person) -> None:
    """`valid_for` counts from now; without it there is no end; nothing outlives its issuer."""
    secrets = chain_of("P-256")
    secrets["ca0"]["valid_for"] = "90 days"
    secrets["short"] = {"kind": "x509", "private_key": "key", "issuer": "ca0", "valid_for": "59d"}
    secrets["free"] = {"kind": "x509", "private_key": "key"}
    cas.upload(secret_session(secrets, ["ca0", "leaf", "short", "free"]), person("ann"))
    found = {name: x509.load_pem_x509_certificate(content) for name, content in received(cas).items()}
    assert found["free"].not_valid_after_utc == NEVER
    assert [days(found[name], cas.now) for name in ("ca0", "leaf", "short")] == [90, 90, 59]
    assert all(timedelta() < cas.now - one.not_valid_before_utc <= timedelta(minutes=5) for one in found.values())


REFUSED = [
    ({"leaf": {"issuer": "key"}}, 400, r"secrets\.leaf\.issuer"),
    ({"leaf": {"common_name": "x" * 65}}, 400, r"secrets\.leaf\.common_name: common_name must have 1 to 64"),
    (
        {"other": {"kind": "x509", "private_key": "key"}, "leaf": {"issuer": "other"}},
        400,
        r"secrets\.leaf\.issuer: must name a secret of this session, of kind x509-ca",
    ),
]


@pytest.mark.parametrize(("changes", "status", "words"), REFUSED)
def test_what_cannot_be_issued_is_refused(cas, person, changes: dict, status: int, words: str) -> None:
    """At upload, with the path and the rule; nothing is stored."""
    secrets: dict[str, Any] = {"key": KEY, "leaf": {"kind": "x509", "private_key": "key"}}
    for name, change in changes.items():
        secrets[name] = {**secrets.get(name, {}), **change}
    with pytest.raises(Refusal, match=words, check=lambda refusal: STATUS[refusal.reason] == status):
        cas.upload(secret_session(secrets), person("ann"))
    assert cas.sessions.live("app") is None


def authority(**ca: object) -> dict[str, Any]:
    """A session's CA, and its key that is not shared."""
    return {"ca-key": KEY, "ca": {"kind": "x509-ca", "private_key": "ca-key", **ca}}


LEAF = {"key": KEY, "leaf": {"kind": "x509", "private_key": "key", "issuer": "ca"}}
IMPORTED = {"ca": {"kind": "x509-ca", "import": {"session": "owner", "secret": "ca"}}, **LEAF}


def test_imported_issuer(cas, person, tmp_path: Path) -> None:
    """A CA of another session signs here, if it is exported with what its own session knows of it."""
    cas.upload(secret_session(authority(export={"session": "app"}), ["ca"], name="owner"), person("ann"))
    cas.upload(secret_session(IMPORTED, ["leaf", "leaf:chain"]), person("ann"))
    found = received(cas)
    assert found["leaf:chain"] == received(cas, "owner")["ca"]
    assert "leaf: OK" in verify(tmp_path, found, cas.now)


def trusts(folder: Path, trusted: bytes, leaf: bytes, now: datetime) -> bool:
    """Whether OpenSSL takes the leaf when it is given this file to trust."""
    (folder / "trusted").write_bytes(trusted)
    (folder / "leaf").write_bytes(leaf)
    command = ["openssl", "verify", "-x509_strict", "-attime", str(int(now.timestamp())), "-CAfile"]
    return (
        subprocess.run([*command, folder / "trusted", folder / "leaf"], capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.parametrize("depth", [1, 2])
def test_chain_of_an_authority_is_what_its_peers_trust(cas, person, tmp_path: Path, depth: int) -> None:
    """Whoever imports a CA and hands its `.chain` to a TLS client trusts what that CA signs: it begins with the CA."""
    secrets = chain_of(*["P-256"] * depth)
    last = f"ca{depth - 1}"
    secrets[last]["export"] = {"session": "client"}
    cas.upload(secret_session(secrets, ["leaf"], name="server"), person("ann"))
    imported = {"ca": {"kind": "x509-ca", "import": {"session": "server", "secret": last}}}
    cas.upload(secret_session(imported, ["ca.chain", "ca:crt"], name="client"), person("ann"))
    found, leaf = received(cas, "client"), received(cas, "server")["leaf"]
    assert found["ca.chain"].startswith(found["ca:crt"])
    assert len(x509.load_pem_x509_certificates(found["ca.chain"])) == depth
    assert trusts(tmp_path, found["ca.chain"], leaf, cas.now)


def test_chain_of_a_given_authority(cas, person, tmp_path: Path) -> None:
    """A given CA with what was given above it: its chain is all of it, and what it signs is verified with it."""
    cas.upload(secret_session(chain_of("P-256", "P-256"), ["ca1:chain", "key1"], name="maker"), person("ann"))
    made = received(cas, "maker")
    given = {
        "ca-key": {"kind": "private-key", "value": made["key1"].decode()},
        "ca": {"kind": "x509-ca", "value": made["ca1:chain"].decode(), "private_key": "ca-key"},
    }
    cas.upload(secret_session({**given, **LEAF}, ["ca:chain", "leaf", "leaf:chain"]), person("ann"))
    found = received(cas)
    assert found["ca:chain"] == found["leaf:chain"] == made["ca1:chain"]
    assert "leaf: OK" in verify(tmp_path, found, cas.now)


def test_imported_issuer_without_key_is_refused(cas, person) -> None:
    """A CA certificate whose key nobody here has cannot sign: refused with the path, the rule and what to do."""
    cas.upload(secret_session(authority(), ["ca"], name="maker"), person("ann"))
    given = {"ca": {"kind": "x509-ca", "value": received(cas, "maker")["ca"].decode(), "export": {"session": "app"}}}
    cas.upload(secret_session(given, name="owner"), person("ann"))
    words = r"secrets\.leaf\.issuer of 'app': the private key of ca cannot be reached.*give private_key there"
    with pytest.raises(Refusal, match=words, check=lambda refusal: STATUS[refusal.reason] == 400):
        cas.upload(secret_session(IMPORTED), person("ann"))


def test_issuer_with_another_key_is_refused(cas, person) -> None:
    """A given CA certificate beside a key that is not its own is no CA."""
    cas.upload(secret_session(authority(), ["ca"], name="maker"), person("ann"))
    given = {"ca-key": KEY, "ca": {"kind": "x509-ca", "value": received(cas, "maker")["ca"].decode()}}
    given["ca"]["private_key"] = "ca-key"
    with pytest.raises(Refusal, match=r"secrets\.ca of 'app': the certificate is not one of the key ca-key"):
        cas.upload(secret_session({**given, **LEAF}), person("ann"))


def test_given_authority_signs(cas, person, tmp_path: Path) -> None:
    """A given CA with its given key signs what the session generates."""
    cas.upload(secret_session(authority(), ["ca", "ca-key"], name="maker"), person("ann"))
    made = received(cas, "maker")
    given = {
        "ca-key": {"kind": "private-key", "value": made["ca-key"].decode()},
        "ca": {"kind": "x509-ca", "value": made["ca"].decode(), "private_key": "ca-key"},
    }
    cas.upload(secret_session({**given, **LEAF}, ["leaf", "leaf:chain"]), person("ann"))
    found = received(cas)
    assert found["leaf:chain"] == made["ca"]
    assert "leaf: OK" in verify(tmp_path, found, cas.now)


def renewals(cas: Any) -> list[dict[str, Any]]:
    """The renewals in the audit log, oldest first."""
    entries = [json.loads(line)["entry"] for line in (cas.state / "audit.log").read_text().splitlines()]
    return [entry["fields"] for entry in entries if entry["event"] == "certificate_renewed"]


@pytest.mark.parametrize("salt", [{}, {"salt": "ab" * 16}], ids=["no salt", "salt"])
def test_renewal(cas, person, salt: dict[str, str]) -> None:
    """With less than a third of its life left a certificate is renewed when it is asked for: same key, new serial.

    The entry in the audit log names the session's hash only where a salt makes it public.
    """
    secrets = {"key": KEY, "leaf": {"kind": "x509", "private_key": "key", "valid_for": "90 days"}}
    cas.upload(json.dumps({**json.loads(secret_session(secrets, ["leaf", "key"])), **salt}), person("ann"))
    first = received(cas)
    cas.now += timedelta(days=59)
    assert received(cas) == first
    assert renewals(cas) == []
    cas.now += timedelta(days=2)
    second = received(cas)
    assert second["key"] == first["key"]
    old, new = (x509.load_pem_x509_certificate(found["leaf"]) for found in (first, second))
    assert (new.public_key(), new.subject) == (old.public_key(), old.subject)
    assert days(new, cas.now) == 90
    assert received(cas) == second
    live = cas.sessions.live("app")
    assert renewals(cas) == [
        {
            "session": "app",
            "hash": live.hash if salt else None,
            "secret": "leaf",
            "serial": f"{new.serial_number:x}",
            "until": new.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    ]
    assert cas.stored("app", "leaf").content == new.public_bytes(Encoding.DER)


def test_whole_chain_is_renewed(cas, person, tmp_path: Path) -> None:
    """After any time a service that asks gets a chain that verifies, each certificate of which was renewed once."""
    secrets = chain_of("P-256", "P-256")
    for name, life in (("ca0", "3 years"), ("ca1", "1 year"), ("leaf", "30 days")):
        secrets[name]["valid_for"] = life
    cas.upload(secret_session(secrets, ["leaf", "leaf:chain", "ca1", "ca0"]), person("ann"))
    trusted = received(cas)["ca0"]
    for passed in (25, 320, 900, 2000):
        cas.now += timedelta(days=passed)
        before = len(renewals(cas))
        found = received(cas)
        assert verify(tmp_path, found, cas.now).endswith("leaf: OK\n")
        assert found["leaf:chain"] == found["ca1"] + found["ca0"]
        again = [entry["secret"] for entry in renewals(cas)[before:]]
        assert len(again) == len(set(again))
    assert found["ca0"] != trusted
    assert (
        x509.load_pem_x509_certificate(trusted).public_key()
        == x509.load_pem_x509_certificate(found["ca0"]).public_key()
    )


def test_renewal_by_two_processes_is_one(cas, person) -> None:
    """Two processes that find the same certificate due deliver the same new one, and one of them writes."""
    secrets = {"key": KEY, "leaf": {"kind": "x509", "private_key": "key", "valid_for": "30 days"}}
    cas.upload(secret_session(secrets, ["leaf"]), person("ann"))
    received(cas)
    cas.sessions.live("app")
    cas.now += timedelta(days=29)
    found = x509.load_pem_x509_certificate(received(cas)["leaf"])
    assert cas.stored("app", "leaf").content == found.public_bytes(Encoding.DER)
    assert len(renewals(cas)) == 1


def test_renewal_of_an_imported_issuer(cas, person, tmp_path: Path) -> None:
    """The CA of another session is renewed too, in that session, when a leaf below it is asked for."""
    owner = authority(export={"session": "app"}, valid_for="60 days")
    cas.upload(secret_session(owner, ["ca"], name="owner"), person("ann"))
    cas.upload(secret_session(IMPORTED, ["leaf", "leaf:chain"]), person("ann"))
    cas.now += timedelta(days=59)
    found = received(cas)
    assert "leaf: OK" in verify(tmp_path, found, cas.now)
    assert [(entry["session"], entry["secret"]) for entry in renewals(cas)] == [("owner", "ca"), ("app", "leaf")]
    assert received(cas, "owner")["ca"] == found["leaf:chain"]


def test_issuer_that_got_another_key(cas, person, tmp_path: Path) -> None:
    """When the owner of an imported CA makes it anew with a new key, those below are signed anew."""
    owner = authority(export={"session": "app"})
    first = cas.upload(secret_session(owner, name="owner"), person("ann"))
    cas.upload(secret_session(IMPORTED, ["leaf", "leaf:chain"]), person("ann"))
    before = received(cas)
    cas.upload(secret_session(owner, name="owner", predecessor=first.hash), person("ann"))
    after = received(cas)
    assert after["leaf:chain"] != before["leaf:chain"]
    assert "leaf: OK" in verify(tmp_path, after, cas.now)


def test_imported_key_that_changed(cas, person) -> None:
    """A certificate always is one of its key, also when that is imported and its owner made it anew."""
    owner = {"key": {**KEY, "export": {"session": "app"}}}
    first = cas.upload(secret_session(owner, name="owner"), person("ann"))
    secrets = {
        "key": {"kind": "private-key", "import": {"session": "owner", "secret": "key"}},
        "leaf": {"kind": "x509", "private_key": "key"},
    }
    cas.upload(secret_session(secrets, ["leaf", "key"]), person("ann"))
    cas.upload(secret_session(owner, name="owner", predecessor=first.hash), person("ann"))
    found = received(cas)
    key = load_pem_private_key(found["key"], password=None).public_key()
    assert x509.load_pem_x509_certificate(found["leaf"]).public_key() == key


def test_expired_given_authority_is_said(cas, person) -> None:
    """A given CA cannot be renewed: once it has expired, what it would sign is refused with that reason."""
    owner = authority(valid_for="60 days")
    cas.upload(secret_session(owner, ["ca", "ca-key"], name="maker"), person("ann"))
    made = received(cas, "maker")
    given = {
        "ca-key": {"kind": "private-key", "value": made["ca-key"].decode()},
        "ca": {"kind": "x509-ca", "value": made["ca"].decode(), "private_key": "ca-key"},
    }
    cas.upload(secret_session({**given, **LEAF}, ["leaf"]), person("ann"))
    cas.now += timedelta(days=61)
    status, error = cas.attest("app/main")
    assert (status, error["code"]) == (403, "secret_unavailable")
    assert "secrets.leaf.issuer of 'app': names a CA whose certificate has expired" in error["message"]


def test_renewed_while_importer_is_uploaded(cas, person) -> None:
    """An upload that needs a CA which is due renews it in its own transaction; a refused upload changes nothing."""
    owner = authority(export={"session": "app"}, valid_for="60 days")
    cas.upload(secret_session(owner, ["ca"], name="owner"), person("ann"))
    before = cas.store.values(cas.store.current("owner"))
    cas.now += timedelta(days=50)
    broken = {**IMPORTED, "tooLong": {"kind": "x509", "private_key": "key", "issuer": "ca", "common_name": "x" * 65}}
    with pytest.raises(Refusal, match="common_name"):
        cas.upload(secret_session(broken), person("ann"))
    assert cas.store.values(cas.store.current("owner")) == before
    cas.upload(secret_session(IMPORTED, ["leaf"]), person("ann"))
    assert cas.store.values(cas.store.current("owner")) != before
    leaf = x509.load_pem_x509_certificate(received(cas)["leaf"])
    assert days(leaf, cas.now) == 60


@settings(max_examples=60, deadline=None)
@given(life=st.integers(3, 10_000_000), passed=st.floats(0, 1))
def test_due_in_the_last_third(life: int, passed: float) -> None:
    """A certificate is due exactly in the last third of its life, however long that is."""
    found = issued_alone({"kind": "x509", "private_key": "key", "valid_for": f"{life} s"})
    now = NOW + timedelta(seconds=life) * passed
    end = NOW + timedelta(seconds=life)
    assert found.not_valid_after_utc == end
    assert certificates.is_due(found, now) == (end - now <= timedelta(seconds=life) / 3)


def test_signer_may_be_any_implementation() -> None:
    """Certificates and tokens are signed through the abstract class alone: the key's bytes need not be had."""
    inner = ec.generate_private_key(ec.SECP384R1())

    class InToken(ec.EllipticCurvePrivateKey):
        """A key that only signs, and only says what its public half is."""

        curve = property(lambda _: inner.curve)
        key_size = property(lambda _: inner.key_size)

        def exchange(self, algorithm: Any, peer_public_key: Any) -> bytes:
            raise NotImplementedError

        def public_key(self) -> ec.EllipticCurvePublicKey:
            return inner.public_key()

        def sign(self, data: Any, signature_algorithm: Any) -> bytes:
            return inner.sign(data, signature_algorithm)

        def private_numbers(self) -> Any:
            raise NotImplementedError

        def private_bytes(self, *_: Any) -> bytes:
            raise NotImplementedError

        def __copy__(self) -> "InToken":
            return self

        def __deepcopy__(self, _: Any) -> "InToken":
            return self

    found = certificates.issue(
        "root",
        Secret.model_validate({"kind": "x509-ca", "private_key": "k"}),
        subject_key=inner.public_key(),
        signer=InToken(),
        issuer=None,
        now=NOW,
    )
    found.verify_directly_issued_by(found)
    signed, _, signature = jwt({"a": "b"}, key=InToken(), now=NOW, seconds=1).rpartition(b".")
    raw = base64.urlsafe_b64decode(signature)
    r, s = int.from_bytes(raw[:48], "big"), int.from_bytes(raw[48:], "big")
    inner.public_key().verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA384()))


def test_many_threads_renew_once(cas, person) -> None:
    """Eight threads that find the same chain due get one and the same certificate, which one of them made."""
    secrets = chain_of("P-256")
    secrets["ca0"]["valid_for"] = secrets["leaf"]["valid_for"] = "30 days"
    cas.upload(secret_session(secrets, ["leaf", "leaf:chain"]), person("ann"))
    cas.now += timedelta(days=29)

    sessions = cas.parts.client_api._sessions

    def ask(_: int) -> tuple[bytes, bytes]:
        live = sessions.live("app")
        value = sessions.view().own_value(live, "leaf")
        sessions._store.close()
        return value.content, value.more["chain"]

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(16)))
    assert len(found) == 1
    found_now = received(cas)
    assert x509.load_pem_x509_certificate(found_now["leaf"]).public_bytes(Encoding.DER) == found.pop()[0]
    assert [entry["secret"] for entry in renewals(cas)] == ["ca0", "leaf"]


def test_a_renewal_that_the_audit_log_cannot_keep_does_not_happen(cas, person, monkeypatch) -> None:
    """The entry is on disk before the certificate is stored, also where an answer's other entries are waited for later.

    The disk is full in that moment: the old certificate stays.
    """
    secrets = {"key": KEY, "leaf": {"kind": "x509", "private_key": "key", "valid_for": "30 days"}}
    cas.upload(secret_session(secrets, ["leaf"]), person("ann"))
    received(cas)
    sessions = cas.parts.client_api._sessions
    live = sessions.live("app")
    cas.now += timedelta(days=29)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with sessions._journal.deferred(), monkeypatch.context() as disk:
        disk.setattr(os, "fdatasync", full)
        with pytest.raises(StorageError):
            sessions.view().own_value(live, "leaf")
    assert cas.sessions.live("app").generated["leaf"] == live.generated["leaf"]
