"""What a policy's resource says aloud: of values that CAS makes anew, and of what CREATOR comes to mean."""

from collections.abc import Callable, Sequence

import pulumi

from scone_policy.diff.regeneration import Renewal
from scone_policy.model.session import Session
from scone_policy.rules.creator import held_as_creator, may_update_by_name, other_updaters
from scone_policy.syntax.holes import has_hole, shown
from scone_provider.policy.state import creator_key
from scone_provider.resources._engine import warn


def tell(name: str, found: Sequence[Renewal]) -> None:
    """A warning for each value that goes; what is only issued once more is a line for all."""
    for one in found:
        if one.is_loss:
            warn(f"{name}: {one}")
    reissued = [one for one in found if not one.is_loss]
    if reissued:
        names = ", ".join(one.name for one in reissued)
        pulumi.log.info(f"{shown(name)}: CAS will issue these certificates anew: {names}; {reissued[0].why}.")


def tell_of_kept(name: object, kept: object, new: object) -> None:
    """A line that says which revision stays trusted beside a new one, which need not be known yet, and until when."""
    if kept == new:
        return
    other = f"the new one, {new}," if isinstance(new, str) else "the new one"
    pulumi.log.info(
        f"{name}: the released revision, {kept}, stays trusted beside {other} until the new pods are ready; then its "
        "trust ends, in this very `up`. If they do not come up, it stays until an `up` succeeds."
    )


def warn_of_another_cas(session: Session, before: object, now: str) -> None:
    """Warn where the policy is sought under another url: only CAS itself tells whether that is another CAS."""
    if before in (None, now) or has_hole(now) or not any(one.is_generated for one in session.secrets.values()):
        return
    warn(
        f"{session.name}: {now} takes the place of {before}. Another name for the same CAS changes nothing; another "
        "CAS generates all secrets anew, and what the old one holds stays there"
    )


def warn_of_other_updaters(session: Session, own_key: Callable[[], str | None]) -> None:
    """Warn where an upload by somebody else would end a right of this stack. `own_key`: its hash, where it is known."""
    policy = session.access_policy
    if not held_as_creator(policy, None) or not other_updaters(policy, None):
        return
    own = own_key()
    rights, others = held_as_creator(policy, own), other_updaters(policy, own)
    if rights and others:
        us = own or "this stack's key"
        warn(
            f"{session.name}: access_policy: CREATOR is whoever uploaded the newest version. After an upload by "
            f"{_listed(others)} it is that key, and {us} may no longer {_listed(rights)}. "
            f"Name {us} itself under {_listed(rights)} (in owners, where those make the policy)."
        )


def warn_of_moved_creator(current: Session, own: str) -> None:
    """Warn where CREATOR of what CAS has now is another key, and this stack lost rights by that."""
    creator, rights = creator_key(current), held_as_creator(current.access_policy, own)
    if creator in (None, own) or not rights:
        return
    back = (
        f"This stack may still update it: name {own} under {_listed(rights)}, then `pulumi up`."
        if may_update_by_name(current.access_policy, own)
        else f"The way back: whoever has the key {creator} uploads a version that names {own} under "
        f"{_listed(rights)}; then `pulumi refresh`."
    )
    warn(
        f"{current.name}: {creator} uploaded the newest version, so that CREATOR is that key: this stack ({own}) may "
        f"no longer {_listed(rights)}. {back}"
    )


def _listed(words: tuple[str, ...]) -> str:
    shown = [word if len(word) < 100 else f"{word.strip().splitlines()[0]} …" for word in words]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
