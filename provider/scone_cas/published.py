"""Values on their way through what anyone may read: without private parts, and read back from their public form."""

from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from scone_cas.messages import Refusal
from scone_cas.values import Value
from scone_policy import fragments

_WHOLE = frozenset({"ascii", "binary", "config-fragment", "private-key", "public-key"})
_CERTIFICATES = frozenset({"x509", "x509-ca"})
_PUBLIC = frozenset({"chain"})
"""Named parts that are no secret. A list of what may be shown: a part that is added later stays hidden."""


def public_part(value: Value) -> Value:
    """What an importer receives of a secret with `export_public` that is not exported to it. Raises Refusal."""
    if value.kind in _WHOLE:
        return value
    if value.kind in _CERTIFICATES:
        return replace(value, more={name: part for name, part in value.more.items() if name in _PUBLIC})
    raise Refusal(400, f"a secret of kind {value.kind} that is only public cannot be imported: have it exported")


def from_public_form(kind: str, text: str) -> Value:
    """The value that `/v1/values` of a CAS shows as this text. Raises ValueError, without the text."""
    try:
        return _read(kind, text)
    except (ValueError, TypeError):
        raise ValueError(f"not the public form of a secret of kind {kind} that can be imported") from None


def _read(kind: str, text: str) -> Value:
    match kind:
        case "ascii":
            return Value(kind=kind, content=text.encode())
        case "binary":
            return Value(kind=kind, content=bytes.fromhex(text))
        case "config-fragment":
            return Value(kind=kind, content=fragments.dump(fragments.load(text)).encode())
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
