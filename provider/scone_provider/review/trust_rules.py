"""What decides trust outside of policies: one table of the inputs of our resources, path by path.

What the table does not know widens: a rule that is missing shows in a review, and is not passed over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from scone_policy.diff.change import SECRET
from scone_policy.syntax.yaml_source import show
from scone_provider.review.finding import Direction, Finding
from scone_provider.review.preview import Step

Verdict = tuple[Direction, str]

_W, _N, _C, _0 = Direction.WIDENS, Direction.NARROWS, Direction.CHANGES, Direction.NEUTRAL


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What it means when a value came, went, or became another. `path` may hold `*` for one key."""

    path: str
    added: Verdict
    removed: Verdict
    replaced: Verdict

    def verdict(self, before: object, after: object) -> Verdict:
        """The verdict of one difference."""
        return self.added if before is None else self.removed if after is None else self.replaced


def _same(path: str, direction: Direction, words: str) -> Rule:
    return Rule(path=path, added=(direction, words), removed=(direction, words), replaced=(direction, words))


_CAS = (
    _same("url", _W, "another CAS holds the secrets and decides who gets them"),
    Rule(
        path="key",
        added=(_N, "the CAS is pinned: only this key is trusted"),
        removed=(_W, "the CAS is no longer pinned: whichever answers with tolerated evidence is trusted"),
        replaced=(_W, "another CAS key is trusted"),
    ),
    Rule(
        path="tolerance.*",
        added=(_W, "attestation of the CAS accepts what it refused before"),
        removed=(_N, "attestation of the CAS refuses what it accepted before"),
        replaced=(_W, "attestation of the CAS accepts something else"),
    ),
    _same("attested_key", _0, "follows from the attestation"),
)
_FOLLOWS = "follows from what else is shown"
_POLICY_INPUTS = (
    *(replace(rule, path=f"cas.{rule.path}") for rule in _CAS if rule.path != "attested_key"),
    _same("adopt", _C, "a policy that this stack did not make may be taken over"),
    _same(
        "overlap", _C, "the program that runs and the one that follows are both trusted while one replaces the other"
    ),
    _same("mode", _C, "the policy is handed on in another way"),
    _same("recipient", _W, "the policy is encrypted for another CAS, which can read it"),
    *(_same(path, _0, _FOLLOWS) for path in ("digest", "name", "hash", "stack", "revision", "file", "version")),
    *(_same(path, _0, _FOLLOWS) for path in ("attested_key", "preview", "predecessor", "document", "private*")),
)
_IMAGE = (
    *(_same(path, _0, _FOLLOWS) for path in ("digest", "reference", "measurement", "fspf_tag", "owner", "identity")),
    *(_same(path, _0, "where the image goes") for path in ("to", "name", "folder", "aliases.*", "stack")),
    _same("delete_images", _C, "what becomes of the image when nothing uses it any more"),
    Rule(
        path="files.*",
        added=(_C, "a file is added to what is trusted"),
        removed=(_C, "a file is taken out of what is trusted"),
        replaced=(_C, "a file has other content, which is trusted instead"),
    ),
    _same("base.digest", _C, "another base image: its programs and libraries are trusted instead"),
    _same("base.*", _0, "follows from the base image"),
    _same("base", _C, "another base image, not known before it is built"),
    _same("from", _C, "another base image"),
    _same("command", _C, "another program or other arguments"),
    _same("environment.*", _C, "the program starts with another environment"),
    _same("pwd", _C, "another working directory"),
    _same("kind", _C, "the image is made in another way"),
    _same("fs_files*", _C, "which of the base image's files are checked"),
    _same("copy*", _C, "other files are copied into the image"),
    _same("dirs*", _C, "other folders are encrypted"),
    _same("injected.*", _C, "a path where CAS puts a file"),
    _same("volumes.*", _C, "a path where a volume is mounted"),
    _same("plaintext*", _W, "files that are not encrypted"),
    _same("signature*", _C, "who signs the image"),
    _same("requirements*", _C, "what is installed into the base image"),
    _same("native*", _C, "what the base image is made of"),
    _same("binaries*", _C, "which programs of the base image are trusted"),
    _same("document*", _0, _FOLLOWS),
    _same("secret*", _0, "what is kept as a secret in the state"),
    _same("builder*", _W, "another program makes the image"),
    _same("manifest*", _C, "another description of the image"),
    _same("cas_key", _W, "the image trusts another CAS, or any where none is named"),
    Rule(
        path="demanded*",
        added=(_N, "a signature is asked for from now on"),
        removed=(_W, "a signature is no longer asked for"),
        replaced=(_W, "another signature is asked for"),
    ),
)
_SERVICE = "values.services.*."
_HELM = (
    *("allowNullValues", "atomic", "chart", "cleanupOnFail", "createNamespace", "dependencyUpdate", "description"),
    *("devel", "disableCRDHooks", "disableOpenapiValidation", "forceUpdate", "lint", "name", "namespace", "replace"),
    *("recreatePods", "renderSubchartNotes", "resetValues", "reuseValues", "skipAwait", "skipCrds", "timeout"),
    *("values", "version", "waitForJobs"),
)
"""Settings of Pulumi's Release that say how it is installed, not what runs."""
_RELEASE = (
    *(_same(_SERVICE + path, _0, _FOLLOWS) for path in ("image", "policyDigest", "configId", "service", "memory*")),
    _same(_SERVICE + "casKey", _C, "the key hash by which the pod knows the CAS"),
    _same(_SERVICE + "cas", _C, "the CAS that the pod asks"),
    _same(_SERVICE + "env.*", _C, "the container starts with another environment, which nothing attests"),
    _same(_SERVICE + "pullSecrets*", _C, "with which login the nodes pull the image"),
    _same(_SERVICE + "sgx", _W, "another kind of enclave, or none"),
    *(
        _same(_SERVICE + path, _0, "where and how the pods run")
        for path in (
            "kind",
            "replicas",
            "restartPolicy",
            "resources*",
            "probes*",
            "port",
            "nodeSelector*",
            "tolerations*",
            "labels*",
            "annotations*",
            "drainSeconds",
            "revision",
        )
    ),
    _same(_SERVICE + "volumes*", _C, "what the pods keep, and where"),
    _same("values.pullSecrets*", _C, "with which login the nodes pull images"),
    *(_same(path, _0, "how Helm works") for path in _HELM),
    _same("postrender", _W, "another program rewrites what is deployed"),
    _same("disableWebhooks", _W, "hooks of the chart do not run"),
    _same("verify", _C, "whether the chart's signature is asked for"),
    _same("keyring", _C, "whose signature the chart needs"),
    _same("resourceNames*", _0, _FOLLOWS),
    _same("manifest*", _0, _FOLLOWS),
    _same("checksum", _0, _FOLLOWS),
)
_ROLLOUT = (
    _same("policies*", _0, "what a later preview names as lost with a policy"),
    _same("*", _0, "what is watched"),
)
_TABLE: Mapping[str, tuple[Rule, ...]] = {
    "Cas": _CAS,
    "SecurityPolicy": _POLICY_INPUTS,
    "SealedPolicy": _POLICY_INPUTS,
    "ReleasedRevision": _POLICY_INPUTS,
    "ConfidentialImage": _IMAGE,
    "VendorImage": _IMAGE,
    "Release": _RELEASE,
    "Rollout": _ROLLOUT,
}
_NOT_IN_TABLE: Verdict = (_W, "nothing here knows what this decides: read it")


def is_ours(step: Step) -> bool:
    """Whether the table judges resources of this type."""
    return step.kind in _TABLE and (":scone:" in f":{step.type}:".replace("/", ":") or "helm.sh" in step.type)


def input_findings(step: Step) -> Iterator[Finding]:
    """Every input that differs, policies left out; a resource that comes or goes is one finding of its own."""
    if step.op == "create":
        yield Finding(direction=_C, resource=step.label, path="", meaning="created")
    elif step.op == "delete":
        yield Finding(direction=_C, resource=step.label, path="", meaning="deleted")
    if step.op in ("create", "delete"):
        return
    told = list(_leaves((), step.old, step.new))
    hidden = [(path, SECRET, SECRET) for path in step.paths if not any(_meet(path, one) for one, _, _ in told)]
    for path, before, after in [*told, *hidden]:
        if path[0] == "policy" or "where" in path:
            continue  # policies have rules of their own; the lines of a manifest decide nothing
        direction, meaning = _verdict(step.kind, path, before, after)
        yield Finding(
            direction=direction,
            resource=step.label,
            path=show(path),
            meaning=meaning,
            before=before,
            after=after,
            service=_service(path),
        )


def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one path leads to the other, or below it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _verdict(kind: str, path: tuple[str, ...], before: object, after: object) -> Verdict:
    """The first rule that fits; a star of a rule stands for the rest of the path, too."""
    text = ".".join(path)
    for rule in _TABLE.get(kind, ()):
        if fnmatchcase(text, rule.path):
            return rule.verdict(before, after)
    return _NOT_IN_TABLE


Leaves = Iterator[tuple[tuple[str, ...], Any, Any]]


def _leaves(path: tuple[str, ...], before: Any, after: Any) -> Leaves:  # noqa: ANN401
    """Differences between two trees, each at the deepest place where both are maps."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from _leaves((*path, str(key)), before.get(key), after.get(key))
        return
    side = after if before is None else before if after is None else None
    if isinstance(side, Mapping):  # an empty one says nothing
        for key in sorted(side):
            yield from _leaves((*path, str(key)), (before or {}).get(key), (after or {}).get(key))
        return
    yield path, before, after


def _service(path: tuple[str, ...]) -> str:
    for mark in (("values", "services"), ("services",)):
        if path[: len(mark)] == mark and len(path) > len(mark):
            return path[len(mark)]
    return ""
