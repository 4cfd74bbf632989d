"""Several resources with one policy, in every order of creations and deletions, against a real CAS: it is retired with
the last of them, and its generated secrets stay what they are until then.
"""

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import grpc
import pytest

import scone_policy
from scone_provider.cas.client import CasClient
from scone_provider.cas.identity import Identity
from scone_provider.cas.stored_session import StoredSession
from scone_provider.policy.owners import owners
from scone_provider.resources.sealed_policy import SealedPolicyProvider
from support.policy_stack import SWITCHES, PolicyStack, plain, policy, put
from support.provider_process import ProviderProcess
from support.real_cas import RealCas
from support.software_enclave import EnclavePort

DEV, PROD = "de" * 8, "af" * 8


class Resource(PolicyStack):
    """One resource of one stack."""

    def __init__(self, process: ProviderProcess, url: str, stack: str | None) -> None:
        super().__init__(process, url)
        self._stack = stack

    def check(self, wanted: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The checked inputs."""
        return super().check(wanted, **({"stack": self._stack} if self._stack else {}), **more)

    @property
    def said(self) -> str:
        """All that its process wrote so far."""
        return self._process.messages()


@dataclass
class Scene:
    """One policy at a CAS, and ann's resources that have it. `runs`: processes, as two runs of the engine have them."""

    cas: RealCas
    client: CasClient
    name: str
    runs: tuple[ProviderProcess, ProviderProcess]
    made: dict[str, Any]

    @property
    def url(self) -> str:
        """Of the CAS."""
        return f"127.0.0.1:{self.cas.port}"

    def resource(self, stack: str | None = DEV, *, run: int = 0) -> Resource:
        """A resource of a stack of ann's."""
        return Resource(self.runs[run], self.url, stack)

    def edit(self, user: str) -> None:
        """A change of the policy that hits no secret."""
        self.made["services"]["api"]["environment"]["USER"] = user

    def value(self) -> str:
        """What CAS gives the attested service."""
        status, found = EnclavePort("127.0.0.1", self.cas.enclave_port).attest(f"{self.name}/api")
        assert status == 200, found
        return str(found["environment"]["PW"])

    @property
    def stored(self) -> StoredSession:
        """The newest version."""
        found = self.client.read(self.name)
        assert found is not None
        return found

    @property
    def is_retired(self) -> bool:
        """Whether it is, at CAS."""
        return scone_policy.is_retired(self.stored.parsed())


@pytest.fixture
def scene(start: Any, stack_process: ProviderProcess, real_cas: RealCas, ann: Identity, name: str) -> Scene:
    """A policy with a generated secret that its service gets."""
    made = policy(name, secrets={"pw": {"kind": "ascii", "size": 20}})
    made["services"]["api"]["environment"] = {"PW": "$$SCONE::pw$$"}
    made["security"] = {"attestation": {"tolerate": ["debug-mode"]}}
    other = start({"scone:identity": ann.to_pem(), "test:run": "another"})
    return Scene(cas=real_cas, client=real_cas.client(ann), name=name, runs=(stack_process, other), made=made)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize(
    "stacks", [(DEV, DEV, DEV), (DEV, PROD, DEV), (None, None, None)], ids=["one stack", "two stacks", "not said"]
)
def test_the_last_one_retires_it(scene: Scene, stacks: tuple[str | None, ...], order: tuple[int, ...]) -> None:
    """Three resources have one policy: two deletions in any order leave it, the third retires it; refreshes between
    them find all, and say nothing.
    """
    found = [scene.resource(stack, run=number % 2) for number, stack in enumerate(stacks)]
    for one in found:
        one.up(scene.made)
    before = scene.value()
    first, second, third = (found[number] for number in order)
    first.destroy()
    second.destroy()
    assert "It was left to that one" in first.said
    assert scene.value() == before
    assert third.refresh() == ""
    assert third.preview(scene.made) == set()
    third.destroy()
    assert scene.is_retired


def test_updates_of_those_that_share(scene: Scene) -> None:
    """An edit by the newer one, then the end of the older one, an edit and the end of the newer one: no conflict."""
    old, new = scene.resource(), scene.resource(PROD, run=1)
    old.up(scene.made)
    new.up(scene.made)
    before = scene.value()
    scene.edit("you")
    new.up(scene.made)
    old.destroy()
    scene.edit("us")
    new.up(scene.made)
    assert new.refresh() == ""
    assert scene.value() == before
    new.destroy()
    assert scene.is_retired


def test_a_state_without_marks(scene: Scene) -> None:
    """A state from before there were marks: no diff; taken over, it leaves the policy; updated, it gets a mark."""
    put(scene.client, scene.made)
    old = scene.resource()
    old.inputs = old.check(scene.made)
    known = scene.stored
    inputs = old.inputs
    state = inputs | {"hash": known.hash, "attested_key": scene.client.key_hash}
    old.state, old.id = state, scene.name
    before = scene.value()
    assert old.refresh() == ""
    assert old.preview(scene.made) == set()
    new = scene.resource(PROD, run=1)
    new.up(scene.made)
    old.destroy()
    assert scene.value() == before
    old.inputs, old.state = inputs, state
    with pytest.raises(grpc.RpcError, match="belongs to another resource"):
        old.up({**scene.made, "secrets": {}, "services": {}})
    assert scene.value() == before
    new.destroy()
    assert scene.is_retired
    put(scene.client, scene.made)
    old.state = state | {"hash": scene.stored.hash}
    scene.edit("you")
    old.up(scene.made)
    assert old.state["owner"] in {str(owner) for owner in owners(scene.stored.parsed())}
    old.destroy()
    assert scene.is_retired


def test_a_creation_that_state_never_saw(scene: Scene) -> None:
    """Nobody knows the first upload: destroying leaves the policy in doubt, and adopt=True is the way to retire it."""
    scene.resource().up(scene.made)
    again = scene.resource(run=1)
    again.up(scene.made)
    before = scene.value()
    again.destroy()
    assert scene.value() == before
    last = scene.resource()
    last.up(scene.made, adopt=True)
    assert scene.value() == before
    last.destroy()
    assert scene.is_retired


def test_another_program_of_the_same_stack_may_differ(scene: Scene) -> None:
    """What says that it is this stack's needs no adopt, whatever is edited with the name; another stack's does."""
    scene.resource().up(scene.made)
    before = scene.value()
    scene.edit("you")
    with pytest.raises(grpc.RpcError, match="it belongs to another stack; this program would change") as refusal:
        scene.resource(PROD, run=1).up(scene.made)
    assert "adopt=True" in refusal.value.details()
    assert "aliases=[Alias(name='its old name')]" in refusal.value.details()
    scene.resource(run=1).up(scene.made)
    assert scene.value() == before


def test_somebody_elses_change_is_no_take_over(scene: Scene, bob: Identity, rights: dict[str, Any]) -> None:
    """A version by another person is still an error of destroy: nothing is retired unseen."""
    one = scene.resource()
    one.up(scene.made | rights)
    put(scene.cas.client(bob), scene.made | rights | {"services": {}})
    with pytest.raises(grpc.RpcError, match="someone else changed this policy"):
        one.destroy()
    assert not scene.is_retired


KEY = {"key": {"kind": "private-key"}}


def test_keys_that_a_version_makes_anew(scene: Scene) -> None:
    """No take-over happens where CAS would make a private key anew; with adopt it is taken as it is, and the one that
    had it leaves it.
    """
    scene.made["secrets"] |= KEY
    old = scene.resource()
    old.up(scene.made)
    before = scene.stored
    with pytest.raises(grpc.RpcError, match=r"CAS makes secrets\.key anew") as refusal:
        scene.resource().up(scene.made)
    assert "aliases" in refusal.value.details()
    with pytest.raises(grpc.RpcError, match=r"CAS makes secrets\.key anew"):
        scene.resource(PROD, run=1).up(scene.made, adopt=True)
    new = scene.resource()
    new.up(scene.made, adopt=True)
    old.destroy()
    assert scene.stored == before
    assert new.refresh() == ""


class Sealed(Resource):
    """A policy that somebody else uploads."""

    def seal(self, wanted: dict[str, Any], **more: Any) -> None:
        """Create it."""
        program = {"cas": {"url": self.url, "tolerance": SWITCHES}, "policy": wanted, "stack": self._stack, **more}
        inputs, failures = self._process.check(SealedPolicyProvider, program, {})
        assert failures == []
        self.inputs = plain(inputs)
        self.id, outs = self._process.create(SealedPolicyProvider, self.inputs)
        self.state = plain(outs)

    def remove(self) -> None:
        """Delete it."""
        assert self.state is not None
        self._process.delete(SealedPolicyProvider, self.id, self.state)


@pytest.mark.parametrize("mode", ["NoUpload", "EncryptedOnly"])
def test_documents_that_two_resources_write(scene: Scene, tmp_path: Path, mode: str) -> None:
    """The file of a sealed policy is the one's who wrote it last: deleting the older resource leaves it."""
    file = tmp_path / "policy"
    old, new = (Sealed(scene.runs[run], scene.url, DEV) for run in (0, 1))
    old.seal(scene.made, mode=mode, file=str(file))
    new.seal(scene.made, mode=mode, file=str(file))
    written = file.read_text()
    old.remove()
    assert file.read_text() == written
    new.remove()
    assert not file.exists()


def test_from_uploaded_to_sealed_and_back(scene: Scene, tmp_path: Path) -> None:
    """A policy that changes hands between the two kinds of resource is not retired, whoever uploads in between."""
    file = tmp_path / "policy"
    uploaded, sealed = scene.resource(), Sealed(scene.runs[0], scene.url, DEV)
    uploaded.up(scene.made)
    before = scene.value()
    sealed.seal(scene.made, mode="NoUpload", file=str(file))
    scene.client.upload(file.read_text())
    uploaded.destroy()
    assert scene.value() == before
    again = scene.resource(run=1)
    again.up(scene.made)
    sealed.remove()
    assert not file.exists()
    assert scene.value() == before
    again.destroy()
    assert scene.is_retired
