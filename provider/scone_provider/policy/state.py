"""How a policy looks in Pulumi's state: markers for file-system keys, wrapped secrets, keyed digests.

Nothing that is secret stands there in clear, and nothing from which a guess could be confirmed without the stack's
image key (docs/architecture.md, What is secret).
"""

import copy
import hmac
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import cast

from cryptography import x509
from pulumi.runtime.rpc import wrap_rpc_secret

from scone_policy.errors import PolicyError
from scone_policy.forms.digest import masked
from scone_policy.forms.secret_paths import secret_paths
from scone_policy.keys.key_hash import certificate_key_hash
from scone_policy.model.services import MARKER
from scone_policy.model.session import Session
from scone_policy.syntax.placeholders import OPENING
from scone_provider.errors import ImageError
from scone_provider.image.protection.image_keys import derive_keys
from scone_provider.image.protection.seal import seal, unseal

_MARKER = re.compile(r"derived: (.+)")
_SEALED = "sealed key "  # no repository path has a space
_FOREIGN = "not derived from this stack's image key"

PLAIN = "plain"
"""In `private`, in place of all else: where a secret value is given that is no Pulumi secret."""

Canonical = Mapping[str, object]


def plain_secret(where: str) -> PolicyError:
    """The refusal of an explicit secret value that is no Pulumi secret."""
    return PolicyError(
        "this secret is given as plain text: whoever reads the program, or a copy of it, knows it",
        where=where,
        fix="pulumi config set --secret NAME, then pulumi.Config().require_secret('NAME'); or leave the value out, "
        "and CAS generates one that nobody sees",
    )


def marked_images(canonical: Canonical) -> dict[str, str]:
    """Service → identity of the image whose file-system key it gets, for services whose key is a marker."""
    found = {}
    for name, service in _section(canonical, "services").items():
        if match := _MARKER.fullmatch(str(service.get("fspf_key", ""))):
            found[name] = match[1]
    return found


def fspf_key(image_key: bytes, identity: str) -> str:
    """The file-system key of the image with that identity, 64 hex digits (docs/image-format.md, Keys).

    The key of an image that another toolchain made cannot be derived: its identity is the sealed key itself.
    """
    if identity.startswith(_SEALED):
        return _unseal(image_key, identity.removeprefix(_SEALED))
    return derive_keys(image_key, identity=identity).fspf_key


def seal_fspf_key(image_key: bytes, key: str) -> str:
    """What stands for a key (64 hex digits) that is not derived: it, sealed under the stack's image key."""
    return _SEALED + seal(derive_keys(image_key, identity=_SEALED), _SEALED.encode(), bytes.fromhex(key)).hex()


def stated_key(key: str, marker: str, *, image_key: bytes) -> str:
    """What stands for a file-system key that a service has at CAS: `marker` where it stands for this one, or else a
    marker with the key sealed in it. What is no key stays as it is.
    """
    if not re.fullmatch("[0-9A-Fa-f]{64}", key):
        return key
    match = _MARKER.fullmatch(marker)
    if match and hmac.compare_digest(fspf_key(image_key, match[1]), key.lower()):
        return marker
    return MARKER + seal_fspf_key(image_key, key)


def _unseal(image_key: bytes, sealed: str) -> str:
    try:
        return unseal(
            derive_keys(image_key, identity=_SEALED).encryption, _SEALED.encode(), bytes.fromhex(sealed)
        ).hex()
    except (ValueError, ImageError):
        raise ImageError(
            "the image's key was sealed under another image key",
            where="scone:imageKey",
            fix="set the image key that the stack had, or have the image built anew",
        ) from None


def with_markers(canonical: Canonical, *, expected: object, image_key: bytes | None) -> dict[str, object]:
    """A copy in which every file-system key is a marker.

    A key that the stack's image key gives for the marker in `expected` (the policy as this stack wrote it) becomes
    that marker; any other one a text that names it by a keyed digest. Without an image key nothing can be told, and
    the marker stays. `namespace_hash` is taken from `expected`: later versions of a session cannot carry it.
    """
    copied = copy.deepcopy(dict(canonical))
    known = expected if isinstance(expected, Mapping) else {}
    if "namespace_hash" in known:
        copied.setdefault("namespace_hash", known["namespace_hash"])
    wanted = _section(known, "services")
    for name, service in _section(copied, "services").items():
        key = service.get("fspf_key")
        if not isinstance(key, str) or _MARKER.fullmatch(key) or key.startswith(OPENING):
            continue
        marker = str(wanted.get(name, {}).get("fspf_key", ""))
        service["fspf_key"] = _marker(key, marker, image_key)
    return copied


def _marker(key: str, marker: str, image_key: bytes | None) -> str:
    if image_key is None:
        return marker or _FOREIGN
    match = _MARKER.fullmatch(marker)
    if match and hmac.compare_digest(fspf_key(image_key, match[1]), key.lower()):
        return marker
    return f"{_FOREIGN} ({secret_digest(image_key, key)[:12]})"


def with_secrets(policy: object) -> object:
    """A copy in which every explicit secret value is wrapped, so that the engine encrypts it and never shows it."""
    if not isinstance(policy, Mapping):
        return policy
    return masked(policy, secret=wrap_rpc_secret)


def has_explicit_secret(canonical: Canonical) -> bool:
    """True when a secret was given instead of generated: a value, a token, a password, a volume's key."""
    return bool(secret_paths(canonical))


def secret_digest(image_key: bytes, value: str) -> str:
    """What stands for a secret in digests: HMAC-SHA256 under the stack's image key, 64 hex digits."""
    return hmac.digest(image_key, b"pulumi-scone secret v1\0" + value.encode(), "sha256").hex()


def creator_key(session: Session) -> str | None:
    """The key hash of who uploaded this version, or its signer; None where CAS recorded neither."""
    creator = session.creator
    if isinstance(creator, str):
        with suppress(ValueError):
            return certificate_key_hash(x509.load_pem_x509_certificate(creator.encode()))
    if isinstance(creator, Mapping) and isinstance(creator.get("signer"), str):
        return f"the signer {''.join(creator['signer'].split())}"
    return None


def written_by(session: Session, key_hash: str) -> bool:
    """True when the session's creator has that key; where CAS records no creator, when that key may update it."""
    return creator_key(session) == key_hash or (session.creator is None and key_hash in session.access_policy.update)


def _section(canonical: Canonical, key: str) -> dict[str, dict[str, object]]:
    return cast("dict[str, dict[str, object]]", canonical.get(key) or {})
