"""Values on their way between CASes: without private parts where anyone may read them, and judged on their arrival."""

from dataclasses import replace

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from scone_cas.errors import Reason, Refusal
from scone_cas.secrets.value import CERTIFICATES, Value
from scone_policy.syntax import config_fragments

_WHOLE = frozenset({"ascii", "binary", "config-fragment", "private-key", "public-key"})
_PUBLIC = frozenset({"chain"})
"""Named parts that are no secret. A list of what may be shown: a part that is added later stays hidden."""


def public_part(value: Value) -> Value:
    """What an importer receives of a secret with `export_public` that is not exported to it. Raises Refusal."""
    if value.is_confined:
        raise Refusal(Reason.INVALID, "a key in the CAS's key store cannot be public: have it exported")
    if value.kind in _WHOLE:
        return value
    if value.kind in CERTIFICATES:
        return replace(value, more={name: part for name, part in value.more.items() if name in _PUBLIC}, signer=None)
    raise Refusal(
        Reason.INVALID, f"a secret of kind {value.kind} that is only public cannot be imported: have it exported"
    )


def check_form(value: Value) -> None:
    """Raises ValueError, without the value, when another CAS's value is not what its kind says.

    Keys are checked once, here: who signs with them later does not check them again.
    """
    try:
        _check_form(value)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"not a secret of kind {value.kind}") from None


def _check_form(value: Value) -> None:
    match value.kind:
        case "ascii" | "jwt" | "aad-token":
            value.content.decode()
        case "config-fragment":
            config_fragments.load(value.content.decode())
        case "private-key":
            load_der_private_key(value.content, password=None)
        case "public-key":
            load_der_public_key(value.content)
        case "x509" | "x509-ca":
            x509.load_der_x509_certificate(value.content)
            if value.more.get("chain"):
                x509.load_pem_x509_certificates(value.more["chain"])
            if "private_key" in value.more:
                load_der_private_key(value.more["private_key"], password=None)


def from_public_form(kind: str, text: str) -> Value:
    """The value that `/v1/values` of a CAS shows as this text. Raises ValueError, without the text."""
    try:
        return _read(kind, text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"not the public form of a secret of kind {kind} that can be imported") from None


def _read(kind: str, text: str) -> Value:
    match kind:
        case "ascii":
            return Value(kind=kind, content=text.encode())
        case "binary":
            return Value(kind=kind, content=bytes.fromhex(text))
        case "config-fragment":
            return Value(kind=kind, content=config_fragments.dump(config_fragments.load(text)).encode())
        case "public-key":
            public = load_pem_public_key(text.encode())
            return Value(kind=kind, content=public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        case "private-key":
            private = load_pem_private_key(text.encode(), password=None)
            return Value(kind=kind, content=private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        case "x509" | "x509-ca":
            leaf, *issuers = x509.load_pem_x509_certificates(text.encode())
            chain = b"".join(one.public_bytes(Encoding.PEM) for one in issuers)
            return Value(kind=kind, content=leaf.public_bytes(Encoding.DER), more={"chain": chain} if chain else {})
    raise ValueError(kind)
