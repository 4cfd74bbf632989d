"""What of a description with a broken shape can be judged all the same, so that a person sees all errors at once.

What is broken is left out, key by key; what cannot do without a broken key is replaced by something of its name that is
not known yet. So nothing is reported that only the leaving out made wrong.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from scone_policy.syntax.holes import Holes
from scone_policy.syntax.problems import Problem
from scone_policy.syntax.scalars import by_name
from scone_policy.syntax.yaml_source import Path

_SECTIONS = ("services", "secrets", "images", "volumes")
_OPEN = Holes().punch("broken")
_UNKNOWN: Mapping[str, Mapping[str, object]] = {
    "services": {"attestation": {"mrenclave": _OPEN}},
    "secrets": {"import": {"session": _OPEN, "secret": _OPEN}},
    "images": {},
    "volumes": {},
}
"""Entries of which only the name is known."""
_WHOLE: Mapping[str, object] = {
    "name": _OPEN,
    "version": _OPEN,
    "security": {"attestation": {"mode": _OPEN}},
}
"""What stands for a broken part that others are judged by; the rest is left out."""
_SERVICE = {"attestation": {"mrenclave": _OPEN}}


def without_broken(data: Mapping[str, object], problems: Sequence[Problem]) -> dict[str, object]:
    """The description without the parts that the problems name."""
    found: dict[str, Any] = dict(data)
    for section in _SECTIONS:
        if section in found:
            entries = _by_name(section, found[section])
            found[section] = dict(entries) if isinstance(entries, Mapping) else {}
    for problem in problems:
        _leave_out(found, problem.path)
    return found


def with_unknown(data: Mapping[str, object], problems: Sequence[Problem]) -> dict[str, object]:
    """The same with whole entries replaced, and sections left out, where leaving out keys was not enough."""
    found: dict[str, Any] = {
        key: dict(value) if key in _SECTIONS and isinstance(value, Mapping) else value for key, value in data.items()
    }
    for problem in problems:
        section, *rest = problem.path or ("",)
        if section in _SECTIONS and rest and isinstance(found.get(str(section)), dict):
            found[str(section)][str(rest[0])] = dict(_UNKNOWN[str(section)])
        elif section in _WHOLE:
            found[str(section)] = _WHOLE[str(section)]
        else:
            found.pop(str(section), None)
    return found


def _by_name(section: str, written: object) -> object:
    """A section as a map by name. Entries without one are left out; of two of one name nobody knows which is meant."""
    if not isinstance(written, list | tuple):
        return written
    found: dict[str, object] = {}
    convert = by_name()
    for item in written:
        try:
            entries = convert([item])
        except ValueError:
            continue
        assert isinstance(entries, Mapping)
        for name, entry in entries.items():
            found[name] = dict(_UNKNOWN[section]) if name in found else entry
    return found


def _leave_out(data: dict[str, Any], path: Path) -> None:
    if not path:
        return
    section, *rest = path
    if section not in _SECTIONS or not rest:
        _leave_out_of_rest(data, path)
        return
    entries = data.get(str(section))
    if not isinstance(entries, dict):
        return
    name, *below = rest
    entry = entries.get(name) if isinstance(name, str) else None
    if not isinstance(entry, Mapping) or not below:
        replaced: object = dict(_UNKNOWN[str(section)])
    else:
        key = str(below[0])
        replaced = {other: value for other, value in entry.items() if other != key}
        if section == "services" and key in ("attestation", "mrenclaves"):
            replaced = {**replaced, **_SERVICE}
    if isinstance(name, str):
        entries[name] = replaced


def _leave_out_of_rest(data: dict[str, Any], path: Path) -> None:
    """A key of the top, or the key of security, attestation or access_policy that is broken, whole."""
    *parents, last = path[:3] if path[:2] == ("security", "attestation") else path[:2]
    if len(path) == 1 or not isinstance(data.get(str(path[0])), Mapping):
        key = str(path[0])
        data.pop(key, None)
        if key in _WHOLE:
            data[key] = _WHOLE[key]
        return
    tree: dict[str, Any] = data
    for step in parents:
        inner = tree.get(str(step))
        if not isinstance(inner, Mapping):
            return
        tree[str(step)] = dict(inner)
        tree = tree[str(step)]
    tree.pop(str(last), None)
    if path[:3] == ("security", "attestation", "mode"):
        tree["mode"] = _OPEN
