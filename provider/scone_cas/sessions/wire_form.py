"""Refuses what only programs and state may say: on the wire a session has lists, never maps by name (docs/policies.md).

The model takes both forms, as programs write the one and CASes the other; a real CAS would refuse the first.
"""

from collections.abc import Callable, Iterator, Mapping

from scone_policy.forms.canonical import NO_SECRETS
from scone_policy.model.access import ALL, AT_LEAST, SIGNER
from scone_policy.syntax.problems import Problem
from scone_policy.syntax.yaml_source import Path, Tagged

_EACH = "*"
_WORDS = (SIGNER, ALL, AT_LEAST)
_RULE = "this is the map form of programs and state, which no CAS takes"

Fix = str | None
Judge = Callable[[object], Fix]
"""How to write a value rightly; None when it is in the wire form, or broken in a way that the model refuses."""


def wire_problems(data: Mapping[str, object]) -> list[Problem]:
    """Everything in a description's plain data that is not the wire form, each with how to write it."""
    return [
        *(
            Problem(path=path, rule=_RULE, fix=fix)
            for pattern, judge in _JUDGES.items()
            for path, value in _found(data, pattern)
            if (fix := judge(value)) is not None
        ),
        *_access(data.get("access_policy")),
    ]


def _found(tree: object, pattern: Path, path: Path = ()) -> Iterator[tuple[Path, object]]:
    if not pattern:
        yield path, tree
    elif pattern[0] == _EACH:
        for number, item in enumerate(tree if isinstance(tree, list) else ()):
            yield from _found(item, pattern[1:], (*path, number))
    elif isinstance(tree, Mapping) and pattern[0] in tree:
        yield from _found(tree[pattern[0]], pattern[1:], (*path, pattern[0]))


def _listed(fix: str) -> Judge:
    return lambda value: fix if isinstance(value, Mapping) else None


_NAMED = _listed("Write a list, each item with its name: `- {name: …, …}`.")
_BY_PATH = _listed("Write a list, each item with its path: `- {path: …, …}`.")
_SET = _listed("Write a list: `[…, …]`.")


def _variants(value: object) -> Fix:
    is_map = isinstance(value, Mapping) and set(value) == {"any"}
    return "Write a list of the variants, without `any`." if is_map else None


def _receivers(value: object) -> Fix:
    is_map = isinstance(value, Mapping) and any(isinstance(item, Mapping) for item in value.values())
    return "Write a list of receivers: `- session: …` or `- namespace: …`." if is_map else None


def _volume_receivers(value: object) -> Fix:
    """One receiver is `{session: …}` or `{to: …}`; in the map form its name is the key."""
    if not isinstance(value, Mapping) or isinstance(value.get("session"), str):
        return None
    to = value.get("to")
    is_one = isinstance(to, str) or (isinstance(to, Mapping) and "session" in to)
    return None if is_one else "Write a list of receivers: `- {to: {session: …}, …}`."


def _fragment(_value: object) -> Fix:
    return "Write `value`, with the fragment itself."


def _provided(value: object) -> Fix:
    return "Write an empty list: `[]`." if value == NO_SECRETS else _SET(value)


def _store(value: object) -> Fix:
    return None if value is None or isinstance(value, Tagged) else "Write `!cas`, or `!akv {token: …, vault: …}`."


_JUDGES: Mapping[Path, Judge] = {
    **{(section,): _NAMED for section in ("services", "secrets", "images", "volumes")},
    **{("services", _EACH, key): _SET for key in ("platforms", "tags")},
    ("services", _EACH, "attestation"): _variants,
    ("services", _EACH, "attestation", "mrenclave"): _SET,
    ("services", _EACH, "attestation", _EACH, "mrenclave"): _SET,
    **{("secrets", _EACH, key): _SET for key in ("dns", "san")},
    ("secrets", _EACH, "export"): _receivers,
    ("secrets", _EACH, "value_json"): _fragment,
    ("volumes", _EACH, "export"): _volume_receivers,
    ("images", _EACH, "injection_files"): _BY_PATH,
    ("images", _EACH, "volumes"): _BY_PATH,
    ("images", _EACH, "provide_secrets"): _provided,
    **{("security", "attestation", key): _SET for key in ("tolerate", "ignore_advisories", "trusted_scone_qe_pubkeys")},
    ("secret_config", "store_in"): _store,
}


def _access(policy: object) -> Iterator[Problem]:
    for right, value in policy.items() if isinstance(policy, Mapping) else ():
        # One signer or rule may stand without its list.
        alone = isinstance(value, Mapping) and len(value) == 1 and str(next(iter(value))).startswith(_WORDS)
        yield from _entries([value] if alone else value, ("access_policy", right))


def _entries(value: object, path: Path) -> Iterator[Problem]:
    if isinstance(value, Mapping):
        yield Problem(path=path, rule=_RULE, fix="Write a list of entries: `- CREATOR`.")
    for number, entry in enumerate(value if isinstance(value, list) else ()):
        if isinstance(entry, Mapping) and SIGNER not in entry:
            for word, inner in entry.items():
                yield from _entries(inner, (*path, number, str(word)))
