"""What CAS makes anew, or forgets, when one version of a session replaces another (sections 3 and 4).

CAS keeps a generated value only by its own rules of migration, and with every upload, whatever that is for: so which
values go is known from the two versions alone. Both are canonical forms, or those parts of them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scone_policy.diff.renewal import Effect, Renewal
from scone_policy.model.secret_kinds import DEFAULT_KEY_TYPE
from scone_policy.syntax.holes import has_hole, shown
from scone_policy.syntax.placeholders import OPENING, Placeholder, parts, resolve
from scone_policy.syntax.yaml_source import show

__all__ = ["Effect", "Renewal", "changes_values", "renewals"]

Map = Mapping[str, Any]

_EMPTY: Map = {}
_DRAWN = frozenset({"ascii", "binary", "pgp-key", "private-key"})
_CERTIFICATES = frozenset({"x509", "x509-ca"})
_SOURCES = ("private_key", "issuer", "signer")
"""Keys that name the secrets which one is made from."""
_GIVEN, _IMPORTED, _GENERATED = "given", "imported", "generated"
_NO_MATTER = ("export", "export_public")
"""Keys that say who else receives a value, not which one it is."""
_DECIDING = (
    ("access_policy",),
    ("security",),
    ("services", "*", "attestation"),
    ("services", "*", "fspf_key"),
    ("services", "*", "one_time_password_shared_secret"),
    ("services", "*", "platforms"),
    ("volumes", "*", "fspf_key"),
)
"""Where a secret decides who or what is trusted, or which files can be read."""


def renewals(old: Map, new: Map) -> list[Renewal]:
    """What CAS makes anew or forgets when `new` is uploaded on top of `old`, by section and name.

    A value that is given or imported is never named: it is what the description says. What a service asks for only
    when it starts (a jwt, an aad-token) is named when the key changes that it is made with. CAS's own key store keeps
    what it holds: nothing in a description tells that.
    """
    secrets = _Secrets(old, new)
    found = [one for name in sorted(secrets.old) if (one := secrets.renewal(name)) is not None]
    return [*found, *_volumes(_section(old, "volumes"), _section(new, "volumes"))]


def changes_values(old: Map, new: Map) -> bool:
    """Whether a service that started under `old` may hold a value that it would not get under `new`."""
    secrets = _Secrets(old, new)
    return any(secrets.fate(name).is_other for name in secrets.old) or any(one.is_loss for one in renewals(old, new))


@dataclass(frozen=True, kw_only=True)
class _Fate:
    """What becomes of one secret. `is_other`: who has the old value has not the one that counts."""

    effect: Effect | None = None
    is_other: bool = False
    why: str = ""
    fix: str = ""


_STAYS = _Fate()
_REPLACED = _Fate(is_other=True)
"""Another value, because the description says so itself."""


class _Secrets:
    """The secrets of both versions."""

    def __init__(self, old: Map, new: Map) -> None:
        self.old, self._new = _section(old, "secrets"), _section(new, "secrets")
        self._session = new
        self._kinds = {name: secret.get("kind") for name, secret in self._new.items()}
        self._known: dict[str, _Fate] = {}

    def renewal(self, name: str) -> Renewal | None:
        """What CAS does to the value, None when nothing."""
        fate = self.fate(name)
        if fate.effect is None:
            return None
        left = self._new.get(name)
        return Renewal(
            section="secrets",
            name=name,
            effect=fate.effect,
            why=fate.why,
            fix=fate.fix,
            kind=str((left or self.old[name]).get("kind", "")),
            receivers=tuple(_receivers(left or self.old[name])) if fate.is_other else (),
            decides=tuple(_decided(self._session, name)) if fate.is_other and left is not None else (),
        )

    def fate(self, name: str) -> _Fate:
        """What becomes of a secret; one that is new stays as it is."""
        if name not in self._known:
            self._known[name] = _STAYS  # while it is looked at: what is made from itself is refused elsewhere
            self._known[name] = self._fate(name)
        return self._known[name]

    def _fate(self, name: str) -> _Fate:
        before, after = self.old.get(name), self._new.get(name)
        if before is None:
            return _STAYS
        if after is None or _source(after) != _GENERATED:
            return _not_generated(before, after)
        if _source(before) != _GENERATED:
            was = "the value that was given" if _source(before) == _GIVEN else "the import"
            return _anew(f"{was} is taken out of the policy", _ANOTHER)
        if before.get("kind") != after.get("kind"):
            return _anew(f"its kind changes ({_change(before.get('kind'), after.get('kind'))})", _ANOTHER)
        if after.get("kind") in _DRAWN:
            return _private_key(before, after) if after.get("kind") == "private-key" else _sized(before, after)
        return self._made(before, after)

    def _made(self, before: Map, after: Map) -> _Fate:
        """A secret that CAS makes from others: when it is uploaded (a certificate), else when it is asked for."""
        for key in _SOURCES:
            source = self._named(after.get(key))
            if source is not None and before.get(key) == after.get(key) and (fate := self.fate(source)).is_other:
                what = {"private_key": "its private key", "issuer": "its issuer", "signer": "the key that signs it"}[
                    key
                ]
                how = "is made anew" if fate.effect is Effect.ANEW else "changes"
                return _anew(f"{what}, {source}, {how}", f"Keep {source}, and this stays with it.")
        is_same = _without(before, _NO_MATTER) == _without(after, _NO_MATTER)
        if after.get("kind") not in _CERTIFICATES:
            is_key_other = any(before.get(key) != after.get(key) for key in _SOURCES)
            return _anew("it is made with another key", _ANOTHER) if is_key_other else _STAYS
        if not is_same:
            return _anew("what the policy says of this certificate changes", _ANOTHER)
        return _Fate(
            effect=Effect.REISSUED,
            why="every version of a policy issues its certificates anew: over the same key and by the same issuer, so "
            "that those who trust that go on trusting it",
        )

    def _named(self, written: object) -> str | None:
        """The secret that a key names, as its name or as a placeholder; None when it names none."""
        if not isinstance(written, str) or has_hole(written) or "-----" in written:
            return None
        try:
            (part,) = parts(written)
            name = resolve(part, self._kinds)[0] if isinstance(part, Placeholder) else part
        except ValueError:
            return None
        return name if name in self._new else None


_ANOTHER = "To keep the old value, leave this secret as it is, and take another name for the new one."
_RENAMED = "Leave it in the policy while it is needed: under another name it is another secret."


def _not_generated(before: Map, after: Map | None) -> _Fate:
    """A secret that is gone, or given or imported from now on."""
    if after is not None and _without(before, (*_NO_MATTER, "migrate")) == _without(after, (*_NO_MATTER, "migrate")):
        return _STAYS
    if _source(before) != _GENERATED or before.get("kind") not in _DRAWN | _CERTIFICATES:
        return _REPLACED
    if after is None:
        return _Fate(effect=Effect.FORGOTTEN, is_other=True, why="it is taken out of the policy", fix=_RENAMED)
    return _Fate(effect=Effect.FORGOTTEN, is_other=True, why=f"it is {_source(after)} from now on", fix=_ANOTHER)


def _private_key(before: Map, after: Map) -> _Fate:
    types = [one.get("key_type") or DEFAULT_KEY_TYPE for one in (before, after)]
    if types[0] != types[1]:
        return _anew(f"its key_type changes ({_change(*types)})", _ANOTHER)
    if before.get("migrate") and after.get("migrate"):
        return _STAYS
    if after.get("migrate"):
        return _anew(
            "CAS keeps a private key only when the version before says migrate: true, too",
            "This once cannot be avoided; from then on the key is kept.",
        )
    if before.get("migrate"):
        return _anew("migrate: true is taken away", "Leave migrate: true to keep the key.")
    return _anew(
        "every version of a policy makes a private key without migrate: true anew",
        "Give it migrate: true: the key is made anew this once, and kept from then on.",
    )


def _sized(before: Map, after: Map) -> _Fate:
    sizes = (before.get("size"), after.get("size"))
    return _STAYS if sizes[0] == sizes[1] else _anew(f"its size changes ({_change(*sizes)})", _ANOTHER)


def _anew(why: str, fix: str) -> _Fate:
    return _Fate(effect=Effect.ANEW, is_other=True, why=why, fix=fix)


def _volumes(old: Map, new: Map) -> Iterator[Renewal]:
    for name in sorted(old):
        before, after = old[name], new.get(name)
        fix = "Leave the volume as it is while its files are needed; take another name for the new one."
        if "import" in before:
            continue  # its key and tag are the exporter's
        if after is None:
            yield _volume(name, Effect.FORGOTTEN, "it is taken out of the policy", fix)
        elif "import" in after:
            yield _volume(name, Effect.FORGOTTEN, "it is imported from now on", fix)
        elif before.get("fspf_key") is not None and after.get("fspf_key") is None:
            yield _volume(name, Effect.ANEW, "the key that was given is taken out of the policy", fix)
        elif any(before.get(key) != after.get(key) for key in ("fspf_key", "fspf_tag")):
            yield _volume(name, Effect.FORGOTTEN, "another key or tag is given", fix)


def _volume(name: str, effect: Effect, why: str, fix: str) -> Renewal:
    return Renewal(section="volumes", name=name, effect=effect, why=why, fix=fix)


def _source(secret: Map) -> str:
    """Where the value comes from."""
    if "value" in secret or "value_json" in secret:
        return _GIVEN
    return _IMPORTED if {"import", "import_akv"} & set(secret) else _GENERATED


def _receivers(secret: Map) -> Iterator[str]:
    exports = secret.get("export")
    for receiver, ways in sorted(exports.items() if isinstance(exports, Mapping) else ()):
        everything = isinstance(ways, Mapping) and any(str(way).startswith("namespace") for way in ways)
        yield f"every session in {receiver}" if everything else str(receiver)
    if secret.get("export_public"):
        yield "everyone"


def _decided(session: Map, name: str) -> Iterator[str]:
    """The paths at which a secret decides something."""
    placeholder = re.compile(rf"{re.escape(OPENING + name)}(?![A-Za-z0-9_\-~])")
    for pattern in _DECIDING:
        for path, text in _leaves(session, pattern):
            if placeholder.search(text):
                yield show(path)


def _leaves(
    tree: object, pattern: tuple[str, ...], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The texts below what a pattern (`*` for any key) leads to; keys are texts, too."""
    if isinstance(tree, str):
        yield path, tree
    elif isinstance(tree, Mapping):
        first, *rest = pattern or ("*",)
        for key, value in tree.items():
            if first not in ("*", key):
                continue
            if not pattern and value is True:
                yield path, str(key)
            yield from _leaves(value, tuple(rest), (*path, str(key)))


def _section(session: Map, key: str) -> dict[str, Map]:
    found = session.get(key)
    entries = found.items() if isinstance(found, Mapping) else ()
    return {str(name): entry for name, entry in entries if isinstance(entry, Mapping)}


def _without(secret: Map, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in secret.items() if key not in keys}


def _change(before: object, after: object) -> str:
    return f"{shown(str(before))} → {shown(str(after))}"
