"""What a changed export or import of a secret means for trust: who receives it, and who decides its value."""

from collections.abc import Mapping
from typing import Any

from scone_policy.diff.change import Trust
from scone_policy.forms.canonical import ELSEWHERE, canonical_json

Verdict = tuple[Trust, str]

IMPORT_BEGINS = "another session decides the value"
IMPORT_ENDS = "made here: no other session decides the value"

_IMPORT = {
    "cas_key": "another CAS is trusted for the value",
    "cas_software_key": "every CAS that runs this software is trusted for the value",
    "cas_url": "the CAS is sought at another address",
    "session": IMPORT_BEGINS,
    "secret": "another secret of the exporter is taken",
    "session_hash": "another version of the exporter decides the value",
}


def export_verdict(receiver: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Verdict:
    """One receiver of a secret, with the ways in which it is trusted (canonical form: `{session: true, …}`)."""
    old, new = _ways(before or {}), _ways(after or {})
    if _elsewhere(before or {}) != _elsewhere(after or {}):
        return _verdict_elsewhere(receiver, _elsewhere(before or {}), _elsewhere(after or {}), old, new)
    if not old or not new:
        every = any(way == "namespace" for way, _ in old | new)
        who = f"every session in the namespace {receiver}, now or later," if every else receiver
        return (Trust.NARROWS, f"{who} no longer receives it") if old else (Trust.WIDENS, f"{who} receives the secret")
    if all(_within(way, new) for way in old):
        return Trust.WIDENS, f"more sessions or versions of {receiver} receive the secret"
    if all(_within(way, old) for way in new):
        return Trust.NARROWS, f"fewer sessions or versions of {receiver} receive the secret"
    return Trust.CHANGES, f"other sessions or versions of {receiver} receive the secret"


def _elsewhere(receiver: Mapping[str, Any]) -> frozenset[str]:
    """Which CASes the receiver may be on, and what of it: one text for each."""
    return frozenset(canonical_json(other) for other in receiver.get(ELSEWHERE, {}).values())


def _verdict_elsewhere(
    receiver: str, before: frozenset[str], after: frozenset[str], old: frozenset[Any], new: frozenset[Any]
) -> Verdict:
    """What changes for receivers of other CASes, which a name and a key of a CAS make up; and here, where it does."""
    here = "" if old == new else ", and who receives it here changes as well"
    if before < after and old <= new:
        return Trust.WIDENS, f"{receiver} of another CAS receives the secret{here}"
    if after < before and new <= old:
        return Trust.NARROWS, f"{receiver} of another CAS no longer receives it{here}"
    return Trust.CHANGES, f"another CAS's {receiver} receives the secret{here}"


def import_verdict(key: str, before: object, after: object) -> Verdict:
    """One key of an import: with a hash nobody else can change what is received."""
    if key == "session_hash" and before is None:
        return Trust.NARROWS, "only this version of the exporter decides the value"
    if key == "session_hash" and after is None:
        return Trust.WIDENS, "whoever updates the exporter decides the value"
    if key == "cas_url" and before is None:
        return Trust.CHANGES, "a session of another CAS decides the value"
    if after is None:
        return Trust.CHANGES, "the value no longer comes from there"
    return Trust.CHANGES, _IMPORT[key]


def _ways(receiver: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """(`session` or `namespace`, hash or `*` for any)."""
    found = {(way, "*") for way in ("session", "namespace") if receiver.get(way) is True}
    for way in ("session", "namespace"):
        hashes = receiver.get(f"{way}_hash", {})
        found |= {(way, item) for item in (hashes.values() if isinstance(hashes, Mapping) else [hashes])}
    return frozenset(found)


def _within(way: tuple[str, str], ways: frozenset[tuple[str, str]]) -> bool:
    """True when others reach what this way reaches: any version, or the namespace with the session of its name."""
    return bool({way, (way[0], "*"), ("namespace", "*")} & ways)
