"""From a preview to a review: every finding, the most important first, each said once."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scone_provider.review.finding import ORDER, Direction, Finding
from scone_provider.review.policies import TYPES, policy_findings
from scone_provider.review.preview import Message, Preview, Step
from scone_provider.review.trust_rules import input_findings, is_ours

_QUIET = frozenset({"same", "read", "refresh", "read-replacement", "discard-replaced"})
_HALVES = frozenset({"create-replacement", "delete-replaced"})
"""The two sides of a replacement, which stands in the list as a whole, too."""
_PROVIDERS = "pulumi:providers:"
_COMPONENT = "::scone:index:"


@dataclass(frozen=True, kw_only=True)
class Review:
    """What a reviewer needs. `findings` in the order of importance; `counts`: resources by what becomes of them."""

    stack: str
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    others: tuple[tuple[str, str], ...]
    """Resources that are not ours: what becomes of each, and its label."""
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    """Of this change, and of the program; without those that are findings already."""
    standing: tuple[str, ...]
    """What components say in every preview, whatever is changed."""
    copies: int = 0
    """Providers that differ only because the engine keeps a copy of the stack's settings in each."""

    @property
    def worst(self) -> Direction:
        """The most important direction; neutral where nothing was found."""
        return min((one.direction for one in self.findings), key=ORDER.__getitem__, default=Direction.NEUTRAL)

    def of(self, direction: Direction) -> list[Finding]:
        """The findings of one direction."""
        return [one for one in self.findings if one.direction is direction]


def review(preview: Preview) -> Review:
    """Judge every step. The order of the engine's steps does not matter."""
    places = _places(preview.steps)
    steps = [step for step in preview.steps if step.op not in _QUIET | _HALVES]
    copies = [step for step in steps if step.type.startswith(_PROVIDERS) and step.op == "update"]
    steps = [step for step in steps if step not in copies and not _is_component(step)]
    volumes = _volumes(preview.steps)
    found: list[Finding] = []
    others: list[tuple[str, str]] = []
    for step in steps:
        if is_ours(step):
            found += _findings(step, volumes)
        else:
            others.append((step.op, f"{step.type} {step.name}"))
    placed = [replace(one, place=one.place or places.get(one.service, "")) for one in found]
    return Review(
        stack=preview.stack,
        findings=tuple(sorted(_once(placed), key=lambda one: one.rank)),
        counts=dict(sorted(Counter(step.op for step in steps).items())),
        others=tuple(sorted(others)),
        errors=tuple(_texts(preview.messages, "error")),
        warnings=tuple(
            text for text in _texts(preview.messages, "warning", standing=False) if not _is_told(text, found)
        ),
        standing=tuple(_texts(preview.messages, "warning", standing=True)),
        copies=len(copies),
    )


Volumes = Mapping[str, Mapping[str, Any]]


def _findings(step: Step, volumes: Volumes) -> Iterator[Finding]:
    if step.kind in TYPES:
        yield from policy_findings(step)
    yield from input_findings(step)
    if step.kind == "Rollout":
        yield from _restarts(step, volumes)


def _restarts(step: Step, volumes: Volumes) -> Iterator[Finding]:
    """Which pods start anew: those whose image or policy is another one."""
    old, new = (_services(side) for side in (step.old, step.new))
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            words = "pods of a new service start" if before is None else "its pods end"
            yield _pods(step, name, Direction.CHANGES, words)
            continue
        why = [what for key, what in _WHY.items() if before.get(key) != after.get(key)]
        if why:
            words = f"its pods start anew, because of {' and '.join(why)}: {_how(volumes.get(name, {}))}"
            yield _pods(step, name, Direction.RESTARTS, words)


def _how(volumes: Mapping[str, Any]) -> str:
    """Whether somebody notices (the chart's strategy), and what goes with the old pods."""
    kept = [name for name, one in volumes.items() if isinstance(one, Mapping) and one.get("size")]
    gone = sorted({*volumes} - {*kept})
    words = "the old pod ends before the new one starts" if kept else "an old pod ends when a new one is ready"
    return words + (f"; what is in the volume {', '.join(gone)} goes with it" if gone else "")


def _volumes(steps: tuple[Step, ...]) -> dict[str, Mapping[str, Any]]:
    """The volumes of each workload, as the release has them."""
    found: dict[str, Mapping[str, Any]] = {}
    for step in steps:
        values = step.new.get("values") if step.kind == "Release" else None
        for name, entry in _services(values).items() if isinstance(values, Mapping) else ():
            volumes = entry.get("volumes")
            found[name] = volumes if isinstance(volumes, Mapping) else {}
    return found


_WHY = {"image": "another image", "policy_digest": "what its policy says", "kind": "another kind of workload"}


def _pods(step: Step, name: str, direction: Direction, meaning: str) -> Finding:
    return Finding(direction=direction, resource=step.label, path=f"services.{name}", meaning=meaning, service=name)


def _services(inputs: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    found = inputs.get("services")
    entries = found.items() if isinstance(found, Mapping) else ()
    return {str(name): entry for name, entry in entries if isinstance(entry, Mapping)}


def _places(steps: tuple[Step, ...]) -> dict[str, str]:
    """Where each service is described, as the rollout knows it: the first of its places."""
    found: dict[str, str] = {}
    for step in steps:
        for name, entry in _services(step.new or step.old).items() if step.kind == "Rollout" else ():
            place = str(entry.get("where") or "").rpartition(", ")[2]
            for known in (name, str(entry.get("service", ""))):
                found.setdefault(known, place)
    return found


def _once(findings: list[Finding]) -> Iterator[Finding]:
    """What is the same at several resources (a CAS's url in each policy) is said once, with how many others."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for one in findings:
        is_shared = one.path.startswith(("cas.", "security.", "access_policy."))
        key = (one.direction, one.path, repr(one.before), repr(one.after), one.meaning)
        groups.setdefault((key, "" if is_shared else (one.resource, one.service)), []).append(one)
    for group in groups.values():
        first = min(group, key=lambda one: one.rank)
        resources = sorted({one.resource for one in group})
        yield first if len(resources) == 1 else replace(first, resource=", ".join(resources), service="", place="")


def _is_component(step: Step) -> bool:
    """Components have outputs only; the stack itself is one."""
    return step.type == "pulumi:pulumi:Stack" or (step.type.startswith("scone:") and "/" not in step.type)


def _texts(messages: tuple[Message, ...], severity: str, *, standing: bool | None = None) -> list[str]:
    """What was said, sorted, each once; `standing`: only by components, or only by others."""
    said = (one for one in messages if one.severity == severity)
    return sorted({one.text for one in said if standing is None or standing == (_COMPONENT in one.source)})


def _is_told(text: str, findings: list[Finding]) -> bool:
    return any(one.direction is Direction.REGENERATES and one.meaning in text for one in findings)
