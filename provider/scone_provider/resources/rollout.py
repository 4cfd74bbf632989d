"""`Rollout`: the release's pods are up, or the deployment fails with the words of the pod that is not."""

from collections.abc import Mapping
from typing import cast

from pulumi.dynamic import CreateResult, DiffResult, ReadResult, UpdateResult
from pulumi.output import contains_unknowns

from scone_provider.errors import DeployError
from scone_provider.kubernetes.cluster import Cluster, connect, server_of
from scone_provider.kubernetes.releases import is_gone
from scone_provider.kubernetes.watch import Expectation, wait_for_release
from scone_provider.policy.loss import losses_with_services
from scone_provider.resources._engine import Props, SconeProvider, checked, clean, plain, warn

_CLUSTER = "cluster"
_MADE = "made"
_POLICIES = "policies"


class RolloutProvider(SconeProvider):
    """Watches on create and update; its record of what was released is the output `released`.

    Inputs: `namespace`, `release`, `timeout_seconds`, `services`: name of the workload → {image, policy_digest,
    kind, replicas, service (its name in the Meshfile), where (file:line of its manifests)}, `chart` (a digest, so
    that every release is watched), `patient`: somebody else uploads the policies, so that a refusal may pass. A failure
    leaves the record as it was, so that the next `up` watches again. `made` is true where this run makes the release,
    and is kept in no state: the record is then replaced, so that a watch that fails leaves none. `policies`: role in
    the mesh → {name, generated (paths of what CAS generates for it)}, for the policies that go with the release.
    """

    replace_on = ("namespace", "release")

    @checked
    def check(self, olds: Props, news: Props) -> Props:
        """Nothing to compute: all of it comes from the derivation. The first record needs no word of `made`.

        A policy that goes is only deleted, and nobody asks its own resource in a preview: what is lost is said here.
        """
        for line in losses_with_services(olds, news):
            warn(line)
        made = news.pop(_MADE, None)
        return news | ({_MADE: True} if made and olds else {})

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        """Lines that moved, credentials that were renewed, what policies hold: no reason to watch again."""
        if _news.get(_MADE):
            return DiffResult(changes=True, replaces=[_MADE], delete_before_replace=True)
        news = {key: value for key, value in plain(_news).items() if key not in (_CLUSTER, _POLICIES)}
        if not self._is_elsewhere(_olds, _news) and all(
            _without_places(_olds.get(key)) == _without_places(value) for key, value in news.items()
        ):
            return DiffResult(changes=False)
        return super().diff(_id, _olds, _news)

    @clean
    def create(self, props: Props) -> CreateResult:
        """Wait until every pod of this release runs its program."""
        return CreateResult(f"{props['namespace']}/{props['release']}", self._watch(props))

    @clean
    def update(self, _id: str, _olds: Props, news: Props) -> UpdateResult:
        """As `create`: pods of the old release do not count. Raises DeployError where there is no release."""
        namespace, release = str(news["namespace"]), str(news["release"])
        if is_gone(connect(self._cluster(news)), namespace, release):
            raise DeployError(
                "Helm has no release of this name on this cluster, although Pulumi's state has it",
                where=f"{namespace}/{release}",
                fix="if it was removed, or is to be on this cluster from now on: `pulumi up --refresh` releases it "
                "here. What another cluster has of it stays there: uninstall it by `helm`. To go back to that cluster: "
                "restore the state from before (`pulumi stack export --version …`, `pulumi stack import`)",
            )
        return UpdateResult(self._watch(news))

    def read(self, id_: str, props: Props) -> ReadResult:
        """Gone with its release: what is released anew is then watched anew. Where nobody can be asked, it stays."""
        try:
            client = connect(self._cluster(props))
        except DeployError:
            return ReadResult(id_, props)
        if is_gone(client, str(props["namespace"]), str(props["release"])):
            return ReadResult("", {})
        return ReadResult(id_, props)

    def delete(self, _id: str, _props: Props) -> None:
        """A record only: the release takes its pods away itself."""

    def _watch(self, props: Props) -> Props:
        services = cast("Mapping[str, Mapping[str, object]]", plain(props)["services"])
        wait_for_release(
            namespace=str(props["namespace"]),
            release=str(props["release"]),
            expected=[
                Expectation(
                    name=name,
                    service=str(service["service"]),
                    kind=str(service["kind"]),
                    replicas=int(str(service["replicas"])),
                    image=str(service["image"]),
                    policy_digest=str(service["policy_digest"]),
                    origin=str(service.get("where") or ""),
                )
                for name, service in sorted(services.items())
            ],
            timeout=float(str(props["timeout_seconds"])),
            cluster=self._cluster(props),
            patient=bool(props.get("patient")),
        )
        released = {
            name: {"image": service["image"], "policy_digest": service["policy_digest"]}
            for name, service in services.items()
        }
        return props | {"released": released}

    def _is_elsewhere(self, olds: Props, news: Props) -> bool:
        """Whether the release goes to another cluster, which Pulumi's Kubernetes provider does not always notice."""
        if (_CLUSTER not in news and _CLUSTER not in olds) or contains_unknowns(news.get(_CLUSTER)):
            return False
        old, new = server_of(self._cluster(olds)), server_of(self._cluster(news))
        return bool(old and new) and old != new

    def _cluster(self, props: Props) -> Cluster:
        """The release's: that of its explicit provider, or of the one that the stack's `kubernetes:…` settings make."""
        given = props.get(_CLUSTER)
        if isinstance(given, Mapping):
            return Cluster.of(given)
        return Cluster.of({name: self._config.get(f"kubernetes:{name}") for name in Cluster.__dataclass_fields__})


def _without_places(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_places(item) for key, item in value.items() if key != "where"}
    return value
