"""One policy of one stack, driven through its dynamic provider as the engine does it, against a real CAS."""

from typing import Any

import scone_policy
from scone_provider.cas.client import CasClient
from scone_provider.resources.security_policy import SecurityPolicyProvider
from support.provider_process import ProviderProcess
from support.real_cas import ENOUGH

SWITCHES = dict.fromkeys(ENOUGH.split(), True)


def policy(name: str, *, user: str = "myself", **changes: Any) -> dict[str, Any]:
    """A session with one service."""
    service = {
        "command": "/app/api",
        "environment": {"USER": user, "FILLER": "x" * 60_000},
        "attestation": {"mrenclave": "ab" * 32},
    }
    return {"name": name, "version": "0.3.10", "services": {"api": service}, **changes}


class PolicyStack:
    """What the engine does with a `SecurityPolicy`: checks, then creates or updates, and keeps inputs and outputs."""

    def __init__(self, process: ProviderProcess, url: str) -> None:
        self._process = process
        self.url = url
        self.inputs: dict[str, Any] = {}
        self.state: dict[str, Any] | None = None
        self.id = ""
        self.raw_inputs: dict[str, Any] = {}
        """What the last refresh gave, secrets as the engine gets them; so `raw_outputs`."""
        self.raw_outputs: dict[str, Any] = {}

    def check(self, wanted: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The checked inputs."""
        program = {"cas": {"url": self.url, "tolerance": SWITCHES}, "policy": wanted, **more}
        inputs, failures = self._process.check(SecurityPolicyProvider, program, self.inputs)
        assert failures == []
        return plain(inputs)

    def preview(self, wanted: dict[str, Any], **more: Any) -> set[str]:
        """The top-level inputs that a preview shows as changed."""
        news = self.check(wanted, **more)
        return {key for key in {*news, *self.inputs} if news.get(key) != self.inputs.get(key)}

    def up(self, wanted: dict[str, Any], **more: Any) -> None:
        """Create, or update when something changed. A failure leaves the state as it was."""
        news = self.check(wanted, **more)
        if self.state is None:
            self.id, outs = self._process.create(SecurityPolicyProvider, news)
        elif news == self.inputs:
            return
        else:
            outs = self._process.update(SecurityPolicyProvider, self.id, self.state, news)
        self.inputs, self.state = news, plain(outs)

    def refresh(self) -> str:
        """Read it; the warnings."""
        assert self.state is not None
        before = len(self._process.messages())
        id_, outs, inputs = self._process.read(SecurityPolicyProvider, self.id, self.state)
        self.raw_inputs, self.raw_outputs = inputs, outs
        self.inputs, self.state = (plain(inputs), plain(outs)) if id_ else ({}, None)
        return self._process.messages()[before:]

    def destroy(self) -> None:
        """Delete it."""
        assert self.state is not None
        self._process.delete(SecurityPolicyProvider, self.id, self.state)
        self.inputs, self.state = {}, None


def plain(tree: Any) -> Any:
    """Secrets as the engine hands them back: unwrapped."""
    if isinstance(tree, dict):
        if "4dabf18193072939515e22adb298388d" in tree:
            return plain(tree["value"])
        return {key: plain(value) for key, value in tree.items()}
    return tree


def versions(client: CasClient, name: str) -> list[str]:
    """The hashes of all versions, newest first."""
    return [version.hash for version in client.history(name)]


def put(client: CasClient, wanted: dict[str, Any]) -> str:
    """Upload beside Pulumi, on top of what is there, in the wire form; the hash."""
    found = client.read(str(wanted["name"]))
    return client.upload(scone_policy.parse(wanted).wire(predecessor=found.hash if found is not None else None))
