"""What differs between two policies, path by path, and whether that widens or narrows who and what is trusted."""

from collections.abc import Callable, Mapping
from typing import Any

from scone_policy.access import ANY, NONE
from scone_policy.canonical import canonical_json
from scone_policy.change import SECRET, Change, Trust
from scone_policy.holes import has_hole
from scone_policy.source import show

__all__ = ["Change", "Trust", "compare"]

Map = Mapping[str, Any]
Path = tuple[str, ...]
Verdict = tuple[Trust, str]
Judge = Callable[[Path, Any, Any], list[Change]]

_EMPTY: Map = {}
_RIGHTS = {"read": "read", "update": "update", "create_sessions": "update", "list_sessions": "read"}
_WHO = {
    "read": "may read the policy",
    "update": "may replace the policy",
    "create_sessions": "may create policies below it",
    "list_sessions": "may list the policies below it",
}


def compare(old: Map, new: Map) -> list[Change]:
    """The changes that lead from one canonical form to another, by path; empty exactly when they are equal."""
    sections: dict[str, Judge] = {
        "services": _entries(
            _service, ("one more program can be started with what this policy holds", "service removed")
        ),
        "secrets": _entries(_secret, ("secret added", "secret removed: CAS forgets its value")),
        "images": _entries(_leaves, ("injected files added", "injected files removed")),
        "access_policy": _access,
        "security": _security,
    }
    found: list[Change] = []
    for key in sorted({*old, *new}):
        judge = sections.get(key, _leaves)
        empty = _EMPTY if key in sections else None
        found += judge((key,), old.get(key, empty), new.get(key, empty))
    return found


def _change(path: Path, before: object, after: object, verdict: Verdict) -> list[Change]:
    if before == after:
        return []
    return [Change(path=show(path), before=before, after=after, trust=verdict[0], meaning=verdict[1])]


def _leaves(path: Path, before: Any, after: Any) -> list[Change]:  # noqa: ANN401
    """Every differing leaf below a path, with no more to say than that it differs."""
    if not isinstance(before, Mapping) and not isinstance(after, Mapping):
        return _change(path, before, after, (Trust.CHANGES, _event(before, after)))
    if not all(isinstance(side, Mapping) or side is None for side in (before, after)) or not (before or after):
        return _change(path, before, after, (Trust.CHANGES, _event(before, after)))
    left, right = before or _EMPTY, after or _EMPTY
    found = [
        change for key in sorted({*left, *right}) for change in _leaves((*path, key), left.get(key), right.get(key))
    ]
    return found or _change(path, before, after, (Trust.CHANGES, _event(before, after)))


def _event(before: object, after: object) -> str:
    return "added" if before is None else "removed" if after is None else "replaced"


def _entries(judge: Judge, words: tuple[str, str]) -> Judge:
    """Entries by name: one that came or went is one change, one that stayed is looked into."""
    added, removed = words

    def entries(path: Path, before: Map, after: Map) -> list[Change]:
        found: list[Change] = []
        for name in sorted({*before, *after}):
            here = (*path, name)
            old, new = before.get(name), after.get(name)
            if old is None:
                trust = Trust.WIDENS if path[0] == "services" else Trust.CHANGES
                found += _change(here, None, _masked(path[0], new), (trust, added))
            elif new is None:
                trust = Trust.NARROWS if path[0] == "services" else Trust.CHANGES
                found += _change(here, _masked(path[0], old), None, (trust, removed))
            else:
                found += judge(here, old, new)
        return found

    return entries


def _masked(section: str, entry: Any) -> object:  # noqa: ANN401
    """An entry without the secret values in it."""
    key = "value" if section == "secrets" else "fspf_key"
    return {**entry, key: SECRET} if key in entry and section in ("secrets", "services") else entry


def _service(path: Path, before: Map, after: Map) -> list[Change]:
    found: list[Change] = []
    for key in sorted({*before, *after}):
        here, old, new = (*path, key), before.get(key), after.get(key)
        if key == "attestation":
            found += _attestation(here, old, new)
        elif key == "environment":
            found += _leaves(here, old, new)
        elif key == "fspf_key":
            found += _hidden(here, old, new, (Trust.CHANGES, "files under another key are trusted"))
        else:
            found += _change(here, old, new, _service_verdict(key, old, new))
    return found


def _service_verdict(key: str, before: object, after: object) -> Verdict:
    if key == "fspf_tag" and after is None:
        return Trust.WIDENS, "the files are no longer checked"
    if key == "fspf_tag" and before is None:
        return Trust.NARROWS, "the files are checked from now on"
    if key == "fspf_update_policy":
        return (
            (Trust.NARROWS, "older files are refused")
            if after is None
            else (Trust.WIDENS, "older files are trusted too")
        )
    words = {
        "command": "another program or other arguments",
        "fspf_tag": "other files are trusted instead",
        "pwd": "another working directory",
        "image_name": "other injected files",
    }
    return Trust.CHANGES, words.get(key, _event(before, after))


def _hidden(path: Path, before: Any, after: Any, verdict: Verdict) -> list[Change]:  # noqa: ANN401
    """A change of a value that may be secret: markers and unknowns are shown, anything else is not."""
    if before == after:
        return []

    def shown(value: Any) -> object:  # noqa: ANN401
        if value is None or has_hole(value):
            return value
        return (
            value if path[0] == "services" and value.startswith(("derived: ", "$$SCONE::", "not derived")) else SECRET
        )

    return [Change(path=show(path), before=shown(before), after=shown(after), trust=verdict[0], meaning=verdict[1])]


def _attestation(path: Path, before: Map | None, after: Map | None) -> list[Change]:
    """Who is trusted, as a set of programs and signers: what was added and what was removed."""
    if before is None or after is None:
        verdict = (Trust.NARROWS, "attested from now on") if before is None else (Trust.WIDENS, "no longer attested")
        return _change(path, before, after, verdict)
    old, new = _trusted(before), _trusted(after)
    gone, come = sorted({*old} - {*new}), sorted({*new} - {*old})
    if len(gone) == len(come) == 1 and gone[0][0] == come[0][0]:
        kind = come[0][0]
        return _change((*path, kind), old[gone[0]], new[come[0]], (Trust.CHANGES, _REPLACED[kind]))
    found: list[Change] = []
    for key in come:
        found += _change((*path, key[0]), None, new[key], (Trust.WIDENS, _ADDED[key[0]]))
    for key in gone:
        found += _change((*path, key[0]), old[key], None, (Trust.NARROWS, _REMOVED[key[0]]))
    return found


_ADDED = {
    "mrenclave": "measurement added: an additional program is trusted",
    "signer": "signer added: all of its programs of that product are trusted",
}
_REPLACED = {
    "mrenclave": "measurement replaced: another program is trusted",
    "signer": "signer replaced: the programs of another one are trusted",
}
_REMOVED = {
    "mrenclave": "measurement removed: a program is no longer trusted",
    "signer": "signer removed: its programs are no longer trusted",
}


def _trusted(attestation: Map) -> dict[tuple[str, str], object]:
    """Each way to be trusted: ("mrenclave" or "signer", canonical text) → what to show."""
    found: dict[tuple[str, str], object] = {}
    variants = attestation["any"].values() if "any" in attestation else [attestation]
    for variant in variants:
        signer = variant.get("signer")
        measurements = variant.get("mrenclave")
        if measurements is None:
            found[("signer", canonical_json(signer))] = signer
            continue
        for measurement in measurements.values() if isinstance(measurements, Mapping) else [measurements]:
            shown = measurement if signer is None else {"mrenclave": measurement, "signer": signer}
            found[("mrenclave", canonical_json([measurement, signer]))] = shown
    return found


def _secret(path: Path, before: Map, after: Map) -> list[Change]:
    found: list[Change] = []
    for key in sorted({*before, *after}):
        here, old, new = (*path, key), before.get(key), after.get(key)
        if key == "export":
            found += _set(here, old or _EMPTY, new or _EMPTY, "receives the secret")
        elif key == "value":
            found += _hidden(here, old, new, _value_verdict(old, new))
        elif key == "export_public":
            found += _change(
                here, old, new, (Trust.WIDENS, "everyone may read it") if new else (Trust.NARROWS, "no longer public")
            )
        else:
            found += _change(here, old, new, _secret_verdict(key, before, after))
    return found


def _value_verdict(before: object, after: object) -> Verdict:
    if before is None:
        return Trust.WIDENS, "given instead of generated: whoever writes the policy knows it"
    if after is None:
        return Trust.NARROWS, "generated inside CAS from now on"
    return Trust.CHANGES, "another value"


def _secret_verdict(key: str, before: Map, after: Map) -> Verdict:
    generated = "value" not in after and "import" not in after
    if key in ("kind", "size") and generated:
        return Trust.CHANGES, "CAS generates a new value, the old one is lost"
    return Trust.CHANGES, _event(before.get(key), after.get(key))


def _access(path: Path, before: Map, after: Map) -> list[Change]:
    """Rights; those that follow another right are compared only when one side states them."""
    found: list[Change] = []
    for right, default in _RIGHTS.items():
        if right not in before and right not in after:
            continue
        old = before.get(right, before.get(default, _EMPTY))
        new = after.get(right, after.get(default, _EMPTY))
        found += _rights((*path, right), old, new, _WHO[right])
    return found


def _rights(path: Path, before: Map, after: Map, who: str) -> list[Change]:
    """One right: ANY is more than everyone named, NONE less than anyone named."""
    if before == after:
        return []
    sides = ", ".join(sorted(before)), ", ".join(sorted(after))
    if ANY in after or NONE in before:
        verdict = Trust.WIDENS, f"everyone {who}" if ANY in after else f"{sides[1]} {who}"
    elif ANY in before or NONE in after:
        verdict = Trust.NARROWS, f"nobody {who}" if NONE in after else f"only {sides[1]} {who}"
    elif before.items() <= after.items():
        verdict = Trust.WIDENS, f"{', '.join(sorted({*after} - {*before}))} {who} too"
    elif after.items() <= before.items():
        verdict = Trust.NARROWS, f"{', '.join(sorted({*before} - {*after}))} no longer {who}"
    else:
        verdict = Trust.CHANGES, f"{sides[1]} {who}"
    return _change(
        path, sides[0] if sides[0] != sides[1] else before, sides[1] if sides[0] != sides[1] else after, verdict
    )


def _security(path: Path, before: Map, after: Map) -> list[Change]:
    here = (*path, "attestation")
    old, new = before.get("attestation", _EMPTY), after.get("attestation", _EMPTY)
    found: list[Change] = []
    for key in sorted({*old, *new}):
        if key in ("tolerate", "ignore_advisories"):
            words = "is put up with" if key == "tolerate" else "is ignored"
            found += _set((*here, key), old.get(key, _EMPTY), new.get(key, _EMPTY), words)
        else:
            found += _change(
                (*here, key), old.get(key), new.get(key), _security_verdict(key, old.get(key), new.get(key))
            )
    rest = sorted({*before, *after} - {"attestation"})
    return found + [change for key in rest for change in _leaves((*path, key), before.get(key), after.get(key))]


def _security_verdict(key: str, before: object, after: object) -> Verdict:
    if key == "mode" and after == "none":
        return Trust.WIDENS, "nothing is attested: any program is trusted"
    if key == "mode" and before == "none":
        return Trust.NARROWS, "programs are attested from now on"
    return Trust.CHANGES, "attested in another way"


def _set(path: Path, before: Map, after: Map, words: str) -> list[Change]:
    """Members of a set, one change each: more of them widens, fewer narrows."""
    found: list[Change] = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        verdict = (Trust.CHANGES, f"{key} {words} in another way")
        if old is None:
            verdict = (Trust.WIDENS, f"{key} {words}")
        elif new is None:
            verdict = (Trust.NARROWS, f"{key} no longer {words}")
        found += _change((*path, key), old, new, verdict)
    return found
