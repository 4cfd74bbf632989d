"""What one run of the engine has shown this process: the engine starts a process for each run.

No provider gets the URN or the stack of what it works for. Nothing here decides alone: what holds beyond a run stands
at CAS (`policy.owners`).
"""

import re
from threading import Lock

from scone_provider.policy.owners import UNKNOWN, Owner


class Run:
    """Whose run this is, and what it took over without being able to write that down. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._stack = UNKNOWN
        self._noted: set[tuple[str, str]] = set()

    def tell(self, stack: object) -> None:
        """The stack, hashed to 16 hex digits, as the program says."""
        self._stack = stack if isinstance(stack, str) and re.fullmatch("[0-9a-f]{16}", stack) else UNKNOWN

    def new_owner(self) -> Owner:
        """A new life of a resource of this stack."""
        return Owner(stack=self._stack)

    def note(self, cas_key: str, name: str) -> None:
        """A policy was taken over as it is: to write that down would have lost values."""
        with self._lock:
            self._noted.add((cas_key, name))

    def noted(self, cas_key: str, name: str) -> bool:
        """True when that happened in this run: whoever is deleted now had it before."""
        with self._lock:
            return (cas_key, name) in self._noted


RUN = Run()
