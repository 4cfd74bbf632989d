"""One policy of one stack whose rollouts overlap, with the record that ends them."""

from typing import Any

from scone_provider.resources.released_revision import ReleasedRevisionProvider
from support.policy_stack import PolicyStack
from support.provider_process import ProviderProcess


class Overlapping(PolicyStack):
    """A stack whose policy overlaps, with the record that follows a rollout."""

    def __init__(self, process: ProviderProcess, url: str, *, stack: str | None = None) -> None:
        super().__init__(process, url)
        self.record: dict[str, Any] | None = None
        self._stack = stack

    @property
    def said(self) -> str:
        """All that its process wrote so far."""
        return self._process.messages()

    def announce(self, wanted: dict[str, Any], **more: Any) -> str:
        """The part of an `up` before its rollout; the revision."""
        self.up(wanted, overlap=True, **({"stack": self._stack} if self._stack else {}), **more)
        return str(self.inputs["revision"])

    def succeed(self) -> None:
        """The part of an `up` after a rollout that succeeded."""
        assert self.state is not None
        props = {
            "cas": self.inputs["cas"],
            "name": self.inputs["name"],
            "revision": self.inputs["revision"],
            "version": self.state["hash"],
            "attested_key": self.state["attested_key"],
        }
        inputs, failures = self._process.check(ReleasedRevisionProvider, {**props, "preview": False}, self.record or {})
        assert (inputs, failures) == (props, [])
        if self.record is None:
            _, self.record = self._process.create(ReleasedRevisionProvider, inputs)
        elif any(self.record[key] != inputs[key] for key in inputs):
            self.record = self._process.update(ReleasedRevisionProvider, props["name"], self.record, inputs)

    def release(self, wanted: dict[str, Any], **more: Any) -> str:
        """A whole `up` that succeeds; the revision."""
        revision = self.announce(wanted, **more)
        self.succeed()
        return revision
