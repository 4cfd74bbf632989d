"""Which revision was released last, as the versions at CAS tell it to a resource whose state says nothing of it.

A rollout that succeeded ends in a version that takes every other revision out of the one before it, and changes nothing
else (docs/adr/003-revisions-in-one-session.md). Only what has stood in all versions since then is trusted now, so that
nothing comes back that somebody took out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from scone_policy.model.session import Session
from scone_policy.rules.creator import other_updaters
from scone_provider.cas.client import CasClient
from scone_provider.errors import SconeError
from scone_provider.policy.history import LONGEST_WALK
from scone_provider.policy.lineage import text_of
from scone_provider.policy.revisions import Revision, only
from scone_provider.policy.state import creator_key


def versions_there(cas: CasClient, name: str) -> Iterator[Session]:
    """What the versions of a policy say, the newest first, back to one that cannot be understood."""
    for stored in islice(cas.history(name), LONGEST_WALK):
        try:
            yield stored.parsed()
        except SconeError:
            return


def last_settled(versions: Iterable[Session], service: str, *, own_key: str) -> Revision | None:
    """The service's revision that was released last and is trusted still; None where the versions do not tell.

    `versions`: the newest first. Only versions by `own_key` count: who else may write can write any revision.
    """
    standing: Mapping[str, Revision] | None = None
    after: Session | None = None
    for before in versions:
        here = _revisions(before, service)
        standing = {name: one for name, one in (standing or here).items() if here.get(name) == one}
        if not standing:
            return None
        if after is not None and (name := _settled(before, after, own_key)) in standing:
            return standing[name]
        after = before
    return None


def _revisions(session: Session, service: str) -> dict[str, Revision]:
    canonical: Mapping[str, Any] = session.canonical()
    found = {}
    for name, said in (canonical.get("services") or {}).items():
        if re.fullmatch(re.escape(service) + "-[0-9a-f]{12}", name):
            image = (canonical.get("images") or {}).get(name) if said.get("image_name") == name else None
            found[name] = Revision(name=name, service=said, image=image)
    return found


def _settled(before: Session, after: Session, own_key: str) -> str:
    """The revision that `after` left alone; empty where it is anything but the end of a rollout."""
    (name, *others) = after.services or ("",)
    if others or name not in before.services or not (_is_own(before, own_key) and _is_own(after, own_key)):
        return ""
    return name if text_of(only(before, name)) == text_of(after) else ""


def _is_own(version: Session, own_key: str) -> bool:
    """Whether this key wrote it; where CAS recorded nobody, whether nobody else may write."""
    if version.creator is not None:
        return creator_key(version) == own_key
    return version.access_policy.reference is None and not other_updaters(version.access_policy, own_key)
