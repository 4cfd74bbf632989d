"""Config fragments given in a session, judged as the sections that they stand for.

What is wrong is told in words of the language alone: the value of a fragment is a secret, and so are its own keys.
"""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ValidationError

from scone_policy.forms.canonical import present
from scone_policy.model.access import AccessPolicy
from scone_policy.model.attestation import Signer, Variant, canonical_variants
from scone_policy.model.security import Attestation, Security
from scone_policy.model.services import Service
from scone_policy.model.session import Session
from scone_policy.model.sets import member_map
from scone_policy.syntax import config_fragments
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.placeholders import OPENING, Placeholder, is_reference, parts
from scone_policy.syntax.problems import MOST_PROBLEMS, PLAIN_RULES, Problem, problems_of
from scone_policy.syntax.suggestions import of_session
from scone_policy.syntax.yaml_source import MAX_TEXT, Path, show

_NAMES = frozenset(
    name for model in (AccessPolicy, Security, Attestation, Service, Variant, Signer) for name in model.model_fields
)
_ALTERNATIVES = ("any", "mrenclave")
"""Keys whose maps by short digest are lists on the wire, into which lists splice."""


def fitting_problems(session: Session) -> list[Problem]:
    """A problem for each rule that a section breaks once the fragments that are given here stand in it."""
    given = {
        name: str(secret.value)
        for name, secret in session.secrets.items()
        if secret.kind == "config-fragment" and secret.value is not None and not has_hole(secret.value)
    }
    if not given:
        return []
    filler = _Filler(given)
    found: dict[Problem, None] = {}
    for path, model, tree in _sections(session):
        found |= dict.fromkeys(_judge(path, model, tree, filler))
        if filler.size > MAX_TEXT:
            rule = "names config fragments whose texts, with those before, are larger than 1 MiB"
            return [*found, Problem(path=path, rule=rule, fix="Name them less often, or make them smaller.")]
        if len(found) > MOST_PROBLEMS:
            break
    return list(found)


def _sections(session: Session) -> Iterator[tuple[Path, type[BaseModel], object]]:
    yield ("access_policy",), AccessPolicy, session.access_policy.canonical()
    yield ("security",), Security, session.security.canonical()
    for name, service in session.services.items():
        tree = present(attestation=canonical_variants(service.attestation), platforms=member_map(service.platforms))
        yield ("services", name), Service, tree


def _judge(path: Path, model: type[BaseModel], tree: object, filler: "_Filler") -> Iterator[Problem]:
    filler.used = []
    filled = filler.fill(tree)
    given = filler.given
    if not filler.used or filler.size > MAX_TEXT:
        return
    at: Path = ("secrets", filler.used[0], "value") if len(filler.used) == 1 else path
    if any(OPENING in given[name] for name in filler.used):
        rule = f"stands in {show(path)} and holds a placeholder, which nobody would fill in there"
        yield Problem(path=at, rule=rule, fix="Write the placeholder into the section itself.")
        return
    if filled is None:
        rule = f"stands in {show(path)}, and does not fit there: must be a map"
        yield Problem(path=at, rule=rule, fix="Write the section's keys in the fragment.")
        return
    try:
        model.model_validate(filled)
    except ValidationError as error:
        for problem in of_session(problems_of(error), model):
            place = (*path, *(step for step in problem.path if step in _NAMES))
            words = problem.rule if problem.rule in PLAIN_RULES else "breaks a rule of the language"
            fix = problem.fix if problem.rule in PLAIN_RULES else f"Write it as {show(place)} itself is written."
            yield Problem(path=at, rule=f"stands in {show(place)}, and does not fit there: {words}", fix=fix)


class _Filler:
    """Puts given fragments into plain data in canonical form; notes which, and how much text that was in all."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.given = given
        self.used: list[str] = []
        self.size = 0

    def fill(self, tree: object) -> object:
        """The tree with the fragments' own trees in the place of their placeholders."""
        if self._named(tree) is not None:
            return self._held(tree)
        if not isinstance(tree, Mapping):
            return tree
        if any(self._named(key) is not None for key in tree):
            return self._spliced(key if item is True else item for key, item in tree.items())
        return {
            key: self._spliced(item.values()) if key in _ALTERNATIVES and isinstance(item, Mapping) else self.fill(item)
            for key, item in tree.items()
        }

    def _spliced(self, items: "Iterator[object] | object") -> list[object]:
        found: list[object] = []
        assert hasattr(items, "__iter__")
        for item in items:
            filled = self.fill(item)
            found += filled if self._named(item) is not None and isinstance(filled, list) else [filled]
        return found

    def _named(self, text: object) -> str | None:
        """The given fragment that a text refers to."""
        if not isinstance(text, str) or not is_reference(text):
            return None
        (placeholder,) = parts(text)
        assert isinstance(placeholder, Placeholder)
        return placeholder.name if placeholder.name in self.given else None

    def _held(self, text: object) -> object:
        name = self._named(text)
        assert name is not None
        if name not in self.used:
            self.used.append(name)
        self.size += len(self.given[name])
        return config_fragments.load(self.given[name]) if self.size <= MAX_TEXT else None
