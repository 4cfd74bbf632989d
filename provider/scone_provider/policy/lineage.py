"""Which versions at CAS are one resource's work, although others came and went on the way."""

from contextlib import suppress
from itertools import pairwise

import scone_policy
from scone_policy.model.session import Session
from scone_provider.cas.stored_session import StoredSession
from scone_provider.errors import SconeError
from scone_provider.policy.history import Walk
from scone_provider.policy.owners import owners, without_owners
from scone_provider.policy.state import creator_key


def followed(found: Walk, base: str, own_key: str) -> str:
    """The newest version that says what `base` says, by way of versions that changed its owners alone, or are ours."""
    chain = [*reversed(found.after(base).versions)]
    if chain[0].hash != base:
        return base  # the walk was cut
    for before, after in pairwise(chain):
        first, second = _parsed(before), _parsed(after)
        if first is None or second is None:
            break
        if text_of(without_owners(first)) != text_of(without_owners(second)):
            break
        # Who takes a policy over leaves a mark: without one, somebody uploaded the text, and CAS made things anew.
        if owners(second) in (frozenset(), owners(first)) and creator_key(second) != own_key:
            break
        base = after.hash
    return base


def text_of(session: Session) -> Session:
    """What it says, whatever version it is and whoever wrote it; `namespace_hash` stands in first versions only."""
    return session.model_copy(update={"namespace_hash": None, "predecessor": None, "creator": None})


def _parsed(stored: StoredSession) -> Session | None:
    with suppress(SconeError):
        return scone_policy.parse(stored.description_yaml)
    return None
