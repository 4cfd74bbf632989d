"""What one caller may do to one session, and what an upload must keep to follow what stands (section 6)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from scone_cas.errors import Reason, Refusal
from scone_cas.registry.access_placeholders import meaning
from scone_cas.secrets.value import Value
from scone_cas.sessions.authorization import Caller, Decision, effective
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_policy.model.access import AccessPolicy
from scone_policy.model.session import Session


@dataclass(frozen=True, kw_only=True)
class Access:
    """The access policy that is in force for a session, for one caller."""

    live: SessionSnapshot
    policy: AccessPolicy
    decision: Decision

    @classmethod
    def of(cls, live: SessionSnapshot, caller: Caller, value: Callable[[str], Value]) -> "Access":
        """With what placeholders of the policy stand for: `value` finds the session's secrets by name."""

        def fill(reference: str) -> object:
            return meaning(live.session, reference, value)

        policy = effective(live.session.access_policy, fill)
        return cls(live=live, policy=policy, decision=Decision(caller=caller, creator=live.creator, fill=fill))

    @property
    def may_read(self) -> bool:
        """Whether the caller may read the session, and its hash."""
        return self.decision.permits(self.policy.read)

    @property
    def may_list(self) -> bool:
        """Whether they may see the names below it: who made its newest version always may."""
        decision = self.decision
        maker = replace(decision, creator=self.live.maker)
        return decision.permits(self.policy.may_list_sessions) or maker.is_creator()

    @property
    def asker(self) -> str:
        """The end of a refusal: who asked."""
        key_hash = self.decision.caller.key_hash
        return f" for the key {key_hash}" if key_hash else ": no client certificate was presented"


def check_create(session: Session, above: Access) -> None:
    """Raises Refusal unless the caller may create a session in the namespace that stands `above` it."""
    namespace = above.live
    check_may_create(above)
    if session.namespace_hash not in (None, namespace.hash):
        raise Refusal(
            Reason.CONFLICT, f"the namespace '{namespace.session.name}' has another hash than namespace_hash says"
        )
    if session.predecessor is not None:
        raise Refusal(Reason.CONFLICT, lost(session.predecessor))


def check_update(session: Session, before: Access, *, sealed: Callable[[], bool]) -> None:
    """Raises Refusal unless the caller may replace the version that stands, and names it.

    `sealed`: whether that is the root namespace, and too late to claim it.
    """
    check_may_update(before)
    if sealed():
        raise Refusal(
            Reason.FORBIDDEN,
            "the root namespace is sealed: it can be claimed only while no other session exists, "
            "and this CAS holds some",
        )
    if session.predecessor is None:
        raise Refusal(
            Reason.CONFLICT, f"the session '{session.name}' exists already: its hash must be given as predecessor"
        )
    if session.predecessor != before.live.hash:
        raise Refusal(Reason.CONFLICT, lost(session.predecessor))


def check_may_create(above: Access) -> None:
    """Raises Refusal unless the caller may create anything in that namespace."""
    if not above.decision.permits(above.policy.may_create_sessions):
        raise Refusal(
            Reason.FORBIDDEN,
            f"no permission to create sessions in the namespace '{above.live.session.name}'{above.asker}",
        )


def check_may_update(before: Access) -> None:
    """Raises Refusal unless the caller may replace it by anything."""
    if not before.decision.permits(before.policy.update):
        name = before.live.session.name
        raise Refusal(Reason.FORBIDDEN, f"no permission to update the session '{name}'{before.asker}")


def lost(predecessor: str | None) -> str:
    """The words for an upload whose predecessor has another successor."""
    return f"Could not create successor session. Invalid previous session digest: {predecessor}"
