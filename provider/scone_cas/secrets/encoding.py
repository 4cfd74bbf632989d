"""Values as placeholders ask for them: one form for each kind and suffix (session language, section 3)."""

import base64
import json
from collections.abc import Callable, Mapping

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs12

from scone_cas.keys import signing_keys
from scone_cas.secrets import pgp
from scone_cas.secrets.value import Value
from scone_policy.keys import pem
from scone_policy.syntax.placeholders import OLD_CHAIN

Form = Callable[[Value], bytes]

_CONFINED = "the key lives in the CAS's key store, which signs with it and delivers it to nobody (docs/key-stores.md)"


def spell(value: Value, suffix: str, *, escape_json: bool) -> bytes:
    """The value in the form that a placeholder's suffix asks for. Raises ValueError when it cannot be spelt so."""
    _check_confined(value)
    form = _FORMS.get(value.kind, {}).get(suffix)
    if form is None:
        raise ValueError(f"the suffix {suffix or '(none)'} does not fit a secret of kind {value.kind}")
    try:
        written = form(value)
    except KeyError:
        raise ValueError("a part of it is not known here") from None
    if not escape_json:
        return written
    try:
        return json.dumps(written.decode(), ensure_ascii=False)[1:-1].encode()
    except UnicodeDecodeError:
        raise ValueError("escape(json) needs text, and the value is not") from None


def public_form(value: Value) -> str:
    """What `/v1/values` shows: the value as it is given, hex for binary, PEM for keys and certificates.

    Of a certificate and of a pgp-key never the private part; a private-key has no other.
    """
    _check_confined(value)
    return _PUBLIC[value.kind](value).decode()


def _check_confined(value: Value) -> None:
    if value.is_confined:
        raise ValueError(_CONFINED)


def _content(value: Value) -> bytes:
    return value.content


def _hex(value: Value) -> bytes:
    return value.content.hex().encode()


def _base64(value: Value) -> bytes:
    return base64.b64encode(value.content)


def _pem(label: str) -> Form:
    return lambda value: pem.armour(label, value.content).encode()


def _key_of_certificate(value: Value) -> bytes:
    try:
        return value.more["private_key"]
    except KeyError:
        if value.signer is not None:
            raise ValueError(_CONFINED) from None
        raise ValueError("the private key of the certificate is not known here") from None


def _key_pem(value: Value) -> bytes:
    return pem.armour(pem.PRIVATE_KEY, _key_of_certificate(value)).encode()


def _chain(value: Value) -> bytes:
    """From the first CA to the root, without the leaf: a CA is no leaf, so that its own certificate begins it.

    What trusts a CA is given its chain (that of a self-signed one is itself), and never an empty file.
    """
    own = pem.armour(pem.CERTIFICATE, value.content).encode() if value.kind == "x509-ca" else b""
    return own + value.more["chain"]


def _old_chain(value: Value) -> bytes:
    """The old spelling: of a leaf the root first, and itself last; of a CA, which is no leaf, as `_chain` has it."""
    if value.kind != "x509":
        return _chain(value)
    chain = value.more["chain"]
    above = x509.load_pem_x509_certificates(chain) if chain else []
    return (
        b"".join(one.public_bytes(Encoding.PEM) for one in reversed(above))
        + pem.armour(pem.CERTIFICATE, value.content).encode()
    )


def _pkcs12(value: Value) -> bytes:
    """Key, certificate and chain under the empty password, as the language has no place for another."""
    chain = value.more["chain"]
    above = x509.load_pem_x509_certificates(chain) if chain else None
    key = signing_keys.load(_key_of_certificate(value))
    return pkcs12.serialize_key_and_certificates(
        None, key, x509.load_der_x509_certificate(value.content), above, NoEncryption()
    )


def _fragment(value: Value) -> bytes:
    """A text as it is; anything else as JSON in one line, which is YAML too."""
    found = json.loads(value.content)
    return found.encode() if isinstance(found, str) else value.content


def _armoured(half: str) -> Form:
    return lambda value: pgp.armour(value, half=half)


def _pgp_public(value: Value) -> bytes:
    return value.more["public_key"]


_KEY = {suffix: _pem(pem.PRIVATE_KEY) for suffix in ("", ":pem", ":pkcs8:pem")}
_X509: Mapping[str, Form] = {
    **{suffix: _pem(pem.CERTIFICATE) for suffix in ("", ":crt", ":crt:pem")},
    ":crt:der": _content,
    **{f":privatekey{suffix}": _key_pem for suffix in ("", ":pem", ":pkcs8:pem")},
    **{f":privatekey{suffix}": _key_of_certificate for suffix in (":der", ":pkcs8:der")},
    ":chain": _chain,
    OLD_CHAIN: _old_chain,
    ":pkcs12-with-private-key": _pkcs12,
}
_FORMS: Mapping[str, Mapping[str, Form]] = {
    "ascii": {"": _content},
    "binary": {
        "": _content,
        ":bin": _content,
        ":hex": _hex,
        ":base64": _base64,
        ":base64url": lambda value: base64.urlsafe_b64encode(value.content),
        ":base32": lambda value: base64.b32encode(value.content),
        ":base32nopad": lambda value: base64.b32encode(value.content).rstrip(b"="),
    },
    "private-key": {**_KEY, ":der": _content, ":pkcs8:der": _content},
    "public-key": {"": _pem(pem.PUBLIC_KEY), ":spki:pem": _pem(pem.PUBLIC_KEY), ":spki:der": _content},
    "x509": _X509,
    "x509-ca": _X509,
    "aad-token": {"": _content},
    "config-fragment": {"": _fragment},
    "jwt": {"": _content},
    "pgp-key": {
        ":privatekey:asciiarmored": _armoured("privatekey"),
        ":privatekey:binary": _content,
        ":privatekey:base64": _base64,
        ":publickey:asciiarmored": _armoured("publickey"),
        ":publickey:binary": _pgp_public,
        ":publickey:base64": lambda value: base64.b64encode(_pgp_public(value)),
    },
}
_PUBLIC: Mapping[str, Form] = {
    "ascii": _content,
    "binary": _hex,
    "private-key": _pem(pem.PRIVATE_KEY),
    "public-key": _pem(pem.PUBLIC_KEY),
    "x509": _pem(pem.CERTIFICATE),
    "x509-ca": _pem(pem.CERTIFICATE),
    "config-fragment": _content,
    "jwt": _content,
    "aad-token": _content,
    "pgp-key": _armoured("publickey"),
}
