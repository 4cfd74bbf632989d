"""What every dynamic provider does the same way: settings, errors, unknowns, numbers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import ClassVar, TypeVar

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, ConfigureRequest, DiffResult, ResourceProvider
from pulumi.output import UNKNOWN, Unknown

from scone_policy.syntax.holes import Holes, shown
from scone_provider.cas.errors import CasForbidden, CasUnreachable
from scone_provider.errors import SconeError, TrustError
from scone_provider.process import keep_memory
from scone_provider.stack import production
from scone_provider.stack.settings import Settings

Props = dict[str, object]
_Self = TypeVar("_Self", bound="SconeProvider")
_Result = TypeVar("_Result")


class SconeProvider(ResourceProvider):
    """Base of all providers: no arguments, nothing kept that would be pickled; the engine compares inputs by path."""

    serialize_as_secret_always = False
    replace_on: ClassVar[tuple[str, ...]] = ()
    """Inputs whose change makes it another object."""
    delete_before_replace: ClassVar[bool] = True
    """Whether the new object needs the old one to be gone first; the old one is lost where the new one then fails."""

    def configure(self, req: ConfigureRequest) -> None:
        """Remember how to reach the stack's config; it is read, and judged, when a method needs it."""
        keep_memory()
        self._config = req.config

    @property
    def settings(self) -> Settings:
        """Keys and addresses, as environment and stack config have them now."""
        return Settings.load(self._config.get)

    @property
    def is_production(self) -> bool:
        """Whether the stack is for production. Raises SconeError where it does not say so clearly."""
        return production.is_production(self._config.get(production.SETTING))

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        """Let the engine compare the checked inputs: it then shows exactly the changed paths."""
        replaces = [key for key in self.replace_on if _olds.get(key) != _news.get(key)]
        return DiffResult(changes=None, replaces=replaces, delete_before_replace=self.delete_before_replace)


def checked(check: Callable[[_Self, Props, Props], Props]) -> Callable[[_Self, Props, Props], CheckResult]:
    """Turn `check(olds, news) -> inputs` into the engine's shape: an error is a failure without a property name.

    A property name would make the engine print the property's value, secrets in clear.
    """

    @wraps(check)
    def wrapper(self: _Self, olds: Props, news: Props) -> CheckResult:
        try:
            return CheckResult(check(self, plain(olds), plain(news)), [])
        except SconeError as error:
            return CheckResult(news, [CheckFailure("", shown(str(error)))])

    return wrapper


def warn(text: str) -> None:
    """A warning to whoever runs Pulumi; `…` stands for what is not known yet."""
    pulumi.log.warn(shown(text))


def plain(props: Props) -> Props:
    """Numbers as they were written (the engine's wire knows floats only), and without the provider itself."""
    return {key: _written(value) for key, value in props.items() if key != "__provider"}


def _written(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_written(item) for item in value]
    return value


class Unknowns:
    """Carries the engine's unknown values through pure code as holes, and back."""

    def __init__(self) -> None:
        self._holes = Holes()

    def hide(self, props: Props) -> Props:
        """`props` with every unknown replaced by a hole."""
        return {key: self._hide(value) for key, value in props.items()}

    def _hide(self, tree: object) -> object:
        if isinstance(tree, Unknown):
            return self._holes.punch(UNKNOWN)
        if isinstance(tree, Mapping):
            return {key: self._hide(value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self._hide(value) for value in tree]
        return tree

    def show(self, props: Props) -> Props:
        """`props` with every hole, and every text around one, replaced by an unknown."""
        return {key: self._holes.fill(value, lambda _: UNKNOWN) for key, value in props.items()}


def clean(method: Callable[..., _Result]) -> Callable[..., _Result]:
    """Let an error of ours end in its own words: no chain of causes, whose texts nobody vouched for."""

    @wraps(method)
    def wrapper(*args: object) -> _Result:
        try:
            return method(*args)
        except SconeError as error:
            raise type(error)(error.what, where=error.where, fix=error.fix) from None

    return wrapper


@contextmanager
def way_out() -> Iterator[None]:
    """While state is read or destroyed: say what to do where the CAS is gone for good, because nothing else helps."""
    try:
        yield
    except (CasForbidden, CasUnreachable, TrustError) as error:
        raise type(error)(
            error.what,
            where=error.where,
            fix=f"{error.fix}\n  → if that CAS or its store is gone for good, or somebody else has the policy: "
            "`pulumi state delete URN` takes the resource out of the state, and nothing is asked of CAS "
            "(`pulumi stack --show-urns` lists the URNs); or set retain_on_delete=True, run `pulumi up`, and destroy",
        ) from None
