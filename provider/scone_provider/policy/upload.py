"""Uploads whose answer may get lost: what became of one is looked up before anything is sent again."""

from collections.abc import Callable

from scone_provider.cas.client import CasClient
from scone_provider.cas.errors import CasConflict, CasUnreachable
from scone_provider.cas.stored_session import StoredSession

_TRIES = 3
_LOOK_AGAIN = "run this again when CAS answers: it first looks what became of the upload"


def upload(
    cas: CasClient, name: str, text: str, *, predecessor: str | None, is_wanted: Callable[[StoredSession], bool]
) -> str:
    """Put a version on top of `predecessor`; its hash. Exactly one comes to be, however often the connection breaks.

    An upload without an answer is repeated only when CAS still has `predecessor` as the newest version; CAS takes one
    successor of it, so an upload that is still on its way can do no harm. `is_wanted` tells whether a successor has
    what was uploaded. Raises CasConflict when something else is there now, CasUnreachable when nobody can tell.
    """
    for left in reversed(range(_TRIES)):
        problem: CasConflict | CasUnreachable
        try:
            return cas.upload(text)
        except (CasConflict, CasUnreachable) as caught:
            problem = caught
        found = _look(cas, name)
        if (found.hash if found is not None else None) != predecessor:
            if found is not None and found.predecessor == predecessor and is_wanted(found):
                return found.hash
            raise CasConflict("something else was uploaded at the same time", where=name)
        if isinstance(problem, CasConflict) or not left:
            raise problem
    raise AssertionError("the last try neither ended nor raised")


def _look(cas: CasClient, name: str) -> StoredSession | None:
    try:
        return cas.read(name)
    except CasUnreachable as problem:
        what = f"{problem.what}; whether the policy was uploaded is not known"
        raise CasUnreachable(what, where=name, fix=_LOOK_AGAIN) from None
