"""`ReleasedRevision`: the end of a rollout that overlaps: the policy forgets every revision but the released one."""

import pulumi
from pulumi.dynamic import CreateResult, ReadResult, UpdateResult

from scone_provider.cas.client import CasClient
from scone_provider.cas.stored_session import StoredSession
from scone_provider.cas.trust import CasTrust
from scone_provider.errors import CasError
from scone_provider.policy.history import walk
from scone_provider.policy.lineage import followed
from scone_provider.policy.owners import without_owners
from scone_provider.policy.revisions import only
from scone_provider.policy.upload import upload
from scone_provider.resources._engine import Props, SconeProvider, checked, clean
from scone_provider.resources._warnings import tell_of_kept
from scone_provider.resources.cas import attest


class ReleasedRevisionProvider(SconeProvider):
    """Runs after the rollout: exists with a revision only if that one's pods were up.

    Inputs: `cas` (see `CasTrust`), `name` (of the policy), `revision` (the service's name at CAS), `version` (hash of
    the session as the stack's SecurityPolicy wrote it), `attested_key`, and `preview`, which only says that nothing
    will be carried out. The output `hash` is the session's without other revisions. Even where there is no other it is
    a version of its own: that tells the SecurityPolicy, which sees its own version followed by this one, that its
    revision was released.
    """

    replace_on = ("name",)
    delete_before_replace = False

    @checked
    def check(self, olds: Props, news: Props) -> Props:
        """Say in a preview, in words, which revision stays trusted beside the new one, and until when."""
        preview = news.pop("preview", None)
        old, new = olds.get("revision"), news.get("revision")
        if preview and old is not None:
            tell_of_kept(news.get("name"), old, new)
        return news

    @clean
    def create(self, props: Props) -> CreateResult:
        """The first release."""
        return CreateResult(str(props["name"]), self._settle(props))

    @clean
    def update(self, _id: str, olds: Props, news: Props) -> UpdateResult:
        """A newer one; a version of the policy with the same revision alone is left as it is."""
        is_same = olds["revision"] == news["revision"]
        outs = self._settle(news, is_released=is_same)
        if not is_same:
            pulumi.log.info(
                f"{news['name']}: {news['revision']} is released; {olds['revision']} is not trusted any more."
            )
        return UpdateResult(outs)

    def read(self, id_: str, props: Props) -> ReadResult:
        """A record of what this stack did; what the policy says now is the SecurityPolicy's to find out."""
        return ReadResult(id_, props, {key: value for key, value in props.items() if key != "hash"})

    def delete(self, _id: str, _props: Props) -> None:
        """The policy's own resource retires it."""

    def _settle(self, props: Props, *, is_released: bool = False) -> Props:
        trust = CasTrust.from_props(props["cas"])
        known_key = None if trust.key else str(props["attested_key"])
        cas = attest(trust, self.settings, known_key=known_key, identify=True)
        name, version = str(props["name"]), str(props["version"])
        found = cas.read(name)
        carried = found if found is not None and found.hash == version else cas.read_version(name, version)
        if found is None or carried is None:
            raise _changed(cas, name)
        whole = carried.parsed()
        alone = only(whole, str(props["revision"]))

        def is_alone(stored: StoredSession) -> bool:
            return without_owners(stored.parsed()).canonical() == without_owners(alone).canonical()

        if found.hash != version:
            if found.predecessor == version and is_alone(found):
                return props | {"hash": found.hash}
            if not self._only_owners_changed(cas, name, version, found):
                raise _changed(cas, name)
            whole, version = found.parsed(), found.hash
            alone = only(whole, str(props["revision"]))
        if is_released and alone.canonical() == whole.canonical():
            return props | {"hash": version}
        text = alone.wire(predecessor=version)
        return props | {"hash": upload(cas, name, text, predecessor=version, is_wanted=is_alone)}

    def _only_owners_changed(self, cas: CasClient, name: str, version: str, newest: StoredSession) -> bool:
        """True when other resources came or went since, and nothing else happened."""
        found = walk(cas, name, version)
        return found is not None and followed(found, version, self.settings.identity().key_hash) == newest.hash


def _changed(cas: CasClient, name: str) -> CasError:
    return CasError(
        f"someone else changed this policy at {cas.url} while its rollout ran: no revision was taken out of it",
        where=name,
        fix="`pulumi refresh` takes their change in as drift; then `pulumi up` puts this program's version on top",
    )
