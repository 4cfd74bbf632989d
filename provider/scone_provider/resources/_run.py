"""What one run of the engine has shown this process. The engine starts a process for each run.

No provider gets the URN or stack of what it works for, and none sees the state of others. The program says who it is
in each `check`; what is in state shows by a `check` with old inputs. Nothing here decides alone: what holds beyond a
run stands at CAS (`policy_owners`).
"""

from collections import defaultdict
from collections.abc import Mapping
from threading import Lock

from scone_provider.policy_owners import Owner


class Run:
    """By policy name: which resources of the program have it, whether state does, who took it over without a mark."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._told: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self._held: set[str] = set()
        self._taken: dict[tuple[str, str], Owner] = {}

    def tell(self, name: str, owner: object) -> None:
        """Whose policy it is, as the program says: `{stack, resource}`."""
        found = owner if isinstance(owner, Mapping) else {}
        stack, resource = found.get("stack"), found.get("resource")
        if isinstance(stack, str) and isinstance(resource, str):
            with self._lock:
                self._told[name].add((stack, resource))

    def new_owner(self, name: str) -> Owner:
        """A new life of the resource that has this policy. Where several have, which of them stays unknown."""
        with self._lock:
            told = sorted(self._told[name])
        if len(told) == 1:
            return Owner(stack=told[0][0], resource=told[0][1])
        return Owner(stack=told[0][0]) if told else Owner()

    def hold(self, name: str) -> None:
        """State has a resource with this policy."""
        with self._lock:
            self._held.add(name)

    def holds(self, name: str) -> bool:
        """True when `hold` was called: creating it then is a replacement, never an upload whose answer got lost."""
        with self._lock:
            return name in self._held

    def take(self, cas_key: str, name: str, owner: Owner) -> None:
        """A policy was taken over as it is: its text could not be marked without loss."""
        with self._lock:
            self._taken[cas_key, name] = owner

    def taker(self, cas_key: str, name: str) -> Owner | None:
        """Who did that in this run."""
        with self._lock:
            return self._taken.get((cas_key, name))


RUN = Run()
