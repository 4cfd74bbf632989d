"""The identity that a CAS knows us by: a key pair with a self-signed certificate, and where it comes from."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scone_policy.keys.key_hash import certificate_key_hash
from scone_provider.errors import SconeError
from scone_provider.file_errors import file_problem

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----[A-Za-z0-9+/=\s:,\-]*?-----END \1-----")
_LARGEST = 256 * 1024
_YEARS = 30
_FIX = "run `pulumi-scone identity create`, or give PEM with one private key and its certificate"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Private key (PKCS#8 PEM) and certificate (PEM). Neither is in its repr; the key hash is public."""

    private_key_pem: str = field(repr=False)
    certificate_pem: str = field(repr=False)
    key_hash: str

    @classmethod
    def create(cls, *, common_name: str, now: datetime) -> "Identity":
        """A new P-384 key, which may sign sessions too, with a certificate from a day before `now` for 30 years."""
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365 * _YEARS))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(key, hashes.SHA384())
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return cls.parse(pem.decode() + certificate.public_bytes(Encoding.PEM).decode())

    @classmethod
    def parse(cls, text: str, *, where: str = "") -> "Identity":
        """From PEM, or from JSON like `~/.cas/config.json` (`{"identity": …}` with PEM in it). Raises SconeError."""
        blocks: dict[bool, list[str]] = {True: [], False: []}
        for part in _texts(text):
            for match in _BLOCK.finditer(part):
                if match[1].endswith("PRIVATE KEY") or match[1] == "CERTIFICATE":
                    blocks[match[1] == "CERTIFICATE"].append(match[0] + "\n")
        if len(blocks[False]) != 1 or not blocks[True]:
            raise SconeError("this holds no identity: one private key and its certificate", where=where, fix=_FIX)
        try:
            key = load_pem_private_key(blocks[False][0].encode(), password=None)
            certificate = x509.load_pem_x509_certificate(blocks[True][0].encode())
        except TypeError:
            raise SconeError("the private key of the identity is encrypted", where=where, fix=_FIX) from None
        except (ValueError, UnsupportedAlgorithm):
            raise SconeError("the identity's key or certificate cannot be read", where=where, fix=_FIX) from None
        spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        if key.public_key().public_bytes(*spki) != certificate.public_key().public_bytes(*spki):
            raise SconeError("the identity's certificate belongs to another key", where=where, fix=_FIX)
        return cls(
            private_key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            certificate_pem=certificate.public_bytes(Encoding.PEM).decode(),
            key_hash=certificate_key_hash(certificate),
        )

    def to_pem(self) -> str:
        """Key and certificate in clear, in the form that `parse` reads."""
        return self.private_key_pem + self.certificate_pem


def load_identity(environ: Mapping[str, str], home: Path, config_value: str | None) -> Identity | None:
    """The identity to use, or None where there is none.

    `SCONE_IDENTITY` (PEM text, or a path) comes first, then `~/.cas/config.json` (or the file that `SCONE_CLI_CONFIG`
    names), then the value of the stack's config. Raises SconeError where one is given but not usable.
    """
    given = environ.get("SCONE_IDENTITY")
    if given:
        text = given if "-----BEGIN" in given else _read(Path(given), "SCONE_IDENTITY")
        return Identity.parse(text, where="SCONE_IDENTITY")
    moved = environ.get("SCONE_CLI_CONFIG")
    path = Path(moved) if moved else home / ".cas" / "config.json"
    if moved or os.path.lexists(path):
        text = _read(path, str(path))
        if _holds_identity(text):
            return Identity.parse(text, where=str(path))
    return Identity.parse(config_value, where="scone:identity") if config_value else None


def _read(path: Path, where: str) -> str:
    try:
        with path.expanduser().open(encoding="utf-8") as file:
            text = file.read(_LARGEST + 1)
    except (OSError, ValueError, RuntimeError) as problem:  # RuntimeError: nobody's home
        raise file_problem(problem, "the identity's file cannot be read", where=where, fix=_FIX) from None
    if len(text) > _LARGEST:
        raise SconeError("the identity's file is too large to be one", where=where, fix=_FIX)
    return text


def _holds_identity(text: str) -> bool:
    """A CLI's config without identity (it also keeps attested CASes) is none, rather than a broken one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return True
    return not isinstance(found, dict) or bool(found.get("identity"))


def _texts(text: str) -> Iterator[str]:
    if not text.lstrip().startswith("{"):
        yield text
        return
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return
    identity = found.get("identity")
    if isinstance(identity, str):
        yield identity
    elif isinstance(identity, dict):
        yield from (part for part in identity.values() if isinstance(part, str))
