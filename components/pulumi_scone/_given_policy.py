"""A policy as a program gives it: a map, a YAML text or a file; explicit secret values must be Pulumi secrets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pulumi

from pulumi_scone._inputs import given_variables, read_text, refuse_in_production
from pulumi_scone._outputs import Outputs, warn
from scone_policy.errors import SconeError
from scone_policy.forms.secret_paths import is_explicit_secret, secret_paths
from scone_policy.model.session import Session
from scone_policy.rules.check import check, written_problems
from scone_policy.syntax.holes import has_hole, is_hole
from scone_policy.syntax.problems import Problem, refuse
from scone_policy.syntax.yaml_source import Document, Path, show
from scone_provider.manifest.outputs import INSTEAD, NOT_AN_OUTPUT
from scone_provider.manifest.variables import IN_PROGRAM, load_unfilled, name_left, read
from scone_provider.policy.state import PLAIN, plain_secret
from scone_provider.stack.production import testing_parts

_NOT_SECRET = frozenset({"public-key", "x509", "x509-ca", "config-fragment"})
"""Kinds of secrets whose explicit values may be public; where they are Pulumi secrets, they stay so."""
_DERIVED = "fspf_key"
_FORMS = {_DERIVED: "0" * 64, "private_key": "-----"}
"""What a secret looks like under these keys; elsewhere any text is one."""


class GivenPolicy:
    """A policy with its Outputs, and which parts of it are secret."""

    def __init__(
        self,
        policy: Mapping[str, Any] | str | None,
        *,
        file: str | None,
        variables: Mapping[str, pulumi.Input[str]] | None,
    ) -> None:
        """Exactly one of `policy` and `file`; `variables` are for texts. Raises SconeError."""
        self._values = Outputs()
        document = self._document(policy, file, variables)
        session, problems = check(document)
        self.session = session
        """With a hole for each Output; None where the policy is not in the shape of one: the provider says why."""
        if session is not None and not isinstance(policy, Mapping):
            problems += written_problems(session)
        if problems and not isinstance(policy, Mapping):
            unfilled = variables is None
            raise refuse(name_left(problems, document, IN_PROGRAM) if unfilled else problems, document)
        if session is not None and session.creator is not None:
            warn(f"{session.name}: creator: is filled in by CAS: what stands here is ignored. Leave it out.")
        self.policy = self._values.show(document.data)
        """For the provider, which judges maps itself."""
        self._must: dict[Path, str] = {}
        self._open: dict[Path, list[pulumi.Output[Any]]] = {}
        if session is None:
            refuse_outputs(problems, document)
            return
        if not isinstance(policy, Mapping):
            refuse_in_production({document.where(path): names for path, names in testing_parts(session).items()})
        canonical = session.canonical()
        self._must = dict(self._explicit(session, canonical))
        for path, text in _leaves(canonical):
            if outputs := self._values.outputs(text):
                self._open.setdefault(path, []).extend(outputs)
        if not isinstance(policy, Mapping):
            self.policy = self._values.show(canonical)

    def _document(
        self,
        policy: Mapping[str, Any] | str | None,
        file: str | None,
        variables: Mapping[str, pulumi.Input[str]] | None,
    ) -> Document:
        if (policy is None) == (file is None):
            raise SconeError("give either policy or policy_file", where="SecurityPolicy")
        if isinstance(policy, Mapping):
            return Document(data=self._values.hide(policy))
        if not isinstance(policy, str | None):
            raise SconeError(
                f"this is a {type(policy).__name__}",
                where="policy",
                fix="give a map (Outputs may be values in it), YAML text, or policy_file",
            )
        label = file or "<policy>"
        text = policy if policy is not None else read_text(label)
        if variables is None:
            return load_unfilled(text, file=label)
        document, missing = read(text, file=label, variables=given_variables({"variables": variables}, self._values))
        if missing:
            raise refuse(missing, document)
        return document

    def _explicit(self, session: Session, canonical: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
        """The explicit secret values, each with Outputs in it. Raises SconeError for one that has none."""
        for path in secret_paths(_as_if_known(canonical)):
            value: Any = canonical
            for step in path:
                value = value[step]
            kind = session.secrets[path[1]].kind if path[0] == "secrets" else None
            if kind in _NOT_SECRET or (path[-1] == "private_key" and kind != "aad-token"):
                continue
            if not has_hole(value):
                raise plain_secret(show(path))
            yield path, value

    def private(self) -> pulumi.Output[Any] | None:
        """Where else in the canonical form secret Outputs stand: nested maps that end in true; None when nowhere.

        It says so instead when an explicit secret value turns out to be an Output that is not secret.
        """
        return pulumi.Output.from_input(self._judged()) if self._open else None

    async def _judged(self) -> Mapping[str, Any] | None:
        for path, text in self._must.items():
            if await self._is_plain(str(path[-1]), text):
                return {PLAIN: show(path)}  # for `check` to refuse: Pulumi prints a traceback for an error in here
        found: dict[str, Any] = {}
        for path, outputs in self._open.items():
            if path not in self._must and any([await output.is_secret() for output in outputs]):
                _mark(found, path)
        return found or None

    async def _is_plain(self, key: str, text: str) -> bool:
        """True for a value that is no Pulumi secret, and neither a placeholder nor what stands for an image's key.

        Which of them a key will be is told when it is known: `key` of an image is not before that image was built.
        """
        if any([await output.is_secret() for output in self._values.outputs(text)]):
            return False
        whole = pulumi.Output.from_input(self._values.show(text))
        if await whole.is_known():
            return is_explicit_secret(await whole.future(), key)
        return key != _DERIVED


def as_secrets(policy: Mapping[str, Any], values: Outputs) -> Mapping[str, Any]:
    """A derived policy (canonical, with holes) whose explicit values, from a manifest, are Pulumi secrets from here on.

    What stands for the key of an image is none.
    """
    found: dict[str, Any] = values.show(policy)
    for path in secret_paths(_as_if_known(policy)):
        if path[-1] != _DERIVED or not has_hole(_at(policy, path)):
            found = _replaced(found, path)
    return found


def _at(tree: Any, path: Path) -> object:  # noqa: ANN401
    for step in path:
        tree = tree[step]
    return tree


def _replaced(tree: Mapping[str, Any], path: Path) -> dict[str, Any]:
    first, *rest = path
    inner = tree[str(first)]
    return {**tree, str(first): _replaced(inner, tuple(rest)) if rest else pulumi.Output.secret(inner)}


def refuse_outputs(problems: Sequence[Problem], document: Document) -> None:
    """Raise SconeError where a problem is that an Output stands for a whole section: what is in it is not judged.

    Everything else is for the provider to refuse, which sees the values.
    """
    found = [
        replace(problem, rule=NOT_AN_OUTPUT, fix=INSTEAD)
        for problem in problems
        if is_hole(document.value(problem.path))
    ]
    if found:
        raise refuse(found, document)


def _as_if_known(tree: Any, key: str = "") -> Any:  # noqa: ANN401
    """The tree with a text in the form of a secret wherever an Output stands alone."""
    if isinstance(tree, Mapping):
        return {name: _as_if_known(value, name) for name, value in tree.items()}
    return _FORMS.get(key, "secret") if is_hole(tree) else tree


def _leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:  # noqa: ANN401
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            # A key that is computed from its value is another one where the value is known: what is above it counts.
            yield from _leaves(value, path if has_hole(key) or str(key).startswith("unknown-") else (*path, key))
    elif isinstance(tree, str):
        yield path, tree


def _mark(found: dict[str, Any], path: Path) -> None:
    *parents, last = (str(step) for step in path)
    for step in parents:
        if found.setdefault(step, {}) is True:
            return
        found = found[step]
    found[last] = True
