"""`SecurityPolicy`: one session at a CAS, with its history as the guard against lost updates and rollback."""

from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar

import pulumi
from pulumi.dynamic import CreateResult, ReadResult, UpdateResult
from pulumi.runtime.rpc import wrap_rpc_secret

import scone_policy
from scone_policy.diff.regeneration import renewals
from scone_policy.model.session import Session
from scone_policy.rules.warnings import cautions
from scone_policy.syntax.yaml_source import show
from scone_provider.cas.client import CasClient
from scone_provider.cas.stored_session import StoredSession
from scone_provider.cas.trust import CasTrust
from scone_provider.errors import CasError, SconeError, TrustError
from scone_provider.policy.comparison import Comparison, parsed_if_possible
from scone_provider.policy.digest import counted, keyed_digest, recounted
from scone_provider.policy.foreign import FOREIGN, foreign_places, known_values, places_of, replaced
from scone_provider.policy.history import walk
from scone_provider.policy.loss import held_other_values, loss_with_name, renewed
from scone_provider.policy.owners import Owner, Owners, owners, with_taker, without_owners
from scone_provider.policy.properties import (
    CHANGED_ELSEWHERE,
    is_other_policy,
    known_key,
    last_released,
    policy_of,
    private_of,
    stated_session,
    treatment,
    trust_url,
    wanted_there,
    without_kept,
)
from scone_provider.policy.put import put
from scone_provider.policy.revisions import Revision, refuse_changed_session
from scone_provider.policy.state import with_secrets, written_by
from scone_provider.policy.takeover import How, Standing
from scone_provider.policy.upload import upload
from scone_provider.resources._engine import Props, SconeProvider, Unknowns, checked, clean, warn, way_out
from scone_provider.resources._ownership import OTHERS, is_mine, leave_to, still
from scone_provider.resources._run import RUN
from scone_provider.resources._warnings import (
    tell,
    tell_of_kept,
    warn_of_another_cas,
    warn_of_moved_creator,
    warn_of_other_updaters,
)
from scone_provider.resources.cas import attest
from scone_provider.stack.production import refuse_testing, testing_parts


class SecurityPolicyProvider(SconeProvider):
    """Thinks in `check`, carries out in `create`, `update` and `delete`, compares with CAS in `read`.

    Inputs: `cas` (see `CasTrust`), `policy` (a session in canonical form, without predecessor), `adopt`, `private`
    (nested maps that end in true: where the program put Pulumi secrets; their values are never told), `overlap` (the
    service's last released revision stays at CAS beside the new one: docs/rollouts.md).
    `check` adds `name`, `digest` (over the policy, with a count of how often what CAS generated for it became another)
    and, with `overlap`, `revision` (the service's name at CAS); outputs add `hash` (the session's, as CAS says),
    `owner` (what names this resource at CAS: docs/adr/004-ownership.md), `attested_key` and, with `overlap`, `kept`
    (the last released revision, a secret). A refresh that finds versions by another key adds `changed_elsewhere`
    (version → who and what), which stays until the next `up`. The program also says which `stack` it is of; that is for
    this run and never an input, so that nothing that moves shows as changed.
    """

    replace_on = ("name",)
    delete_before_replace = False
    is_uploader: ClassVar[bool] = True
    """Whether the stack's own identity uploads."""

    @checked
    def check(self, olds: Props, news: Props) -> Props:
        """Validate and canonicalise; what depends on an unknown stays as small as the unknown itself."""
        unknowns = Unknowns()
        RUN.tell(news.pop("stack", None))
        hidden = unknowns.hide(news)
        session = stated_session(hidden)
        trust = CasTrust.from_props(hidden.get("cas"))
        if self.is_production:
            parts = {show(path): names for path, names in testing_parts(session).items()}
            refuse_testing({"cas.tolerance": trust.testing_switches, **parts})
        canonical = session.canonical()
        overlap = self._comparison.overlap(olds, hidden, session)
        found = renewed(olds, canonical, overlap.get("revision"))
        tell(session.name, found)
        if (lost := loss_with_name(olds, session)) is not None:
            warn(lost)
        warn_of_another_cas(session, trust_url(olds), trust.url)
        if self.is_uploader:
            warn_of_other_updaters(session, self._own_key)
        for caution in cautions(session):
            warn(f"{session.name}: {show(caution.path)}: {caution.rule}. {caution.fix}")
        digest = keyed_digest(canonical, private_of(hidden), self.settings.image_key)
        inputs: Props = {
            "cas": trust.to_props(),
            "name": session.name,
            "policy": with_secrets(canonical),
            "digest": counted(digest, olds, again=any(one.is_loss for one in found)),
            **treatment(hidden),
            **overlap,
        }
        return unknowns.show(inputs)

    @clean
    def create(self, props: Props) -> CreateResult:
        """Look before the leap: a retired name is continued; what is there may be another resource's."""
        cas = self._attested(props)
        wanted = wanted_there(props)
        found, me = cas.read(wanted.name), RUN.new_owner()
        if found is not None and scone_policy.is_retired(found.parsed()):
            warn(
                f"{wanted.name} was retired before: all secrets that CAS generates for it are new. Pods that still run "
                "with the old ones must be restarted (kubectl rollout restart)."
            )
        elif found is not None:
            return CreateResult(wanted.name, self._taken_over(cas, props, wanted, found, me))
        whom, predecessor = frozenset({me}), found.hash if found is not None else None
        return CreateResult(wanted.name, self._upload(cas, props, wanted, predecessor=predecessor, me=me, whom=whom))

    def _taken_over(self, cas: CasClient, props: Props, wanted: Session, found: StoredSession, me: Owner) -> Props:
        """Whoever has it: from here on this resource does, and CAS can tell (docs/adr/004-ownership.md)."""
        current, released = found.parsed(), self._comparison.released(cas, props)
        if released is not None:
            props = {**props, "kept": released.to_json()}
            wanted = wanted_there(props)
        standing = Standing(
            current=current,
            wanted=wanted,
            me=me,
            is_own_key=written_by(current, self._comparison.own_key),
            adopt=bool(props.get("adopt")),
            difference=self._comparison.difference(without_owners(current), wanted, props),
        )
        how = standing.judge(cas.url)
        if released is not None:
            refuse_changed_session(current.canonical(), wanted.canonical(), name=wanted.name)
            tell_of_kept(wanted.name, released.name, str(props["revision"]))
        keys = ", ".join(f"secrets.{name}" for name in standing.anew)
        if how is How.NOTE:
            warn(f"{wanted.name} was taken over as it is, without a version that says so: CAS would make {keys} anew.")
            RUN.note(cas.key_hash, wanted.name)
            same_stack = (owner for owner in sorted(standing.there) if owner.is_of_stack(me))
            return _outs(props, cas, found.hash, next(same_stack, None))
        tell(wanted.name, renewals(without_owners(current).canonical(), wanted.canonical()))
        whom = with_taker(standing.there, me, adopt=standing.adopt)
        if any(not owner.is_of_stack(me) for owner in whom - {me}):
            warn(f"{wanted.name} belongs to another stack, too; it is retired with the last of them.")
        return self._upload(cas, props, wanted, predecessor=found.hash, me=me, whom=whom)

    @clean
    def update(self, _id: str, olds: Props, news: Props) -> UpdateResult:
        """Replace exactly the version that this stack wrote last."""
        cas = self._attested(news, known_key=known_key(olds, news))
        known, name = str(olds["hash"]), str(news["name"])
        if trust_url(olds) != trust_url(news) and not self._is_same_cas(cas, name, known):
            warn(f"{name} was left as it is at {trust_url(olds)}: retire it there if nobody needs it.")
            return UpdateResult(self.create(news).outs)
        found = walk(cas, name, known)
        if found is None:
            raise CasError(
                f"{cas.url} does not have this policy any more, although this stack uploaded it",
                where=name,
                fix="find out what became of that CAS's store; `pulumi refresh` then lets `pulumi up` create it anew",
            )
        ours, current = self._comparison, found.newest
        settled, base = ours.settled(found, olds), ours.base(found, olds)
        there = owners(current.parsed())
        me = still(there, olds, news, cas.url)
        whom = with_taker(there, me, adopt=bool(news.get("adopt")))
        if current.hash == base and not is_other_policy(olds, news) and (whom == there or not there):
            # A note went, what is private, or how CAS is trusted: nothing for CAS. An upload would cost what it makes
            # anew.
            return UpdateResult(_outs({**news, "kept": olds.get("kept")}, cas, known, Owner.of(olds.get("owner"))))
        released = Revision.of(policy_of(olds), str(olds["revision"])) if settled else last_released(olds)
        news = {**news, "kept": released.to_json() if released and news.get("revision") else None}
        wanted = wanted_there(news)
        if current.hash == base:
            return UpdateResult(self._upload(cas, news, wanted, predecessor=base, me=me, whom=whom))
        if current.predecessor == base and ours.is_at(current, wanted):
            return UpdateResult(_outs(news, cas, current.hash, me if me in there else None))
        raise ours.conflict(found.after(base), wanted, news)

    @clean
    def read(self, id_: str, props: Props) -> ReadResult:
        """What CAS has now, as inputs too, so that drift shows by path. A retired or missing policy is gone."""
        trust = CasTrust.from_props(props["cas"])
        name, known = str(props["name"]), str(props["hash"])
        with way_out():
            try:
                cas = attest(trust, self.settings, known_key=known_key(props, props), identify=True)
            except TrustError as error:
                warn(f"{name} was not read: {error}")
                kept = replaced(props["policy"], places_of(props), wrap_rpc_secret)
                return ReadResult(id_, props | {"policy": with_secrets(kept)}, None)
            found = walk(cas, name, known)
        if found is None:
            return ReadResult("", {})
        ours, note = self._comparison, props.get(CHANGED_ELSEWHERE)
        settled, base = ours.settled(found, props), ours.base(found, props)
        is_drift = found.newest.hash != base
        if is_drift:
            news = ours.since(found.after(base), props)
            warn(f"{name} was changed since this stack last wrote it:\n{news}")
            note = {**(note if isinstance(note, Mapping) else {}), **news.note()}
        current = found.newest.parsed()
        if scone_policy.is_retired(current):
            return ReadResult("", {})
        if not is_mine(owners(current), props):
            warn(f"{name}: {OTHERS}. This one leaves it alone: remove it from the program.")
        current = without_owners(current)
        warn_of_moved_creator(current, ours.own_key)
        canonical = ours.as_stated(current, props, is_settled=bool(settled))
        digest = keyed_digest(canonical, private_of(props), ours.settings.image_key)
        again = is_drift and held_other_values(found.after(base), parsed_if_possible)
        foreign = foreign_places(canonical, known_values(props))
        policy = with_secrets(replaced(canonical, foreign, wrap_rpc_secret))
        inputs: Props = {"cas": props["cas"], "name": props["name"], "policy": policy}
        inputs["digest"] = recounted(digest, props, again=again)
        inputs |= treatment(props) | {key: props[key] for key in ("overlap", "revision") if props.get(key)}
        if note:
            inputs[CHANGED_ELSEWHERE] = note
        outs = inputs | {"hash": found.newest.hash if is_drift else known, "attested_key": cas.key_hash}
        outs |= ({"owner": props["owner"]} if props.get("owner") else {}) | ({FOREIGN: foreign} if foreign else {})
        if settled and is_drift:
            # What was released is what this stack wrote, not what somebody made of it.
            outs["kept"] = wrap_rpc_secret(Revision.of(policy_of(props), str(props["revision"])).to_json())
        elif props.get("kept"):
            outs["kept"] = wrap_rpc_secret(props["kept"])
        return ReadResult(id_, outs, inputs)

    @clean
    def delete(self, _id: str, props: Props) -> None:
        """Retire: CAS knows no delete (session language §9). What others have, and what somebody changed, stays."""
        trust = CasTrust.from_props(props["cas"])
        name, known = str(props["name"]), str(props["hash"])
        with way_out():
            cas = attest(trust, self.settings, known_key=known_key(props, props), identify=True)
            found = walk(cas, name, known)
        if found is None or scone_policy.is_retired(found.newest.parsed()):
            return
        mine, there = Owner.of(props.get("owner")), owners(found.newest.parsed())
        if not is_mine(there, props) or RUN.noted(cas.key_hash, name):
            warn(f"{name}: {OTHERS}. It was left as it is.")
            return
        if others := there - {mine}:
            with way_out():
                leave_to(others, cas, found.newest)
            return
        ours = self._comparison
        base = ours.base(found, props)
        if found.newest.hash != base:
            news = ours.since(found.after(base), props)
            raise CasError(
                f"{news.title}; it was not retired; what happened:\n{news}",
                where=name,
                fix="`pulumi refresh` takes that in; then destroy again",
            )
        nothing = scone_policy.retired(name)
        upload(cas, name, nothing.wire(predecessor=base), predecessor=base, is_wanted=_is_retired)
        pulumi.log.info(f"{name} was retired: its name and its history stay at {cas.url}.")

    @property
    def _comparison(self) -> Comparison:
        return Comparison(self.settings)

    def _own_key(self) -> str | None:
        """The key hash of this stack; None where a preview has no identity."""
        with suppress(SconeError):
            return self._comparison.own_key
        return None

    @staticmethod
    def _is_same_cas(cas: CasClient, name: str, known: str) -> bool:
        """True when another url leads to the CAS that has the version this stack wrote last."""
        return cas.read_version(name, known) is not None

    def _attested(self, props: Props, *, known_key: str | None = None) -> CasClient:
        return attest(CasTrust.from_props(props["cas"]), self.settings, known_key=known_key, identify=True)

    def _upload(
        self, cas: CasClient, props: Props, wanted: Session, *, predecessor: str | None, me: Owner, whom: Owners
    ) -> Props:
        new_hash = put(cas, self._comparison, wanted, props, predecessor=predecessor, whom=whom)
        return _outs(props, cas, new_hash, me)


def _outs(props: Props, cas: CasClient, session_hash: str, owner: Owner | None) -> Props:
    kept: Props = {"kept": wrap_rpc_secret(props["kept"])} if props.get("kept") else {}
    outs = without_kept(props) | {"policy": with_secrets(props["policy"]), "hash": session_hash}
    return outs | {"attested_key": cas.key_hash} | kept | ({"owner": str(owner)} if owner else {})


def _is_retired(stored: StoredSession) -> bool:
    return scone_policy.is_retired(stored.parsed())
