"""Kinds of secrets: which keys each takes, which it needs, and how a given value must look (section 3)."""

import ipaddress
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scone_policy.errors import RuleError
from scone_policy.keys import pem
from scone_policy.syntax import config_fragments, durations
from scone_policy.syntax.holes import has_hole, is_hole
from scone_policy.syntax.placeholders import is_reference
from scone_policy.syntax.problems import at
from scone_policy.syntax.scalars import matching, text
from scone_policy.syntax.yaml_source import Number

DEFAULT_SIZE = 20
MAX_SIZE = 64 * 1024
DEFAULT_KEY_TYPE = "P-256"
RSA_KEYS = frozenset({"RSA-2048", "RSA-3072"})
KEY_TYPES = (DEFAULT_KEY_TYPE, "P-384", "Ed25519", *sorted(RSA_KEYS))

_X509 = frozenset({"private_key", "issuer", "common_name", "endpoint", "valid_for"})
_BESIDE_CERTIFICATE = frozenset({"private_key", "issuer"})
"""Beside a given certificate the issuer signs nothing: it says what stands above."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The keys of one kind beside kind, value, import, import_akv, export, export_public.

    `needs`: those that a generated one needs. `with_value`: those that may stand beside a given value. `check` takes a
    given value and returns it in its one spelling, or raises RuleError; None means that no value can be given.
    """

    keys: frozenset[str] = frozenset()
    needs: tuple[str, ...] = ()
    with_value: frozenset[str] = frozenset()
    check: Callable[[str], str] | None = None


def _ascii(value: str) -> str:
    if not value.isascii():
        raise RuleError(
            "the value of an ascii secret must hold ASCII characters only", fix="Give it as a binary secret, in hex."
        )
    if any(not char.isprintable() and char not in "\t\n\r" for char in value):
        raise RuleError(
            "the value of an ascii secret must hold printable characters and line breaks only",
            fix="Give it as a binary secret, in hex.",
        )
    return value


def _binary(value: str) -> str:
    """White space means nothing: a block scalar ends with a line break, and long values have several lines."""
    found = "".join(value.split())
    if len(found) % 2 or set(found) - set(string.hexdigits):
        raise RuleError(
            "the value of a binary secret must be hex, two digits a byte",
            fix="Convert it: xxd -p FILE. A text is a secret of kind ascii.",
        )
    return found


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
        with_value=_BESIDE_CERTIFICATE,
        check=pem.certificates,
    ),
    "x509-ca": Kind(keys=_X509, needs=("private_key",), with_value=_BESIDE_CERTIFICATE, check=pem.certificates),
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

_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_COPY_UUID = "Copy it from the application's overview in Entra ID."
uuid = matching(f"({_UUID})?", "must be a UUID", fix=_COPY_UUID, trim=True)
"""A tenant or a client, which may be left empty: such documents are uploaded long before a token is asked for."""
thumbprint = matching(
    "([0-9a-fA-F]{2}:?){19,31}[0-9a-fA-F]{2}",
    "must be the certificate's SHA-1 or SHA-256 in hex",
    fix="Take what openssl x509 -noout -fingerprint -sha256 -in FILE prints.",
    trim=True,
)


def dns(value: object) -> str:
    """A DNS name, wildcards included."""
    found = text(value)
    if not has_hole(found) and (len(found) > _MAX_DNS or not _DNS.fullmatch(found)):
        raise RuleError(
            "must be DNS names such as api.example.com", fix="Write an IP address under san, as ip:10.0.0.1."
        )
    return found


def common_name(value: object) -> str:
    """The name of a certificate's subject (X.520, upper bound ub-common-name)."""
    found = text(value)
    if not has_hole(found) and not is_reference(found) and not 1 <= len(found) <= MAX_COMMON_NAME:
        raise RuleError(
            f"common_name must have 1 to {MAX_COMMON_NAME} characters (X.520)",
            fix="Leave it out: then the first DNS name, or the secret's name, stands there.",
        )
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
        raise RuleError("each entry must begin with dns: or ip:", fix="Write dns:api.example.com or ip:10.0.0.1.")
    try:
        return f"ip:{ipaddress.ip_address(name)}"
    except ValueError:
        raise RuleError("ip: must be followed by an IP address", fix="Write names as dns:….") from None


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
    raise RuleError(
        "must be PEM: -----BEGIN PRIVATE KEY-----, base64, -----END PRIVATE KEY-----",
        fix="Write it as a block (`private_key: |`), or name a private-key secret: $$SCONE::name$$.",
    )


def payload(value: object) -> dict[str, str]:
    """Claims of a jwt: texts by name, without the three that CAS sets itself."""
    if not isinstance(value, Mapping):
        raise RuleError("must be a map of texts", fix="Write one claim a line: `name: text`.")
    for name, item in value.items():
        if str(name) in ("iat", "nbf", "exp"):
            raise at(f"{name} is set by CAS", str(name), fix="Leave it out; validity says how long the token holds.")
        if not isinstance(item, str) or isinstance(item, Number):
            raise at(f"the claim {str(name)[:40]!r} must be text", str(name), fix="Put numbers and switches in quotes.")
    return {text(name): text(item) for name, item in value.items()}


def check_value(kind: str, value: object, size: int | str | None) -> str:
    """A given value in its one spelling: JSON for a fragment, else text. Raises RuleError, without the value."""
    if kind == "config-fragment":
        return config_fragments.dump(value)
    rules = KINDS.get(kind)
    if rules is None or is_hole(kind):
        return text(value)
    if rules.check is None:
        raise RuleError(f"a secret of kind {kind} cannot be given a value", fix="Leave value out: CAS makes it.")
    found = text(value)
    if has_hole(found):
        return found
    found = rules.check(found)
    length = len(found) // 2 if kind == "binary" else len(found)
    if isinstance(size, int) and size != length:
        raise RuleError("size differs from the size of the given value", fix="Leave it out.")
    return found
