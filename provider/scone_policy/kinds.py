"""Kinds of secrets: which keys each takes, which it needs, and how a given value must look (section 3)."""

import ipaddress
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scone_policy import durations, fragments, pem
from scone_policy.holes import has_hole, is_hole
from scone_policy.placeholders import is_reference
from scone_policy.problems import at
from scone_policy.scalars import matching, text
from scone_policy.source import Number

DEFAULT_SIZE = 20
MAX_SIZE = 64 * 1024
DEFAULT_KEY_TYPE = "P-256"
RSA_KEYS = frozenset({"RSA-2048", "RSA-3072"})
KEY_TYPES = (DEFAULT_KEY_TYPE, "P-384", "Ed25519", *sorted(RSA_KEYS))

_X509 = frozenset({"private_key", "issuer", "common_name", "endpoint", "valid_for"})


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The keys of one kind beside kind, value, import, import_akv, export, export_public.

    `needs`: those that a generated one needs. `with_value`: those that may stand beside a given value. `check` takes a
    given value and returns it in its one spelling, or raises ValueError; None means that no value can be given.
    """

    keys: frozenset[str] = frozenset()
    needs: tuple[str, ...] = ()
    with_value: frozenset[str] = frozenset()
    check: Callable[[str], str] | None = None


def _ascii(value: str) -> str:
    if not value.isascii():
        raise ValueError("the value of an ascii secret must hold ASCII characters only")
    if any(not char.isprintable() and char not in "\t\n\r" for char in value):
        raise ValueError("the value of an ascii secret must hold printable characters and line breaks only")
    return value


def _binary(value: str) -> str:
    if len(value) % 2 or set(value) - set(string.hexdigits):
        raise ValueError("the value of a binary secret must be hex, two digits a byte")
    return value


KINDS: Mapping[str, Kind] = {
    "ascii": Kind(keys=frozenset({"size"}), with_value=frozenset({"size"}), check=_ascii),
    "binary": Kind(keys=frozenset({"size"}), with_value=frozenset({"size"}), check=_binary),
    "private-key": Kind(
        keys=frozenset({"key_type", "migrate"}), with_value=frozenset({"migrate"}), check=pem.private_key
    ),
    "public-key": Kind(keys=frozenset({"private_key"}), needs=("private_key",), check=pem.public_key),
    "x509": Kind(
        keys=_X509 | {"dns", "san"},
        needs=("private_key",),
        with_value=frozenset({"private_key"}),
        check=pem.certificates,
    ),
    "x509-ca": Kind(keys=_X509, needs=("private_key",), with_value=frozenset({"private_key"}), check=pem.certificates),
    "aad-token": Kind(
        keys=frozenset({"tenant_id", "client_id", "application_secret", "private_key", "certificate_thumbprint"}),
        needs=("tenant_id", "client_id"),
    ),
    "config-fragment": Kind(),
    "pgp-key": Kind(),
    "jwt": Kind(keys=frozenset({"signer", "alg", "validity", "payload"}), needs=("signer", "alg", "validity")),
}

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_\-]{0,61}[A-Za-z0-9_])?"
_DNS = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*\.?")
_MAX_DNS = 253
MAX_COMMON_NAME = 64

uuid = matching("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "must be a UUID")
thumbprint = matching("([0-9a-fA-F]{2}:?){19,31}[0-9a-fA-F]{2}", "must be the certificate's SHA-1 or SHA-256 in hex")


def dns(value: object) -> str:
    """A DNS name, wildcards included."""
    found = text(value)
    if not has_hole(found) and (len(found) > _MAX_DNS or not _DNS.fullmatch(found)):
        raise ValueError("must be DNS names such as api.example.com")
    return found


def common_name(value: object) -> str:
    """The name of a certificate's subject (X.520, upper bound ub-common-name)."""
    found = text(value)
    if not has_hole(found) and not is_reference(found) and not 1 <= len(found) <= MAX_COMMON_NAME:
        raise ValueError(f"common_name must have 1 to {MAX_COMMON_NAME} characters (X.520)")
    return found


def san(value: object) -> str:
    """A subject alternative name: `dns:…` or `ip:…`."""
    found = text(value)
    if has_hole(found):
        return found
    sort, _, name = found.partition(":")
    if sort == "dns":
        return f"dns:{dns(name)}"
    if sort != "ip":
        raise ValueError("each entry must begin with dns: or ip:")
    try:
        return f"ip:{ipaddress.ip_address(name)}"
    except ValueError:
        raise ValueError("ip: must be followed by an IP address") from None


def duration(value: object) -> str:
    """A length of time, with single spaces."""
    found = " ".join(text(value).split())
    if not has_hole(found):
        durations.seconds(found)
    return found


def token_key(value: object) -> str:
    """The private key of an aad-token: PEM, of which only the frame is looked at, or a reference."""
    found = text(value)
    frame = r"\s*-----BEGIN (RSA |EC )?PRIVATE KEY-----[A-Za-z0-9+/=.\s]+-----END (RSA |EC )?PRIVATE KEY-----\s*"
    if has_hole(found) or is_reference(found) or re.fullmatch(frame, found):
        return found
    raise ValueError("must be PEM: -----BEGIN PRIVATE KEY-----, base64, -----END PRIVATE KEY-----")


def payload(value: object) -> dict[str, str]:
    """Claims of a jwt: texts by name, without the three that CAS sets itself."""
    if not isinstance(value, Mapping):
        raise ValueError("must be a map of texts")  # noqa: TRY004
    for name, item in value.items():
        if str(name) in ("iat", "nbf", "exp"):
            raise at(f"{name} is set by CAS: leave it out", str(name))
        if not isinstance(item, str) or isinstance(item, Number):
            raise at(f"the claim {str(name)[:40]!r} must be text: put numbers in quotes", str(name))
    return {text(name): text(item) for name, item in value.items()}


def check_value(kind: str, value: object, size: int | str | None) -> str:
    """A given value in its one spelling: JSON for a fragment, else text. Raises ValueError, without the value."""
    if kind == "config-fragment":
        return fragments.dump(value)
    rules = KINDS.get(kind)
    if rules is None or is_hole(kind):
        return text(value)
    if rules.check is None:
        raise ValueError(f"a secret of kind {kind} cannot be given a value")
    found = text(value)
    if has_hole(found):
        return found
    found = rules.check(found)
    length = len(found) // 2 if kind == "binary" else len(found)
    if isinstance(size, int) and size != length:
        raise ValueError("size differs from the size of the given value: leave it out")
    return found
