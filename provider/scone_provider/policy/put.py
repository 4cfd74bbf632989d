"""Puts a version of a stack's policy on top of the one it knows, or says what stands in the way."""

from scone_policy.model.session import Session
from scone_provider.cas.client import CasClient
from scone_provider.cas.errors import CasConflict
from scone_provider.cas.stored_session import StoredSession
from scone_provider.policy.comparison import Comparison
from scone_provider.policy.history import walk
from scone_provider.policy.owners import Owners, marked, owners
from scone_provider.policy.properties import Props
from scone_provider.policy.upload import upload


def put(
    cas: CasClient, ours: Comparison, wanted: Session, props: Props, *, predecessor: str | None, whom: Owners
) -> str:
    """Upload `wanted` with marks for its owners `whom`; its hash. Raises CasError where another version came between.

    `props` say which values of `wanted` are secret.
    """
    text = marked(wanted, whom).wire(predecessor=predecessor, fspf_keys=ours.fspf_keys(wanted))

    def is_this(found: StoredSession) -> bool:
        return owners(found.parsed()) == whom and ours.is_at(found, wanted)

    try:
        return upload(cas, wanted.name, text, predecessor=predecessor, is_wanted=is_this)
    except CasConflict:
        found = walk(cas, wanted.name, predecessor) if predecessor is not None else None
        if found is None or predecessor is None or found.newest.hash == predecessor:
            raise
        raise ours.conflict(found, wanted, props) from None
