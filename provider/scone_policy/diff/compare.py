"""What differs between two policies, path by path, and whether that widens or narrows who and what is trusted."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from scone_policy.diff import access_rights
from scone_policy.diff.attestation import attestation_differences
from scone_policy.diff.change import SECRET, Change, Trust
from scone_policy.diff.sharing import IMPORT_BEGINS, IMPORT_ENDS, export_verdict, import_verdict
from scone_policy.diff.volumes import mounted_as, receiver_verdict, update_verdict
from scone_policy.forms.digest import masked, without_private
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.yaml_source import show

__all__ = ["Change", "Trust", "compare"]

Map = Mapping[str, Any]
Path = tuple[str, ...]
Verdict = tuple[Trust, str]
Judge = Callable[[Path, Any, Any], list[Change]]

_EMPTY: Map = {}
_STILL_PUBLIC: Verdict = (Trust.CHANGES, "the policy's hash stays public")
_RIGHTS = {"read": "read", "update": "update", "create_sessions": "update", "list_sessions": "read"}
_WHO = {
    "read": "may read the policy",
    "update": "may replace the policy",
    "create_sessions": "may create policies below it",
    "list_sessions": "may list the policies below it",
}


def compare(old: Map, new: Map, *, private: Map = _EMPTY) -> list[Change]:
    """The changes that lead from one canonical form to another, by path; empty exactly when they are equal.

    `private` (nested maps that end in True) names places whose values are secrets although the language does not know.
    """
    volumes = (old.get("volumes", _EMPTY), new.get("volumes", _EMPTY))
    sections: dict[str, Judge] = {
        "services": _entries(
            _service, ("one more program can be started with what this policy holds", "service removed")
        ),
        "secrets": _entries(_secret, ("secret added", "secret removed: CAS forgets its value")),
        "volumes": _entries(_volume, ("volume added", "volume removed: CAS forgets its key")),
        "images": _entries(_images(volumes), ("injected files added", "injected files removed")),
        "access_policy": _access,
        "security": _security,
    }
    old, new = (without_private(masked(side, secret=_Hidden), private, secret=_Hidden) for side in (old, new))
    others: dict[str, Judge] = {"salt": _salt}
    found: list[Change] = []
    for key in sorted({*old, *new}):
        judge = sections.get(key) or others.get(key, _leaves)
        empty = _EMPTY if key in sections else None
        found += judge((key,), old.get(key, empty), new.get(key, empty))
    return found


class _Hidden(str):
    """A secret on its way through the comparison: it equals itself, and is shown as a secret."""

    __slots__ = ()


def _shown(value: object) -> object:
    if isinstance(value, _Hidden):
        return str(value) if has_hole(value) else SECRET
    if isinstance(value, Mapping):
        return {key: _shown(item) for key, item in value.items()}
    return value


def _change(path: Path, before: object, after: object, verdict: Verdict) -> list[Change]:
    if before == after:
        return []
    trust, meaning = verdict
    return [Change(path=show(path), before=_shown(before), after=_shown(after), trust=trust, meaning=meaning)]


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
                found += _change(here, None, new, (trust, added))
            elif new is None:
                trust = Trust.NARROWS if path[0] == "services" else Trust.CHANGES
                found += _change(here, old, None, (trust, removed))
            else:
                found += judge(here, old, new)
        return found

    return entries


def _service(path: Path, before: Map, after: Map) -> list[Change]:
    found: list[Change] = []
    for key in sorted({*before, *after}):
        here, old, new = (*path, key), before.get(key), after.get(key)
        if key == "attestation":
            found += _attestation(here, old, new)
        elif key == "environment":
            found += _leaves(here, old, new)
        elif key == "platforms":
            found += _limit(here, old, new, "is a platform that is trusted", "platform")
        elif key == "tags":
            found += _leaves(here, old, new) if old and new else _change(here, old, new, (Trust.CHANGES, "tags"))
        elif key == "fspf_key":
            found += _change(here, old, new, (Trust.CHANGES, "files under another key are trusted"))
        else:
            found += _change(here, old, new, _service_verdict(key, old, new))
    return found


def _limit(path: Path, before: Map | None, after: Map | None, words: str, what: str) -> list[Change]:
    """A set that is no limit while it is empty: its first member narrows, its last one that goes widens."""
    if before and after:
        return _set(path, before, after, words)
    if before:
        return _change(path, before, after, (Trust.WIDENS, f"any {what} is trusted"))
    return _change(path, before, after, (Trust.NARROWS, f"only these {what}s are trusted from now on"))


def _service_verdict(key: str, before: object, after: object) -> Verdict:
    if key == "fspf_tag" and after is None:
        return Trust.WIDENS, "the files are no longer checked"
    if key == "fspf_tag" and before is None:
        return Trust.NARROWS, "the files are checked from now on"
    if key == "one_time_password_shared_secret":
        return _demanded(before, after, "a one-time password")
    if key == "fspf_update_policy":
        return update_verdict(before, after)
    words = {
        "command": "another program or other arguments",
        "fspf_tag": "other files are trusted instead",
        "pwd": "another working directory",
        "image_name": "other injected files",
    }
    return Trust.CHANGES, words.get(key, _event(before, after))


def _attestation(path: Path, before: Any, after: Any) -> list[Change]:  # noqa: ANN401
    """Who is trusted: programs and signers."""
    if before is None or after is None:
        verdict = (Trust.NARROWS, "attested from now on") if before is None else (Trust.WIDENS, "no longer attested")
        return _change(path, before, after, verdict)
    if isinstance(before, str) or isinstance(after, str):
        return _change(path, before, after, (Trust.CHANGES, "a secret decides which programs are trusted"))
    return [
        change
        for place, old, new, verdict in attestation_differences(before, after)
        for change in _change((*path, *place), old, new, verdict)
    ]


def _secret(path: Path, before: Map, after: Map) -> list[Change]:
    found: list[Change] = []
    for key in sorted({*before, *after}):
        here, old, new = (*path, key), before.get(key), after.get(key)
        if key == "export":
            found += _by_key(here, old or _EMPTY, new or _EMPTY, export_verdict)
        elif key == "import":
            found += _imported(here, old, new)
        elif key in ("value", "value_json"):
            found += _change(here, old, new, _value_verdict(old, new))
        elif key == "export_public":
            words = "everyone may read it, here and on other CASes"
            found += _change(here, old, new, (Trust.WIDENS, words) if new else (Trust.NARROWS, "no longer public"))
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _leaves(here, old, new)
        else:
            found += _change(here, old, new, _secret_verdict(key, before, after))
    return found


def _by_key(path: Path, before: Map, after: Map, verdict: Callable[[str, Any, Any], Verdict]) -> list[Change]:
    found: list[Change] = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        found += _change((*path, key), old, new, verdict(key, old, new))
    return found


def _imported(path: Path, before: Any, after: Any) -> list[Change]:  # noqa: ANN401
    if before is None or after is None:
        return _change(path, before, after, (Trust.CHANGES, IMPORT_BEGINS if before is None else IMPORT_ENDS))
    return _by_key(path, before, after, import_verdict)


def _volume(path: Path, before: Map, after: Map) -> list[Change]:
    found: list[Change] = []
    for key in sorted({*before, *after}):
        here, old, new = (*path, key), before.get(key), after.get(key)
        if key == "export":
            found += _receivers(here, old or _EMPTY, new or _EMPTY)
        elif key == "update_policy":
            found += _change(here, old, new, update_verdict(old, new))
        else:
            found += _leaves(here, old, new)
    return found


def _receivers(path: Path, before: Map, after: Map) -> list[Change]:
    """Who receives a volume; a receiver that stays is looked into where it is named in one way only."""
    found: list[Change] = []
    for receiver in sorted({*before, *after}):
        old, new = before.get(receiver), after.get(receiver)
        if old is None or new is None or any(isinstance(one, Mapping) and "any" in one for one in (old, new)):
            sides = [_EMPTY if one is None else {receiver: one} for one in (old, new)]
            found += _set(path, sides[0], sides[1], "receives the volume")
            continue
        left, right = (_EMPTY if one is True else one for one in (old, new))
        found += _by_key((*path, receiver), left, right, receiver_verdict)
    return found


def _images(volumes: tuple[Map, Map]) -> Judge:
    """Injected files and mounts. `volumes`: those of both sides, whose policy holds where a mount has none."""

    def image(path: Path, before: Map, after: Map) -> list[Change]:
        old, new = before.get("volumes", _EMPTY), after.get("volumes", _EMPTY)
        policies = {show((*path, "volumes", place, "update_policy")): place for place in {*old} & {*new}}
        found: list[Change] = []
        for change in _leaves(path, before, after):
            place = policies.get(change.path)
            if place is not None:
                sides = (mounted_as(old[place], volumes[0]), mounted_as(new[place], volumes[1]))
                trust, meaning = update_verdict(*sides)
                change = replace(change, trust=trust, meaning=meaning)  # noqa: PLW2901 - the same place, judged
            found.append(change)
        return found

    return image


def _demanded(before: object, after: object, what: str) -> Verdict:
    if before is None:
        return Trust.NARROWS, f"{what} is demanded from now on"
    if after is None:
        return Trust.WIDENS, f"{what} is no longer demanded"
    return Trust.CHANGES, f"{what} in another way"


def _value_verdict(before: object, after: object) -> Verdict:
    if before is None:
        return Trust.WIDENS, "given instead of generated: whoever writes the policy knows it"
    if after is None:
        return Trust.NARROWS, "generated inside CAS from now on"
    return Trust.CHANGES, "another value"


def _secret_verdict(key: str, before: Map, after: Map) -> Verdict:
    generated = "value" not in after and "import" not in after
    if key in ("kind", "size", "key_type") and generated:
        return Trust.CHANGES, "CAS generates a new value, the old one is lost"
    if key == "migrate" and generated:
        kept = (
            "from the next version on the key is kept" if after.get("migrate") else "no version keeps the key any more"
        )
        return Trust.CHANGES, f"{kept}; this one makes it anew"
    return Trust.CHANGES, _event(before.get(key), after.get(key))


def _access(path: Path, before: Any, after: Any) -> list[Change]:  # noqa: ANN401
    """Rights; those that follow another right are compared only when one side states them."""
    if isinstance(before, str) or isinstance(after, str):
        return _change(path, before, after, (Trust.CHANGES, "a secret decides who may do what"))
    found: list[Change] = []
    for right, default in _RIGHTS.items():
        if right not in before and right not in after:
            continue
        old = before.get(right, before.get(default, _EMPTY))
        new = after.get(right, after.get(default, _EMPTY))
        found += _rights((*path, right), old, new, _WHO[right])
    return found


def _rights(path: Path, before: Map, after: Map, who: str) -> list[Change]:
    if before == after:
        return []
    sides = access_rights.names(before), access_rights.names(after)
    old, new = sides if sides[0] != sides[1] else (before, after)
    return _change(path, old, new, access_rights.judge(before, after, who))


def _salt(path: Path, before: object, after: object) -> list[Change]:
    verdict = (Trust.WIDENS, "anyone may know the policy's hash") if before is None else _STILL_PUBLIC
    return _change(path, before, after, verdict)


def _security(path: Path, before: Any, after: Any) -> list[Change]:  # noqa: ANN401
    if isinstance(before, str) or isinstance(after, str):
        return _change(path, before, after, (Trust.CHANGES, "a secret decides how enclaves are attested"))
    here = (*path, "attestation")
    old, new = before.get("attestation", _EMPTY), after.get("attestation", _EMPTY)
    rest = [
        change
        for key in sorted({*before, *after} - {"attestation"})
        for change in _change(
            (*path, key), before.get(key), after.get(key), _demanded(before.get(key), after.get(key), key)
        )
    ]
    if isinstance(old, str) or isinstance(new, str):
        verdict = (Trust.CHANGES, "a secret decides how enclaves are attested")
        return _change(here, old or None, new or None, verdict) + rest
    found: list[Change] = []
    for key in sorted({*old, *new}):
        if key in _SETS:
            words = _SETS[key]
            found += _set((*here, key), old.get(key, _EMPTY), new.get(key, _EMPTY), words)
        elif key == "trusted_scone_qe_pubkeys":
            words = "is trusted to vouch for enclaves"
            found += _limit((*here, key), old.get(key), new.get(key), words, "quoting enclave")
        else:
            found += _change(
                (*here, key), old.get(key), new.get(key), _security_verdict(key, old.get(key), new.get(key))
            )
    return found + rest


_SETS = {
    "tolerate": "is put up with",
    "ignore_advisories": "is ignored",
}


def _security_verdict(key: str, before: object, after: object) -> Verdict:
    if key == "mode" and after == "none":
        return Trust.WIDENS, "nothing is attested: any program is trusted"
    if key == "mode" and before == "none":
        return Trust.NARROWS, "programs are attested from now on"
    if key == "one_time_password_shared_secret":
        return _demanded(before, after, "a one-time password")
    if key == "must_be_sgx_local":
        return _demanded(before, after, "an SGX quote of the same platform")
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
