"""What differs between two policies, path by path, and whether that widens or narrows who and what is trusted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scone_policy.diff import access_rights
from scone_policy.diff.attestation import attestation_differences
from scone_policy.diff.change import Change, Trust
from scone_policy.diff.leaves import (
    EMPTY,
    Hidden,
    Judge,
    Map,
    Path,
    Verdict,
    by_key,
    change_at,
    demanded,
    entries_of,
    event,
    leaves,
    limit,
    members_of,
)
from scone_policy.diff.secrets import secret_differences
from scone_policy.diff.volumes import mounted_as, receiver_verdict, update_verdict
from scone_policy.forms.digest import masked, without_private
from scone_policy.syntax.yaml_source import show

__all__ = ["Change", "Trust", "compare"]


_STILL_PUBLIC: Verdict = (Trust.CHANGES, "the policy's hash stays public")
_RIGHTS = {"read": "read", "update": "update", "create_sessions": "update", "list_sessions": "read"}
_WHO = {
    "read": "may read the policy",
    "update": "may replace the policy",
    "create_sessions": "may create policies below it",
    "list_sessions": "may list the policies below it",
}


def compare(old: Map, new: Map, *, private: Map = EMPTY) -> list[Change]:
    """The changes that lead from one canonical form to another, by path; empty exactly when they are equal.

    `private` (nested maps that end in True) names places whose values are secrets although the language does not know.
    """
    volumes = (old.get("volumes", EMPTY), new.get("volumes", EMPTY))
    sections: dict[str, Judge] = {
        "services": entries_of(
            _service, ("one more program can be started with what this policy holds", "service removed")
        ),
        "secrets": entries_of(secret_differences, ("secret added", "secret removed: CAS forgets its value")),
        "volumes": entries_of(_volume, ("volume added", "volume removed: CAS forgets its key")),
        "images": entries_of(_images(volumes), ("injected files added", "injected files removed")),
        "access_policy": _access,
        "security": _security,
    }
    old, new = (without_private(masked(side, secret=Hidden), private, secret=Hidden) for side in (old, new))
    others: dict[str, Judge] = {"salt": _salt}
    found: list[Change] = []
    for key in sorted({*old, *new}):
        judge = sections.get(key) or others.get(key, leaves)
        empty = EMPTY if key in sections else None
        found += judge((key,), old.get(key, empty), new.get(key, empty))
    return found


def _service(path: Path, before: Map, after: Map) -> list[Change]:
    found: list[Change] = []
    for key in sorted({*before, *after}):
        here, old, new = (*path, key), before.get(key), after.get(key)
        if key == "attestation":
            found += _attestation(here, old, new)
        elif key == "environment":
            found += leaves(here, old, new)
        elif key == "platforms":
            found += limit(here, old, new, "is a platform that is trusted", "platform")
        elif key == "tags":
            found += leaves(here, old, new) if old and new else change_at(here, old, new, (Trust.CHANGES, "tags"))
        elif key == "fspf_key":
            found += change_at(here, old, new, (Trust.CHANGES, "files under another key are trusted"))
        else:
            found += change_at(here, old, new, _service_verdict(key, old, new))
    return found


def _service_verdict(key: str, before: object, after: object) -> Verdict:
    if key == "fspf_tag" and after is None:
        return Trust.WIDENS, "the files are no longer checked"
    if key == "fspf_tag" and before is None:
        return Trust.NARROWS, "the files are checked from now on"
    if key == "one_time_password_shared_secret":
        return demanded(before, after, "a one-time password")
    if key == "fspf_update_policy":
        return update_verdict(before, after)
    words = {
        "command": "another program or other arguments",
        "fspf_tag": "other files are trusted instead",
        "pwd": "another working directory",
        "image_name": "other injected files",
    }
    return Trust.CHANGES, words.get(key, event(before, after))


def _attestation(path: Path, before: Any, after: Any) -> list[Change]:  # noqa: ANN401
    """Who is trusted: programs and signers."""
    if before is None or after is None:
        verdict = (Trust.NARROWS, "attested from now on") if before is None else (Trust.WIDENS, "no longer attested")
        return change_at(path, before, after, verdict)
    if isinstance(before, str) or isinstance(after, str):
        return change_at(path, before, after, (Trust.CHANGES, "a secret decides which programs are trusted"))
    return [
        change
        for place, old, new, verdict in attestation_differences(before, after)
        for change in change_at((*path, *place), old, new, verdict)
    ]


def _volume(path: Path, before: Map, after: Map) -> list[Change]:
    found: list[Change] = []
    for key in sorted({*before, *after}):
        here, old, new = (*path, key), before.get(key), after.get(key)
        if key == "export":
            found += _receivers(here, old or EMPTY, new or EMPTY)
        elif key == "update_policy":
            found += change_at(here, old, new, update_verdict(old, new))
        else:
            found += leaves(here, old, new)
    return found


def _receivers(path: Path, before: Map, after: Map) -> list[Change]:
    """Who receives a volume; a receiver that stays is looked into where it is named in one way only."""
    found: list[Change] = []
    for receiver in sorted({*before, *after}):
        old, new = before.get(receiver), after.get(receiver)
        if old is None or new is None or any(isinstance(one, Mapping) and "any" in one for one in (old, new)):
            sides = [EMPTY if one is None else {receiver: one} for one in (old, new)]
            found += members_of(path, sides[0], sides[1], "receives the volume")
            continue
        left, right = (EMPTY if one is True else one for one in (old, new))
        found += by_key((*path, receiver), left, right, receiver_verdict)
    return found


def _images(volumes: tuple[Map, Map]) -> Judge:
    """Injected files and mounts. `volumes`: those of both sides, whose policy holds where a mount has none."""

    def image(path: Path, before: Map, after: Map) -> list[Change]:
        old, new = before.get("volumes", EMPTY), after.get("volumes", EMPTY)
        policies = {show((*path, "volumes", place, "update_policy")): place for place in {*old} & {*new}}
        found: list[Change] = []
        for change in leaves(path, before, after):
            place = policies.get(change.path)
            if place is not None:
                sides = (mounted_as(old[place], volumes[0]), mounted_as(new[place], volumes[1]))
                trust, meaning = update_verdict(*sides)
                change = replace(change, trust=trust, meaning=meaning)  # noqa: PLW2901 - the same place, judged
            found.append(change)
        return found

    return image


def _access(path: Path, before: Any, after: Any) -> list[Change]:  # noqa: ANN401
    """Rights; those that follow another right are compared only when one side states them."""
    if isinstance(before, str) or isinstance(after, str):
        return change_at(path, before, after, (Trust.CHANGES, "a secret decides who may do what"))
    found: list[Change] = []
    for right, default in _RIGHTS.items():
        if right not in before and right not in after:
            continue
        old = before.get(right, before.get(default, EMPTY))
        new = after.get(right, after.get(default, EMPTY))
        found += _rights((*path, right), old, new, _WHO[right])
    return found


def _rights(path: Path, before: Map, after: Map, who: str) -> list[Change]:
    if before == after:
        return []
    sides = access_rights.names(before), access_rights.names(after)
    old, new = sides if sides[0] != sides[1] else (before, after)
    return change_at(path, old, new, access_rights.judge(before, after, who))


def _salt(path: Path, before: object, after: object) -> list[Change]:
    verdict = (Trust.WIDENS, "anyone may know the policy's hash") if before is None else _STILL_PUBLIC
    return change_at(path, before, after, verdict)


def _security(path: Path, before: Any, after: Any) -> list[Change]:  # noqa: ANN401
    if isinstance(before, str) or isinstance(after, str):
        return change_at(path, before, after, (Trust.CHANGES, "a secret decides how enclaves are attested"))
    here = (*path, "attestation")
    old, new = before.get("attestation", EMPTY), after.get("attestation", EMPTY)
    rest = [
        change
        for key in sorted({*before, *after} - {"attestation"})
        for change in change_at(
            (*path, key), before.get(key), after.get(key), demanded(before.get(key), after.get(key), key)
        )
    ]
    if isinstance(old, str) or isinstance(new, str):
        verdict = (Trust.CHANGES, "a secret decides how enclaves are attested")
        return change_at(here, old or None, new or None, verdict) + rest
    found: list[Change] = []
    for key in sorted({*old, *new}):
        if key in _SETS:
            words = _SETS[key]
            found += members_of((*here, key), old.get(key, EMPTY), new.get(key, EMPTY), words)
        elif key == "trusted_scone_qe_pubkeys":
            words = "is trusted to vouch for enclaves"
            found += limit((*here, key), old.get(key), new.get(key), words, "quoting enclave")
        else:
            found += change_at(
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
        return demanded(before, after, "a one-time password")
    if key == "must_be_sgx_local":
        return demanded(before, after, "an SGX quote of the same platform")
    return Trust.CHANGES, "attested in another way"
