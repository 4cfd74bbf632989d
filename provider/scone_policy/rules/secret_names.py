"""Names and placeholders of secrets: which secret is meant, and what is said of a name that means none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from scone_policy.model.secrets import Secret
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.nearest import nearest_word
from scone_policy.syntax.placeholders import CLOSING, OPENING, Placeholder, is_reference, parts, resolve
from scone_policy.syntax.problems import Problem
from scone_policy.syntax.yaml_source import Path

Kinds = Mapping[str, str | None]
Secrets = Mapping[str, Secret]


def kinds_of(secrets: Secrets) -> Kinds:
    """The kind of each secret; None where an import does not say it. A view: it takes no time to make."""
    return _KindsOf(secrets)


class _KindsOf(Mapping[str, str | None]):
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def __getitem__(self, name: str) -> str | None:
        return self._secrets[name].kind

    def __iter__(self) -> Iterator[str]:
        return iter(self._secrets)

    def __len__(self) -> int:
        return len(self._secrets)


def meant(written: str, secrets: Secrets) -> tuple[str, str] | None:
    """The secret that a reference or a bare name means, and the suffix; None when it leads nowhere or is not known."""
    if has_hole(written):
        return None
    if not is_reference(written):
        return (written, "") if written in secrets else None
    (placeholder,) = parts(written)
    assert isinstance(placeholder, Placeholder)
    try:
        return resolve(placeholder, kinds_of(secrets))
    except ValueError:
        return None


def naming_problems(path: Path, name: str, wanted: Sequence[str], secrets: Secrets, words: str) -> Iterator[Problem]:
    """A problem unless a name or placeholder means a secret of one of the `wanted` kinds; `words` begin the rule."""
    if has_hole(name):
        return
    if name.startswith(OPENING):
        found = meant(name, secrets)
        if found is None and (is_reference(name) or name.count(CLOSING) == 1):
            return  # refused as a placeholder that leads nowhere or is not closed
        name = name if found is None else found[0]
    secret = secrets.get(name)
    if secret is None or secret.kind not in (*wanted, None):
        rule = f"{words} a secret of this session, of kind {wanted[0]}"
        fitting = {other: one for other, one in secrets.items() if one.kind in (*wanted, None)}
        fix = f"Name another one: {name} is of kind {secret.kind}." if secret is not None else None
        yield Problem(path=path, rule=rule, fix=fix or nearest_among(name, fitting, "secrets"))


def nearest_among(name: str, known: Iterable[str], section: str) -> str:
    """What to do about a name that is none of a section: the nearest one, or the section to add it to."""
    near = nearest_word(name, known)
    return f"Did you mean {near}?" if near is not None else f"Add it under {section}, or correct the name."
