"""Resources that get other names, places and stacks, through the real engine: their policies and secrets stay."""

from collections.abc import Callable
from typing import Any

import pytest

from scone_policy import is_retired
from scone_provider.cas.client import CasClient, connect
from scone_provider.cas.identity import Identity
from support.embedded_cas import EmbeddedCas
from support.interrupted_up import HANGING, edit_state, killed_when_hanging, with_other_pickles
from support.pulumi_project import PulumiProject
from support.software_enclave import MEASUREMENT, EnclavePort

SWITCHES = "--only_for_testing-debug --only_for_testing-ignore-signer --only_for_testing-trust-any"
DYNAMIC = "pulumi-python:dynamic/scone:"
HEAD = f"""
import pulumi
from pulumi_scone import CasNamespace, SecurityPolicy

config = pulumi.Config("test")
identity = pulumi.Config("scone").require_secret("identity")
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
            "environment": {{"USER": user, "PW": "$$SCONE::pw$$", "CA": "$$SCONE::ca$$",
                            **{{one.upper(): f"$$SCONE::{{one}}$$" for one in secrets or {{}}}}}},
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
        return {key: found["environment"][key] for key in ("PW", "CA", "KEY") if key in found["environment"]}

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
POLICY = f"{DYNAMIC}SecurityPolicy::one"
NAMESPACE = f"{DYNAMIC}SecurityPolicy::ns"
PROVIDER = 'pulumi.ProviderResource("pulumi-python", "p", {"scone:identity": identity})'


def urn(project: PulumiProject, key: str = POLICY) -> str:
    """Of a resource in state."""
    return str(project.resources()[key]["urn"])


def test_other_names_and_parents(case: Case) -> None:
    """A resource, its component, its parent get another name or place, with and without an update before: all in one
    stack. Nothing is retired, the values stay, and nothing is left to do. What is destroyed then is retired.
    """
    project = case.stack(ONE)
    project.up()
    values = case.values()
    steps = {
        "resource": 'policy("two", namespace("ns"))',
        "after an update": 'policy("two", namespace("ns"), user="you")',
        "component and edit": 'policy("three", namespace("other"), user="us")',
        "parent": 'policy("three", namespace("other"), user="us", opts=Opts(parent=Group("g")))',
        "parent's name, split in two": 'policy("three", namespace("other", opts=Opts(parent=Group("i"))), user="us", '
        'opts=Opts(parent=Group("h")))',
    }
    for what, body in steps.items():
        changed(project, f"{body}\n")
        assert case.values() == values, what
        assert not case.is_retired("acme"), what
    assert_settled(project)
    project.destroy()
    assert case.is_retired("acme/app")
    assert case.is_retired("acme")


def test_replacements(case: Case) -> None:
    """`--replace`, a taint, another provider, and all of it after an update: the policy is taken over, never retired,
    even where the old resource is deleted in a later run. `--target`, `retain_on_delete`, `protect` keep their meaning.
    """
    project = case.stack(ONE)
    project.up()
    values = case.values()
    text = changed(project, ONE, "--replace", urn(project))
    assert "1 replaced" in text
    assert case.values() == values

    def taint(state: dict[str, Any]) -> None:
        (found,) = [one for one in state["deployment"]["resources"] if one["urn"].endswith("SecurityPolicy::one")]
        found["taint"] = True

    edit_state(project, taint)
    assert "1 replaced" in changed(project, ONE)
    assert case.values() == values
    changed(project, ONE.replace("))", f"), opts=Opts(provider={PROVIDER}))"))
    assert case.values() == values
    changed(project, ONE.replace("one", "two"), "--target", urn(project).replace("::one", "::two"))
    assert len([key for key in project.resources() if "SecurityPolicy" in key]) == 3
    assert case.values() == values
    retained = 'policy("two", namespace("ns"), opts=Opts(retain_on_delete=True))\n'
    changed(project, retained)
    assert case.values() == values
    changed(project, 'policy("three", namespace("ns"), opts=Opts(protect=True))\n')
    assert case.values() == values
    assert_settled(project)
    write(project, 'policy("four", namespace("ns"))\n')
    assert "protected" in project.up(check=False).text
    assert case.values() == values


def test_namespaces(case: Case) -> None:
    """A `CasNamespace` with its policies: replaced, tainted, by a provider in other bytes, under another provider, a
    part of it by `--target`, retained and put back, protected, and as a `SecurityPolicy` of the program's own and back.
    Nothing is retired, the values stay, refresh finds all, and previews have nothing left to do.
    """
    project = case.stack(ONE)
    project.up()
    values = case.values()

    def settled() -> None:
        assert case.values() == values
        assert not case.is_retired("acme")
        assert_settled(project)

    def dynamic() -> list[str]:
        return [one for one in _urns(project) if "dynamic/scone" in one]

    assert "3 replaced" in changed(project, ONE, *(word for one in dynamic() for word in ("--replace", one)))
    settled()
    project.pulumi("state", "taint", *dynamic(), "--yes")
    assert "3 replaced" in changed(project, ONE)
    settled()
    before = case.client.read("acme/app"), case.client.read("acme")
    edit_state(project, with_other_pickles)
    assert {step["op"] for step in project.preview_steps().values()} == {"update"}
    project.up()
    assert (case.client.read("acme/app"), case.client.read("acme")) == before
    settled()
    changed(project, ONE.replace('"ns"', f'"ns", opts=Opts(providers={{"pulumi-python": {PROVIDER}}})'))
    assert project.resources()[NAMESPACE]["provider"].split("::")[-2] == "p"
    assert case.client.read("acme") == before[1]
    settled()
    parts = [one.replace("::ns", "::other") for one in _urns(project) if one.endswith("::ns")]
    changed(project, ONE.replace('"ns"', '"other"'), *(word for one in parts for word in ("--target", one)))
    assert case.values() == values
    project.up()
    settled()
    for name in ("other", "third", "other"):
        changed(project, ONE.replace('"ns"', f'"{name}", opts=Opts(retain_on_delete=True)'))
        settled()
    changed(project, ONE.replace('"ns"', '"other", opts=Opts(protect=True)'))
    write(project, ONE)
    assert "protected" in project.up(check=False).text
    assert case.values() == values
    project.pulumi("state", "unprotect", "--all", "--yes")
    project.up()
    settled()
    changed(project, _OWN_NAMESPACE)
    settled()
    changed(project, ONE)
    settled()
    # The retained lives are in no state: nobody can tell whether they still have it.
    assert "acme: this policy belongs to another resource" in project.destroy().text
    assert case.is_retired("acme/app")
    assert not case.is_retired("acme")


_OWN_NAMESPACE = f"""
rights = {{one: {{"CREATOR": True}} for one in ("read", "update", "create_sessions")}}
trust = {{"url": config.require("cas"), "tolerance": dict.fromkeys("{SWITCHES}".split(), True)}}
above = SecurityPolicy("own", cas=trust, policy={{"name": "acme", "version": "0.3.10", "access_policy": rights}})
above.trust = trust
policy("one", above)
"""


def test_state_that_moves(case: Case) -> None:
    """Aliases, `state rename` and `state move` change no input, and the moved resource owns what it had."""
    project = case.stack(ONE)
    project.up()
    values, before = case.values(), case.client.read("acme/app")
    write(project, ONE.replace("one", "two").replace("))", '), opts=Opts(aliases=[Alias(name="one")]))'))
    assert_settled(project)
    project.pulumi("state", "rename", urn(project), "three", "--yes")
    for found in [one for one in _urns(project) if one.endswith("::ns")]:
        project.pulumi("state", "rename", found, "place", "--yes")
    three = ONE.replace("one", "three").replace('"ns"', '"place"')
    write(project, three)
    assert_settled(project)
    project.pulumi("stack", "init", "second")
    moved = [key for key in project.resources() if "scone" in key]
    for key in ("scone:index:CasNamespace::place", f"{DYNAMIC}SecurityPolicy::three"):
        assert key in moved
    urns = [urn(project, key) for key in moved]
    project.pulumi("state", "move", "--source", "dev", "--dest", "second", "--yes", *urns)
    assert case.client.read("acme/app") == before
    second = {"PULUMI_STACK": "second"}
    for key in ("scone:imageKey", "scone:identity"):
        value = project.run("pulumi", "config", "get", key)
        del project.transcripts[-1]
        project.pulumi("config", "set", "--secret", key, stdin=value, environment=second)
    project.pulumi("config", "set", "test:cas", case.url, environment=second)
    write(project, "")
    project.up()
    assert case.values() == values
    write(project, three)
    project.pulumi("up", "--yes", "--skip-preview", "--color=never", environment=second)
    assert case.client.read("acme/app") == before
    write(project, three.replace("three", "four"))
    project.pulumi("up", "--yes", "--skip-preview", "--color=never", environment=second)
    assert case.values() == values
    project.pulumi("destroy", "--yes", "--skip-preview", environment=second)
    assert case.is_retired("acme/app")


@pytest.mark.parametrize("first", [0, 1], ids=["the older one goes first", "the newer one goes first"])
def test_two_stacks(case: Case, first: int) -> None:
    """Two stacks of one person have the same policies: each finds all of it, and they go with the last of the two."""
    stacks = [case.stack(ONE, name=name) for name in ("dev", "prod")]
    stacks[1].pulumi("stack", "rename", "prod")
    stacks[1].environment["PULUMI_STACK"] = "prod"
    stacks[0].up()
    values = case.values()
    assert "belongs to another stack, too" in stacks[1].up().text
    assert case.values() == values
    text = stacks[first].destroy().text
    assert "acme/app: this policy belongs to another resource, of this stack or another one. It was left" in text
    other = stacks[1 - first]
    assert case.values() == values
    assert_settled(other)
    other.destroy()
    assert case.is_retired("acme/app")


def test_killed_between_create_and_delete(case: Case) -> None:
    """Those that take policy and namespace over are in state, the old ones not yet gone, and everything is killed: the
    next `up` deletes the old ones, and leaves both. The same for replacements, whose old ones wait for their deletion.
    """
    project = case.stack(ONE)
    project.up()
    values = case.values()
    body = ONE.replace("one", "two").replace('"ns"', '"other"')
    two, other = urn(project).replace("::one", "::two"), urn(project, NAMESPACE).replace("::ns", "::other")
    for arguments in ((), ("--replace", two, "--replace", other)):
        # Nothing is deleted before all has been created.
        write(project, f"found = {body}{HANGING}")
        killed_when_hanging(project, *arguments)
        assert len([key for key in _urns(project) if "SecurityPolicy::" in key]) == 4
        write(project, body)
        project.up()
        assert case.values() == values
        assert_settled(project)
    project.destroy()
    assert case.is_retired("acme/app")


def test_another_url_and_another_name_at_once(case: Case) -> None:
    """The same CAS under another url, with another resource name: it is the same policy all along."""
    project = case.stack(ONE)
    project.up()
    values = case.values()
    project.pulumi("config", "set", "test:cas", f"localhost:{case.cas.port}")
    project.up()
    assert case.values() == values
    project.pulumi("config", "set", "test:cas", case.url)
    changed(project, ONE.replace("one", "two").replace('"ns"', '"other"'))
    assert case.values() == values
    assert_settled(project)
    project.destroy()
    assert case.is_retired("acme/app")


def test_keys_that_cannot_come_along(case: Case) -> None:
    """A private key without `migrate` would be made anew by whoever takes its policy over: `up` refuses before anything
    of the policy is changed, names the key and the ways that keep it; the way back and each of those do work.
    """
    key = 'secrets={"key": {"kind": "private-key"}}'
    one = f'policy("one", namespace("ns"), {key})\n'
    project = case.stack(one)
    project.up()
    before, values = case.client.read("acme/app"), case.values()
    assert "KEY" in values
    replaced = ("--replace", urn(project))
    for body, arguments in ((one.replace("one", "two").replace('"ns"', '"other"'), ()), (one, replaced)):
        write(project, body)
        done = project.pulumi("up", "--yes", "--skip-preview", "--color=never", *arguments, check=False)
        assert done.status != 0
        for words in (
            "acme/app: this policy is there already",
            "CAS makes secrets.key anew",
            "aliases=[Alias(name='its old name')]",
            "`pulumi state untaint`",
            "migrate: true",
        ):
            assert words in done.text
        assert case.client.read("acme/app") == before
        # The namespace was taken over, and is given back.
        changed(project, one)
        assert case.values() == values
        assert_settled(project)
    project.pulumi("state", "taint", urn(project), "--yes")
    assert "CAS makes secrets.key anew" in project.up(check=False).text
    project.pulumi("state", "untaint", urn(project), "--yes")
    assert_settled(project)
    two = one.replace("one", "two")
    changed(project, two.replace("}})", '}}, opts=Opts(aliases=[Alias(name="one")]))'))
    assert case.client.read("acme/app") == before
    assert_settled(project)
    migrating = two.replace('-key"', '-key", "migrate": True')
    assert "from then on the key is kept" in changed(project, migrating)
    values = case.values()
    changed(project, migrating.replace("two", "three"))
    assert case.values() == values
    assert_settled(project)


def test_another_session_name(case: Case) -> None:
    """The preview says which secrets go with the name, and compares imports with exports; nothing is retired before
    the new one is there.
    """
    body = """
above = namespace("ns")
shared = SecurityPolicy("shared", cas=above.trust, opts=Opts(depends_on=[above]), policy={{
    "name": "acme/shared", "version": "0.3.10",
    "secrets": {{"token": {{"kind": "ascii", "export": [{{"session": "acme/{receiver}"}}]}}}}}})
policy("one", shared, session="{session}", secrets={{
    "token": {{"kind": "ascii", "import": {{"session": "acme/shared", "secret": "token"}}}}}})
"""
    body = body.replace('policy("one", shared,', 'shared.trust = above.trust\npolicy("one", shared,')
    project = case.stack(body.format(receiver="app", session="app"))
    project.up()
    values = case.values()
    write(project, body.format(receiver="app", session="app9"))
    for done in (project.preview(check=False), project.up(check=False)):
        assert done.status != 0
        assert "exports token to acme/app, not to acme/app9: CAS would refuse this policy" in done.text
        assert "Traceback" not in done.text
    assert case.values() == values
    write(project, body.format(receiver="app9", session="app9"))
    text = project.preview().text
    assert "acme/app becomes acme/app9" in text
    assert "what CAS generated for it is lost: secrets.ca, secrets.pw" in text
    project.up()
    assert case.is_retired("acme/app")
    assert case.values("acme/app9")["PW"] != values["PW"]


def test_cas_that_is_gone_for_good(case: Case) -> None:
    """Refresh and destroy name the way out, and it is one."""
    project = case.stack(ONE)
    project.up()
    case.cas.stop()
    for done in (project.refresh(check=False), project.destroy(check=False)):
        assert done.status != 0
        assert "`pulumi state delete URN`" in done.text
        assert "retain_on_delete=True" in done.text
    project.pulumi("state", "delete", urn(project), "--yes")
    project.pulumi("state", "delete", urn(project, f"{DYNAMIC}SecurityPolicy::ns"), "--yes")
    project.destroy()
    assert project.resources() == {}


def _urns(project: PulumiProject) -> list[str]:
    return [str(one["urn"]) for one in project.state()["deployment"]["resources"]]
