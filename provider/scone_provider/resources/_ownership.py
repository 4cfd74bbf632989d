"""Who has the policy of a resource: what its state says against what stands at CAS (docs/adr/004-ownership.md)."""

from scone_provider.cas.client import CasClient
from scone_provider.cas.stored_session import StoredSession
from scone_provider.errors import CasError
from scone_provider.policy.loss import keys_made_anew
from scone_provider.policy.owners import Owner, Owners, marked, owners, without_owners
from scone_provider.policy.upload import upload
from scone_provider.resources._engine import Props, warn
from scone_provider.resources._run import RUN

OTHERS = "this policy belongs to another resource, of this stack or another one"
"""What is said where a policy stays."""


def is_mine(there: Owners, props: Props) -> bool:
    """False when the newest version names owners, and not this one. What names none is whose state knows it."""
    return not there or Owner.of(props.get("owner")) in there


def still(there: Owners, olds: Props, news: Props, url: str) -> Owner:
    """Who this resource is to CAS from an update on. Raises CasError when another one has the policy now."""
    mine, new = Owner.of(olds.get("owner")), RUN.new_owner()
    if mine in there:
        return mine
    # A state from before there were marks: the first update that writes one may have been cut off.
    cut_off = next((owner for owner in sorted(there) if owner.is_of_stack(new)), None) if mine is None else None
    if there and not cut_off and not news.get("adopt"):
        raise CasError(
            f"at {url}, {OTHERS}; nothing was changed",
            where=str(news["name"]),
            fix="remove this resource from the program, which leaves the policy to the other one; "
            "or give adopt=True to take it back",
        )
    return mine or cut_off or new


def leave_to(others: Owners, cas: CasClient, newest: StoredSession) -> None:
    """Others have the policy, too: take this resource's mark out, so that it goes with the last of them."""
    session = without_owners(newest.parsed())
    if keys := keys_made_anew(session, session):
        warn(
            f"{newest.name}: {OTHERS}. It was left as it is, with the mark of this resource, because CAS would make "
            f"{', '.join(keys)} anew for a version without it: nothing retires it, unless the other one has adopt=True."
        )
        return
    text = marked(session, others).wire(predecessor=newest.hash)
    upload(cas, newest.name, text, predecessor=newest.hash, is_wanted=lambda now: owners(now.parsed()) == others)
    warn(f"{newest.name}: {OTHERS}. It was left to that one.")
