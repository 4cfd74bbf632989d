"""What a changed volume means for trust: whether older files are put up with, and who receives it."""

from collections.abc import Mapping
from typing import Any

from scone_policy.diff.change import Trust
from scone_policy.model.volumes import UPDATE_POLICIES

Map = Mapping[str, Any]
Verdict = tuple[Trust, str]

_PROTECTED, _EPHEMERAL, _FREE = UPDATE_POLICIES


def update_verdict(before: object, after: object) -> Verdict:
    """Update policies of volumes and of a service's files; None is the default, which refuses older files."""
    if before == after:
        return Trust.CHANGES, "the same as before, in other words"
    if after == _FREE:
        return Trust.WIDENS, "older files are trusted too"
    if before == _FREE:
        return Trust.NARROWS, "older files are refused"
    if after == _EPHEMERAL:
        return Trust.CHANGES, "what is written is not kept"
    if before == _EPHEMERAL:
        return Trust.CHANGES, "what is written is kept"
    return Trust.CHANGES, "the same as before, in other words"


def receiver_verdict(key: str, before: object, after: object) -> Verdict:
    """One key of an export that stays."""
    if key == "update_policy":
        return update_verdict(before, after)
    if key == "session_hash" and before is None:
        return Trust.NARROWS, "only this version of the session receives the volume"
    if key == "session_hash" and after is None:
        return Trust.WIDENS, "every version of the session receives the volume"
    return Trust.CHANGES, "another version receives the volume" if key == "session_hash" else "under another name"


def mounted_as(mount: Map, volumes: Map) -> object:
    """The update policy of a mount: its own, else the one of its volume, else the default."""
    volume = volumes.get(mount["name"], {})
    return mount.get("update_policy") or volume.get("update_policy") or _PROTECTED
