"""Resources that get other names, places and stacks, through the real engine: their policies and secrets stay."""

from collections.abc import Callable
from typing import Any

import pytest

from scone_policy import is_retired
from scone_provider.cas.client import CasClient, connect
from scone_provider.cas.identity import Identity
from support.embedded_cas import EmbeddedCas
from support.pulumi_project import PulumiProject
from support.software_enclave import MEASUREMENT, EnclavePort

SWITCHES = "--only_for_testing-debug --only_for_testing-ignore-signer --only_for_testing-trust-any"
DYNAMIC = "pulumi-python:dynamic/scone:"
HEAD = f"""
import pulumi
from pulumi_scone import CasNamespace, SecurityPolicy

config = pulumi.Config("test")
Opts, Alias = pulumi.ResourceOptions, pulumi.Alias


class Group(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Group", name)


def namespace(name, session="acme", opts=None, **more):
    arguments = {{"namespace": session, "cas_url": config.require("cas"), "tolerance": "{SWITCHES}"}}
    return CasNamespace(name, {{**arguments, **more}}, opts)


def policy(name, above, session="app", user="me", opts=None, secrets=None, **more):
    wanted = {{
        "name": f"acme/{{session}}",
        "version": "0.3.10",
        "secrets": {{"pw": {{"kind": "ascii", "size": 20}}, "ca": {{"kind": "private-key", "migrate": True}},
                     **(secrets or {{}})}},
        "services": {{"app": {{
            "command": "/app",
            "environment": {{"USER": user, "PW": "$$SCONE::pw$$", "CA": "$$SCONE::ca$$"}},
            "attestation": {{"mrenclave": "{MEASUREMENT}"}},
        }}}},
        "security": {{"attestation": {{"tolerate": {{"debug-mode": True}}}}}},
    }}
    after = Opts.merge(Opts(depends_on=[above]), opts)
    return SecurityPolicy(name, cas=above.trust, policy=wanted, opts=after, **more)

"""
Make = Callable[..., PulumiProject]


class Case:
    """A CAS, and stacks of one person's that have policies there."""

    def __init__(self, make: Make, cas: EmbeddedCas, identity: Identity) -> None:
        self._make, self.cas, self.identity = make, cas, identity
        self.url = f"127.0.0.1:{cas.port}"

    def stack(self, body: str, *, name: str = "project") -> PulumiProject:
        """A stack with this program, not up yet."""
        return self._make(HEAD + body, {"test:cas": self.url}, {"scone:identity": self.identity.to_pem()}, name=name)

    @property
    def client(self) -> CasClient:
        """The person, beside Pulumi."""
        return connect(self.url, tolerance=SWITCHES, cas_key=None, connect_to={}, identity=self.identity)

    def values(self, session: str = "acme/app") -> dict[str, str]:
        """What CAS gives an attested program."""
        status, found = EnclavePort("127.0.0.1", self.cas.enclave_port).attest(f"{session}/app")
        assert status == 200, found
        return {key: found["environment"][key] for key in ("PW", "CA")}

    def is_retired(self, session: str) -> bool:
        """Whether nothing of it is left."""
        found = self.client.read(session)
        assert found is not None
        return is_retired(found.parsed())


@pytest.fixture
def case(new_project: Make, cas: EmbeddedCas, identity: Identity) -> Case:
    """A person with a CAS."""
    return Case(new_project, cas, identity)


def write(project: PulumiProject, body: str) -> None:
    """Another program."""
    (project.folder / "__main__.py").write_text(HEAD + body)


def assert_settled(project: PulumiProject) -> None:
    """A preview that looks at CAS has nothing to do, and nothing to tell."""
    done = project.pulumi("preview", "--refresh", "--diff", "--color=never")
    for word in ("to create", "to update", "to delete", "to replace", "warning", "error", "Traceback"):
        assert word not in done.text, done.text


def changed(project: PulumiProject, body: str, *arguments: str) -> str:
    """The transcript of an `up` with another program."""
    write(project, body)
    done = project.pulumi("up", "--yes", "--skip-preview", "--color=never", *arguments)
    return done.text


ONE = 'policy("one", namespace("ns"))\n'


def test_other_names_and_parents(case: Case) -> None:
    """A resource, its component, its parent get another name or place, with and without an update before: all in one
    stack. Nothing is retired, the values stay, and nothing is left to do.
    """
    project = case.stack(ONE)
    project.up()
    values = case.values()
    steps: list[tuple[str, str]] = [
        ("resource", 'policy("two", namespace("ns"))'),
        ("after an update", 'policy("two", namespace("ns"), user="you")'),
        ("resource again", 'policy("three", namespace("ns"), user="you")'),
        ("component", 'policy("three", namespace("other"), user="you")'),
        ("name and edit", 'policy("four", namespace("other"), user="us")'),
        ("parent", 'policy("four", namespace("other"), user="us", opts=Opts(parent=Group("g")))'),
        ("parent's name", 'policy("four", namespace("other"), user="us", opts=Opts(parent=Group("h")))'),
        ("split in two", 'policy("four", namespace("other", opts=Opts(parent=Group("i"))), user="us")'),
    ]
    for what, body in steps:
        text = changed(project, body + "\n")
        assert "error" not in text, what
        assert case.values() == values, what
        assert not case.is_retired("acme"), what
        assert_settled(project)
    project.destroy()
    assert case.is_retired("acme/app")
    assert case.is_retired("acme")
