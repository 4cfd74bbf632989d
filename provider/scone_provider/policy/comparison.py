"""Versions of a policy compared as one stack sees them: its keys tell which values in them are its own."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from pulumi.output import UNKNOWN

import scone_policy
from scone_policy.diff.compare import compare
from scone_policy.model.session import Session
from scone_policy.syntax.holes import has_hole
from scone_provider.cas.client import CasClient
from scone_provider.cas.stored_session import StoredSession
from scone_provider.errors import CasError, SconeError
from scone_provider.policy.foreign import foreign_places, hidden, known_values
from scone_provider.policy.history import Since, Walk, since
from scone_provider.policy.lineage import followed
from scone_provider.policy.loss import losses
from scone_provider.policy.owners import without_owners
from scone_provider.policy.properties import (
    CHANGED_ELSEWHERE,
    Props,
    last_released,
    policy_of,
    private_of,
    private_there,
    wanted_there,
    without_kept,
)
from scone_provider.policy.released import last_settled, versions_there
from scone_provider.policy.revisions import (
    Revision,
    as_written,
    refuse_changed_session,
    refuse_unfit,
    revision_name,
)
from scone_provider.policy.state import (
    fspf_key,
    has_explicit_secret,
    marked_images,
    secret_digest,
    stated_key,
    with_markers,
)
from scone_provider.policy.takeover import listing
from scone_provider.stack.settings import Settings


@dataclass(frozen=True)
class Comparison:
    """Compares sessions under the keys of one stack, which are asked for where a question needs them.

    `props` are the inputs or outputs of the policy's resource. No answer holds a secret value.
    """

    settings: Settings

    @property
    def own_key(self) -> str:
        """The key hash of this stack. Raises SconeError without an identity."""
        return self.settings.identity().key_hash

    def difference(self, current: Session, wanted: Session, props: Props, *, expected: object = None) -> list[str]:
        """What carrying `wanted` out would change, a line each.

        `expected` is the policy whose markers stand for keys: `wanted` itself where it is what this stack wants.
        """
        image_key, after = self.settings.image_key, wanted.canonical()
        before, after = (
            with_markers(side, expected=expected or after, image_key=image_key) for side in (current.canonical(), after)
        )
        known = known_values(props)
        before, after = (hidden(side, foreign_places(side, known)) for side in (before, after))
        return [str(change) for change in compare(before, after, private=private_there(props))]

    def is_at(self, found: StoredSession, wanted: Session) -> bool:
        """True when a version at CAS says what is wanted. Raises SconeError without the key to compare keys with."""
        if marked_images(wanted.canonical()):
            self.settings.require_image_key()
        return not self.difference(without_owners(found.parsed()), wanted, {})

    def settled(self, found: Walk, props: Props) -> str | None:
        """The version right after the known one that has its revision alone: its rollout succeeded."""
        successor = found.second
        if successor is None or not props.get("revision"):
            return None
        alone = wanted_there(without_kept(props))
        return successor.hash if self.is_at(successor, alone) else None

    def released(self, cas: CasClient, props: Props) -> Revision | None:
        """The last released revision of a policy that state does not know, as state keeps it; None where CAS does not
        tell, or rollouts do not overlap. Raises SconeError without the key that seals file-system keys.
        """
        if not props.get("revision"):
            return None
        ((service, stated),) = policy_of(props)["services"].items()
        found = last_settled(versions_there(cas, str(props["name"])), service, own_key=self.own_key)
        if found is None or "fspf_key" not in found.service:
            return found
        key, marker = str(found.service["fspf_key"]), str(stated.get("fspf_key", ""))
        key = stated_key(key, marker, image_key=self.settings.require_image_key())
        return replace(found, service={**found.service, "fspf_key": key})

    def base(self, found: Walk, props: Props) -> str:
        """The newest version that is this resource's work: what it wrote, settled, or what only owners changed."""
        base = self.settled(found, props) or str(props["hash"])
        return base if found.newest.hash == base else followed(found, base, self.own_key)

    def since(self, found: Walk, props: Props) -> Since:
        """What happened after the first version of the walk."""
        return since(
            found,
            own_key=self.own_key,
            parse=parsed_if_possible,
            differ=lambda before, after: self.difference(
                before, after, props, expected=wanted_there(props).canonical()
            ),
            losses=losses,
        )

    def conflict(self, found: Walk, wanted: Session, props: Props) -> CasError:
        """The refusal to put `wanted` on top of what somebody else wrote, with what happened and what would."""
        current = without_owners(found.newest.parsed())
        news, difference = self.since(found, props), self.difference(current, wanted, props)
        return CasError(
            f"{news.title}; what happened:\n{news}"
            + listing("this program would change what is there now", difference),
            where=wanted.name,
            fix="`pulumi refresh` takes that in as drift; then `pulumi up` puts this program's version on top",
        )

    def as_stated(self, current: Session, props: Props, *, is_settled: bool) -> Mapping[str, object]:
        """What CAS has, in canonical form as inputs state it: with markers for keys, and the service's own name."""
        expected, revision = wanted_there(props).canonical(), props.get("revision")
        canonical = with_markers(current.canonical(), expected=expected, image_key=self.settings.image_key)
        if not revision:
            return canonical
        kept = None if is_settled else last_released(props)
        return as_written(canonical, policy_of(props), str(revision), kept)

    def fspf_keys(self, session: Session) -> dict[str, str]:
        """Service → the key that its marker stands for, computed only now that it goes to CAS."""
        identities = marked_images(session.canonical())
        image_key = self.settings.require_image_key() if identities else b""
        return {name: fspf_key(image_key, identity) for name, identity in identities.items()}

    def overlap(self, olds: Props, props: Props, session: Session) -> Props:
        """The inputs of a policy whose rollouts overlap; empty for another. Raises PolicyError where none can."""
        if not props.get("overlap"):
            return {}
        refuse_unfit(session)
        canonical = session.canonical()
        # After a refresh the old inputs are what somebody else wrote: putting that right is never refused.
        if olds.get("overlap") and not olds.get(CHANGED_ELSEWHERE):
            refuse_changed_session(policy_of(olds), canonical, name=session.name)
        return {"overlap": True, "revision": self._revision(canonical, private_of(props))}

    def _revision(self, canonical: Mapping[str, object], private: Mapping[str, object]) -> object:
        """The name of the service's revision at CAS; unknown where what it says is not all known."""
        key = self.settings.image_key
        entry = {section: canonical.get(section) for section in ("services", "images")}
        if has_hole(entry) or (key is None and (private or has_explicit_secret(entry))):
            return UNKNOWN
        return revision_name(canonical, private, secret=partial(secret_digest, key or b""))


def parsed_if_possible(stored: StoredSession) -> Session | None:
    """What a version says, without the marks of its owners; None where it cannot be understood."""
    with suppress(SconeError):
        return without_owners(scone_policy.parse(stored.description_yaml))
    return None
