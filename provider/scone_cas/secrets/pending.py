"""What a request needs from elsewhere before it can be answered without waiting."""

from collections.abc import Callable, Sequence

ATTEMPTS = 4
"""Times that a request is begun: what was fetched may show that more is needed."""


class PendingFetch(Exception):  # noqa: N818 - what it is, not that it failed
    """A request needs what takes long to get. `ask` gets it, in whatever thread; then the request begins anew."""

    def __init__(self, steps: Sequence[Callable[[], None]]) -> None:
        super().__init__()
        self._steps = steps

    def ask(self) -> None:
        """Get all of it, or find out that it is not to be had; never raises. Takes up to seconds."""
        for step in self._steps:
            step()
