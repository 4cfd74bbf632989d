"""What one caller may do to one session, and what an upload must keep to follow what stands (section 6)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from scone_cas.errors import Reason, Refusal
from scone_cas.registry.access_placeholders import meaning
from scone_cas.secrets.value import Value
from scone_cas.sessions import root_namespace
from scone_cas.sessions.authorization import Caller, Decision, effective
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_policy.model.access import AccessPolicy
from scone_policy.model.session import Session
from scone_policy.syntax.names import ROOT, parent


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
    def may_create(self) -> bool:
        """Whether they may create sessions right below it."""
        return self.decision.permits(self.policy.may_create_sessions)

    @property
    def may_list(self) -> bool:
        """Whether they may see the names below it: who made its newest version always may."""
        decision = self.decision
        maker = replace(decision, creator=self.live.maker)
        return decision.permits(self.policy.may_list_sessions) or maker.is_creator()

    @property
    def may_compare(self) -> bool:
        """Whether they may find out if a hash is the session's: with a salt in it, or else by reading it, it is known.

        Without, the hash of a guessed text would tell the text, with all that is secret in it.
        """
        # The root that nobody claimed has the same text on every CAS.
        return self.live.public_hash is not None or self.live is root_namespace.LIVE or self.may_read

    @property
    def asker(self) -> str:
        """The end of a refusal: who asked."""
        key_hash = self.decision.caller.key_hash
        return f" for the key {key_hash}" if key_hash else ": no client certificate was presented"


def nearest_namespace(name: str, find: Callable[[str], SessionSnapshot | None]) -> SessionSnapshot:
    """The session that is there and closest above a name, which itself may be there or not."""
    above = parent(name)
    while above is not None:
        found = find(above)
        if found is not None:
            return found
        above = parent(above)
    return find(ROOT) or root_namespace.LIVE


def no_upload(name: str, asked: Access) -> Refusal:
    """The one answer to who may neither create a session nor update it, be it there or not."""
    return Refusal(
        Reason.FORBIDDEN,
        f"no permission to update the session '{name}', and no permission to create sessions in the namespace "
        f"'{parent(name) or name}'{asked.asker}",
    )


def withheld(name: str, what: str, *, asked: Access, above: Access, missing: bool) -> Refusal:
    """The refusal for who may not do this to a session, the same one where there is none.

    Only who may create it learns that it is `missing`: they would learn that by creating it. Nobody in particular, who
    proved no key, does not, whatever the namespace lets anybody do: names are not there to be tried.
    """
    if missing and above.may_create and above.decision.caller.key_hash is not None:
        return Refusal(Reason.UNKNOWN, f"there is no session '{name}'")
    return Refusal(Reason.FORBIDDEN, f"no permission to {what} '{name}', or there is none{asked.asker}")


def check_create(session: Session, above: Access) -> None:
    """Raises Refusal unless the caller may create a session in the namespace that stands `above` it."""
    namespace = above.live
    check_may_create(session.name, above)
    if session.namespace_hash is not None and not above.may_compare:
        raise Refusal(
            Reason.FORBIDDEN,
            f"namespace_hash can be given by who may read the namespace '{namespace.session.name}', "
            f"or where it has a salt: leave it out{above.asker}",
        )
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


def check_may_create(name: str, above: Access) -> None:
    """Raises Refusal unless the caller may create anything in that namespace."""
    if not above.may_create:
        raise no_upload(name, above)


def check_may_update(before: Access) -> None:
    """Raises Refusal unless the caller may replace it by anything."""
    if not before.decision.permits(before.policy.update):
        raise no_upload(before.live.session.name, before)


def lost(predecessor: str | None) -> str:
    """The words for an upload whose predecessor has another successor."""
    return f"Could not create successor session. Invalid previous session digest: {predecessor}"
