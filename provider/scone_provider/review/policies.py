"""What a step means that creates, changes, replaces or deletes a security policy."""

from collections.abc import Iterator, Mapping
from typing import Any

from scone_policy.diff.change import SECRET, Change
from scone_policy.diff.compare import compare
from scone_policy.diff.regeneration import Renewal, renewals
from scone_policy.syntax.yaml_source import show
from scone_provider.review.finding import Direction, Finding
from scone_provider.review.preview import Step

Map = Mapping[str, Any]

TYPES = frozenset({"SecurityPolicy", "SealedPolicy"})
_POLICY = "policy"


def policy_findings(step: Step) -> Iterator[Finding]:
    """Who and what is trusted from now on, and which values go. A policy that is not readable counts as widening."""
    old, new = step.old.get(_POLICY), step.new.get(_POLICY)
    if step.op == "delete":
        yield from _removed(step, old)
        return
    if not isinstance(new, Mapping) or (old is not None and not isinstance(old, Mapping)):
        if old != new or _hidden_paths(step, set()):
            yield _finding(step, _POLICY, Direction.WIDENS, "the whole policy is hidden: nobody can see who is trusted")
        return
    before = old if old is not None and step.op != "create" else {}
    changes = compare(_judged(before), _judged(new))
    for change in changes:
        yield _of_change(step, change, new)
    told = {change.path for change in changes}
    for path in _hidden_paths(step, told):
        yield _finding(
            step, path, Direction.CHANGES, "another value", before=SECRET, after=SECRET, digest=_digest(step)
        )
    yield from _lost(step, before, new)


def _judged(policy: Map) -> Map:
    return {key: value for key, value in policy.items() if key not in ("name", "version")}


def _of_change(step: Step, change: Change, new: Map) -> Finding:
    is_hidden = SECRET in (change.before, change.after)
    return _finding(
        step,
        change.path,
        Direction.of(change.trust),
        change.meaning,
        before=change.before,
        after=change.after,
        service=_service(change.path, new),
        digest=_digest(step) if is_hidden else "",
    )


def _hidden_paths(step: Step, told: set[str]) -> list[str]:
    """Paths that the engine sees a difference at and we do not, because both sides are hidden."""
    found = [show(path[1:]) for path in step.paths if path[0] == _POLICY]
    return [path for path in found if not any(f"{path}.".startswith(f"{one}.") for one in told)]


def _lost(step: Step, before: Map, after: Map) -> Iterator[Finding]:
    if before and before.get("name") != after.get("name"):
        yield from _removed(step, before)
    elif before and before != after:
        for one in renewals(before, after):
            yield _finding(step, f"{one.section}.{one.name}", _effect(one), str(one))


def _removed(step: Step, policy: object) -> Iterator[Finding]:
    if not isinstance(policy, Mapping):
        return
    yield _finding(step, "", Direction.NARROWS, "retired: no program is trusted by it any more")
    for one in renewals(policy, {}):
        if one.is_loss:
            path = f"{one.section}.{one.name}"
            yield _finding(step, path, Direction.REGENERATES, "the policy is retired: what CAS generated is lost")


def _effect(renewal: Renewal) -> Direction:
    """A certificate that is only issued once more costs nothing."""
    return Direction.REGENERATES if renewal.is_loss else Direction.NEUTRAL


def _service(path: str, policy: Map) -> str:
    """The service that a path is about: its own, or the only one of the policy."""
    parts = path.split(".")
    services = policy.get("services")
    names = list(services) if isinstance(services, Mapping) else []
    if parts[0] == "services" and len(parts) > 1 and parts[1] in names:
        return parts[1]
    return str(names[0]) if len(names) == 1 else ""


def _digest(step: Step) -> str:
    return str(step.new.get("digest", ""))


def _finding(step: Step, path: str, direction: Direction, meaning: str, **more: Any) -> Finding:  # noqa: ANN401
    if not more.get("service"):
        policy = step.new.get(_POLICY) or step.old.get(_POLICY)
        more["service"] = _service(path, policy if isinstance(policy, Mapping) else {})
    return Finding(direction=direction, resource=step.label, path=path, meaning=meaning, **more)
