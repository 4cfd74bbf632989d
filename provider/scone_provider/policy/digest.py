"""The digest of a policy, and how it tells that the values behind it may be others.

A policy's digest is one over its text. The text can be the same, and what CAS generated for it another: it was changed
behind Pulumi's back and put right, or uploaded and taken back. So the digest ends in a count of the times when that
happened (`<64 hex>.2`; nothing where it never did). Pods carry the digest: they restart when a value may have changed.
"""

import re
from collections.abc import Mapping
from functools import partial

from pulumi.output import UNKNOWN

from scone_policy.forms.digest import policy_digest, without_private
from scone_policy.syntax.holes import has_hole
from scone_provider.policy.properties import Props
from scone_provider.policy.state import has_explicit_secret, secret_digest

_COUNT = re.compile(r"\.([1-9][0-9]*)$")


def keyed_digest(canonical: Mapping[str, object], private: Mapping[str, object], image_key: bytes | None) -> object:
    """Known unless a part of the policy is not, or a secret stands in it and there is no image key."""
    if has_hole(canonical) or (image_key is None and (private or has_explicit_secret(canonical))):
        return UNKNOWN
    secret = partial(secret_digest, image_key or b"")
    return policy_digest(without_private(canonical, private, secret=secret), secret=secret)


def counted(digest: object, olds: Props, *, again: bool) -> object:
    """A digest over a text with the count of `olds`, one more with `again`. An unknown one stays unknown."""
    if digest is UNKNOWN:
        return UNKNOWN
    count = _count(olds) + again
    return f"{digest}.{count}" if count else digest


def recounted(digest: object, olds: Props, *, again: bool) -> object:
    """For state, which cannot hold an unknown: as `counted`, and over the text of `olds` where `digest` is unknown."""
    known = _COUNT.sub("", str(olds["digest"])) if digest is UNKNOWN else digest
    return counted(known, olds, again=again)


def _count(olds: Props) -> int:
    match = _COUNT.search(str(olds.get("digest", "")))
    return int(match[1]) if match else 0
