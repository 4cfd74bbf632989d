"""What a SecurityPolicy says of values that CAS makes anew, and how its digest tells that they may be others.

A policy's digest is one over its text. The text can be the same, and what CAS generated for it another: it was changed
behind Pulumi's back and put right, or uploaded and taken back. So the digest ends in a count of the times when that
happened (`<64 hex>.2`; nothing where it never did). Pods carry the digest: they restart when a value may have changed.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pulumi
from pulumi.output import UNKNOWN

from scone_policy.diff.regeneration import Renewal, changes_values, renewals
from scone_policy.model.session import Session
from scone_policy.syntax.holes import has_hole, shown
from scone_provider.policy.history import Parse, Walk
from scone_provider.resources._engine import Props, warn
from scone_provider.resources._revised import policy_of

_COUNT = re.compile(r"\.([1-9][0-9]*)$")


def is_other_policy(olds: Props, news: Props) -> bool:
    """Whether CAS is to have other content than the version that `olds` stands for."""
    return any(olds.get(key) != news.get(key) for key in ("policy", "revision"))


def renewed(olds: Props, canonical: Mapping[str, Any], revision: object) -> list[Renewal]:
    """What the update from these old inputs makes anew or forgets; nothing where none will happen."""
    if not olds.get("policy") or policy_of(olds).get("name") != canonical.get("name"):
        return []
    if not is_other_policy(olds, {"policy": canonical, "revision": revision}):
        return []
    return renewals(policy_of(olds), canonical)


def tell(name: str, found: Sequence[Renewal]) -> None:
    """A warning for each value that goes; what is only issued once more is a line for all."""
    for one in found:
        if one.is_loss:
            warn(f"{name}: {one}")
    reissued = [one for one in found if not one.is_loss]
    if reissued:
        names = ", ".join(one.name for one in reissued)
        pulumi.log.info(f"{shown(name)}: CAS will issue these certificates anew: {names}; {reissued[0].why}.")


def warn_of_another_cas(session: Session, before: object, now: str) -> None:
    """Warn where the policy is sought under another url: only CAS itself tells whether that is another CAS."""
    if before in (None, now) or has_hole(now) or not any(one.is_generated for one in session.secrets.values()):
        return
    warn(
        f"{session.name}: {now} takes the place of {before}. Another name for the same CAS changes nothing; another "
        "CAS generates all secrets anew, and what the old one holds stays there"
    )


def losses(before: Session, after: Session) -> list[str]:
    """What one version made anew or forgot that the version before it held, a line each."""
    return [
        f"CAS {'made anew' if one.effect == 'anew' else 'forgot'} {one.section}.{one.name}, because {one.why}"
        for one in renewals(before.canonical(), after.canonical())
        if one.is_loss
    ]


def counted(digest: object, olds: Props, *, again: bool) -> object:
    """A digest over a text with the count of `olds`, one more with `again`. An unknown one stays unknown."""
    if digest is UNKNOWN:
        return UNKNOWN
    count = _count(olds) + again
    return f"{digest}.{count}" if count else digest


def recounted(olds: Props, *, again: bool) -> object:
    """The digest of `olds` with its count, one more with `again`."""
    return counted(_COUNT.sub("", str(olds["digest"])), olds, again=again)


def held_other_values(found: Walk, parse: Parse) -> bool:
    """Whether, on the way from the known version to the newest, a value became another, be it for a while.

    A version that cannot be understood, and a way that was not walked to its end, may have done anything.
    """
    if found.cut:
        return True
    for before, after in pairwise(reversed(found.versions)):
        sides = parse(before), parse(after)
        if sides[0] is None or sides[1] is None or changes_values(sides[0].canonical(), sides[1].canonical()):
            return True
    return False


def _count(olds: Props) -> int:
    match = _COUNT.search(str(olds.get("digest", "")))
    return int(match[1]) if match else 0
