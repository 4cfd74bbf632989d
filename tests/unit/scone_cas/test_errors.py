"""The exceptions of the embedded CAS: one tree, drawn where they are defined; reasons have their status."""

import importlib
import inspect
import pkgutil
import re

import scone_cas
from scone_cas import errors
from scone_cas.api.client import STATUS
from scone_cas.errors import Reason
from scone_policy.errors import SconeError

APART = {"PendingFetch", "BadEntryError"}
OWN_TO_A_PORT = {"TooLargeError"}


def _exceptions() -> dict[str, type[BaseException]]:
    modules = [m.name for m in pkgutil.walk_packages(scone_cas.__path__, "scone_cas.") if "__main__" not in m.name]
    items = [item for name in modules for item in vars(importlib.import_module(name)).values() if inspect.isclass(item)]
    own = [item for item in items if issubclass(item, Exception) and item.__module__.startswith("scone_cas")]
    return {item.__name__: item for item in own if not item.__name__.startswith("_")}


def test_every_exception_stands_in_the_tree() -> None:
    """Each exception of the package is drawn in the tree of `errors`, below the class that it derives from."""
    drawn: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+Error|Refusal|EnclaveRefusal)\b", line)
        if found:
            depth = len(found[1]) // 3
            drawn[found[2]] = above.get(depth - 1, "")
            above[depth] = found[2]
    actual = {
        name: item.__bases__[0].__name__
        for name, item in _exceptions().items()
        if issubclass(item, errors.RequestError | SconeError) and name != "RequestError"
    }
    assert {name: base for name, base in drawn.items() if base} == actual
    assert set(_exceptions()) - set(drawn) <= APART | OWN_TO_A_PORT


def test_every_reason_has_a_status() -> None:
    """The API knows what each reason of the domain is on the wire, and no two are the same."""
    assert set(STATUS) == set(Reason)
    assert len(set(STATUS.values())) == len(STATUS)
