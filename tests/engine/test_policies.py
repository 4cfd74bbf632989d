"""Policies through the real engine: what previews show, what state holds, how drift, conflicts and loss come out."""

import datetime as dt
import shutil
from collections.abc import Callable

import pytest
import yaml

from scone_provider.cas.client import CasClient, connect
from scone_provider.cas.identity import Identity
from support.cutting_proxy import Cut, CuttingProxy
from support.embedded_cas import EmbeddedCas
from support.pulumi_project import PulumiProject

SWITCHES = "--only_for_testing-debug --only_for_testing-ignore-signer --only_for_testing-trust-any"
PLANTED = "planted-7f3a-secret"
POLICY = "pulumi-python:dynamic/scone:SecurityPolicy::api"
PROGRAM = """
import os

import pulumi
from pulumi_scone import CasNamespace, SecurityPolicy

config = pulumi.Config("test")
namespace = CasNamespace(
    "acme", {{"namespace": "acme", "cas_url": config.require("cas"), "tolerance": "{switches}"}}
)
policy = {{
    "name": "acme/api",
    "version": "0.3.10",
    "secrets": {{
        "generated": {{"kind": "ascii", "size": 10}},
        "given": {{"kind": "ascii", "value": config.require_secret("given")}},
    }},
    "services": {{
        "api": {{
            "command": "python3 /app/api.py",
            "environment": {{"USER": "myself", "TOKEN": "$$SCONE::given$$"}},
            "attestation": {{"mrenclave": "{measurement}"}},
        }}
    }},
}}
after = pulumi.ResourceOptions(depends_on=[namespace])
SecurityPolicy("api", cas=namespace.trust, policy=policy, adopt={adopt}, opts=after)
"""

Make = Callable[..., PulumiProject]


def program(*, switches: str = SWITCHES, adopt: bool = False, measurement: str = "ab" * 32) -> str:
    """The text of the program."""
    return PROGRAM.format(switches=switches, adopt=adopt, measurement=measurement)


@pytest.fixture
def project(new_project: Make, cas: EmbeddedCas) -> PulumiProject:
    """A namespace and one policy, up."""
    made = new_project(program(), {"test:cas": f"127.0.0.1:{cas.port}"}, {"test:given": PLANTED})
    made.up()
    return made


def client(project: PulumiProject, cas: EmbeddedCas, *, identity: Identity | None = None) -> CasClient:
    """Someone who talks to the CAS beside Pulumi; by default with the stack's own identity."""
    who = identity or own_identity(project)
    return connect(f"127.0.0.1:{cas.port}", tolerance=SWITCHES, cas_key=None, connect_to={}, identity=who)


def own_identity(project: PulumiProject) -> Identity:
    """The stack's."""
    found = Identity.parse(project.run("pulumi", "config", "get", "scone:identity"))
    del project.transcripts[-1]
    return found


def edit(project: PulumiProject, old: str, new: str) -> None:
    """Change the program's text."""
    path = project.folder / "__main__.py"
    content = path.read_text()
    assert content.count(old) == 1
    path.write_text(content.replace(old, new))


def test_up_twice_refresh_and_preview_change_nothing(project: PulumiProject) -> None:
    """What was just deployed is what is there: no update, no drift, no diff."""
    assert project.preview_steps() == {}
    assert "unchanged" in project.refresh().text
    assert project.preview_steps() == {}


def test_preview_shows_exactly_the_changed_paths(project: PulumiProject) -> None:
    """An edited variable is one path of the policy; the digest over it is the only other."""
    edit(project, '"USER": "myself"', '"USER": "someone"')
    assert project.preview_steps() == {
        POLICY: {"op": "update", "diff": {"digest": "update", "policy.services.api.environment.USER": "update"}}
    }
    assert '~ USER: "myself" => "someone"' in project.preview().text


def test_preview_warns_that_a_secret_is_generated_anew(project: PulumiProject) -> None:
    """Another size is another secret: the preview says so, and shows the one path."""
    edit(project, '"size": 10', '"size": 12')
    assert project.preview_steps()[POLICY]["diff"] == {"digest": "update", "policy.secrets.generated.size": "update"}
    assert "CAS will generate the secret generated anew" in project.preview().text


def test_changed_explicit_secret_shows_without_its_value(project: PulumiProject) -> None:
    """A new explicit value changes the digest, is shown as secret, and stands nowhere in clear, neither old nor new."""
    project.pulumi("config", "set", "--secret", "test:given", stdin=f"{PLANTED}-2")
    assert project.preview_steps()[POLICY]["diff"] == {"digest": "update", "policy.secrets.given.value": "update"}
    assert "[secret]" in project.preview().text
    project.up()
    project.refresh()
    assert PLANTED.encode() not in project.everything_written()


def test_offline_preview_is_the_same(project: PulumiProject, cas: EmbeddedCas) -> None:
    """A preview asks nobody: with CAS down it comes out byte for byte as before."""
    edit(project, '"USER": "myself"', '"USER": "someone"')
    online = project.preview().text
    cas.stop()
    assert project.preview().text == online


def test_preview_needs_no_identity(project: PulumiProject) -> None:
    """Someone without the stack's identity sees the same preview."""
    before = project.preview().text
    project.pulumi("config", "rm", "scone:identity")
    assert project.preview().text == before


def test_without_image_key_only_the_digest_over_a_given_secret_is_unknown(project: PulumiProject) -> None:
    """What stands for a secret in digests needs the key; nothing else is lost."""
    project.pulumi("config", "rm", "scone:imageKey")
    edit(project, '"USER": "myself"', '"USER": "someone"')
    text = project.preview().text
    assert text.count("[unknown]") == 1
    assert "=> [unknown]" in text
    assert '~ USER: "myself" => "someone"' in text


def test_drift_shows_by_path_and_is_repaired(project: PulumiProject, cas: EmbeddedCas) -> None:
    """What someone changed at CAS shows as exactly that path; up puts the program's version back on top."""
    beside = client(project, cas)
    found = beside.read("acme/api")
    assert found is not None
    changed = found.description_yaml.replace("myself", "mallory")
    _replace(beside, changed, found.hash)
    shown = project.refresh().text  # what somebody else wrote is a secret until an up states it
    assert 'services.api.environment.USER: "myself" → [secret]' in shown
    assert "mallory" not in shown
    assert project.preview_steps()[POLICY]["diff"] == {
        "digest": "update",
        "policy.services.api.environment.USER": "update",
    }
    project.up()
    now = beside.read("acme/api")
    assert now is not None
    assert "mallory" not in now.description_yaml


def test_refresh_tells_who_changed_what_even_when_changed_back(project: PulumiProject, cas: EmbeddedCas) -> None:
    """Versions by another key since our last write are warnings of refresh with hash, key and paths, and stay in state
    until the next up, which uploads nothing where all was changed back.
    """
    bob = Identity.create(common_name="bob", now=dt.datetime.now(dt.UTC))
    names = ["CREATOR", own_identity(project).key_hash, bob.key_hash]
    edit(project, '"services": {', f'"access_policy": {{k: {names} for k in ("read", "update")}}, "services": {{')
    project.up()
    beside = client(project, cas, identity=bob)
    found = beside.read("acme/api")
    assert found is not None
    first = _replace(beside, found.description_yaml.replace("myself", "mallory"), found.hash)
    second = _replace(beside, found.description_yaml, first)
    text = project.refresh().text
    for words in (first, second, f"written by {bob.key_hash}", '"myself" → [secret]', "it was changed back"):
        assert words in text
    steps = project.preview_steps()
    assert set(steps) == {POLICY}
    assert {path.partition("[")[0].partition(".")[0] for path in steps[POLICY]["diff"]} == {"changed_elsewhere"}
    assert bob.key_hash in project.preview().text
    project.up()
    assert project.preview_steps() == {}
    now = beside.read("acme/api")
    assert now is not None
    assert now.hash == second
    assert PLANTED.encode() not in project.everything_written()


def test_uploads_whose_answer_is_lost(project: PulumiProject, cas: EmbeddedCas) -> None:
    """Connections that break within an upload, a network that is gone after one: one version each."""
    proxy = CuttingProxy(cas.port)
    try:
        project.pulumi("config", "set", "scone:connectTo", f"127.0.0.1=127.0.0.1:{proxy.port}")
        edit(project, '"USER": "myself"', f'"FILLER": "{"x" * 60_000}", "USER": "myself"')
        proxy.cut = Cut(times=1, after_sent=30_000)
        project.up()
        assert proxy.cut.times == 0
        edit(project, '"USER": "myself"', '"USER": "someone"')
        proxy.cut = Cut(times=1, unanswered_after=60_000)
        project.up()
        assert proxy.cut.times == 0
        edit(project, '"USER": "someone"', '"USER": "somebody"')
        proxy.cut = Cut(times=1, unanswered_after=60_000, then_down=True)
        done = project.up(check=False)
        assert done.status != 0
        assert "whether the policy was uploaded is not known" in done.text
        assert "Traceback" not in done.text
        proxy.cut = None
        project.up()
        assert project.preview_steps() == {}
        assert len(list(client(project, cas).history("acme/api"))) == 4
    finally:
        proxy.close()


def test_plain_secrets_are_refused(project: PulumiProject) -> None:
    """A secret value that is no Pulumi secret stops the preview with path and way out, and is shown nowhere."""
    for plain in (f'"{PLANTED}-plain"', 'config.require("plain")'):
        project.pulumi("config", "set", "--plaintext", "test:plain", "seen-in-config")
        edit(project, 'config.require_secret("given")', plain)
        for done in (project.preview(check=False), project.up(check=False)):
            assert done.status != 0
            assert "secrets.given.value: this secret is given as plain text" in done.text
            assert "require_secret" in done.text
            assert PLANTED not in done.text
            assert "seen-in-config" not in done.text
            assert "Traceback" not in done.text
        edit(project, plain, 'config.require_secret("given")')


def test_secret_in_a_variable_is_never_told(project: PulumiProject, cas: EmbeddedCas) -> None:
    """A Pulumi secret that stands in a variable is hidden in previews, drift, warnings and conflicts as well."""
    edit(project, '"USER": "myself"', '"USER": config.require_secret("given")')
    project.up()
    beside = client(project, cas)
    found = beside.read("acme/api")
    assert found is not None
    assert PLANTED in found.description_yaml
    changed = found.description_yaml.replace(f"USER: {PLANTED}", f"USER: {PLANTED}-theirs")
    _replace(beside, changed, found.hash)
    edit(project, "/app/api.py", "/app/other.py")
    assert "environment.USER: [secret] → [secret]" in project.up(check=False).text
    assert "environment.USER: [secret] → [secret]" in project.refresh().text
    project.preview()
    project.up()
    assert PLANTED.encode() not in project.everything_written()


def test_policy_file(project: PulumiProject) -> None:
    """The same policy as YAML in a file, its secret a variable: no difference to the map, and errors with a line."""
    text = yaml.safe_dump(
        {
            "name": "acme/api",
            "version": "0.3.10",
            "secrets": [
                {"name": "generated", "kind": "ascii", "size": 10},
                {"name": "given", "kind": "ascii", "value": "$GIVEN"},
            ],
            "services": [
                {
                    "name": "api",
                    "command": ["python3", "/app/api.py"],
                    "environment": {"USER": "myself", "TOKEN": "$$SCONE::given$$"},
                    "attestation": [{"mrenclave": ["ab" * 32]}],
                }
            ],
        }
    )
    (project.folder / "policy.yaml").write_text(text)
    edit(project, "policy=policy, ", 'policy_file="policy.yaml", variables={"GIVEN": config.require_secret("given")}, ')
    assert project.preview_steps() == {}
    (project.folder / "policy.yaml").write_text(text.replace("size: 10", "size: many"))
    done = project.preview(check=False)
    assert done.status != 0
    assert "policy.yaml:" in done.text
    assert "secrets.generated.size" in done.text
    assert "Traceback" not in done.text


def test_lost_update_is_refused_and_shows_both_sides(project: PulumiProject, cas: EmbeddedCas) -> None:
    """A change since our last write, past our state, stops the update, names path and values, and loses nothing."""
    beside = client(project, cas)
    found = beside.read("acme/api")
    assert found is not None
    theirs = _replace(beside, found.description_yaml.replace("myself", "mallory"), found.hash)
    edit(project, "/app/api.py", "/app/other.py")
    done = project.up(check=False)
    assert done.status != 0
    assert "own key wrote versions that its state does not have" in done.text
    assert "environment.USER" in done.text
    assert '"myself" → [secret]' in done.text
    assert "mallory" not in done.text
    assert "Traceback" not in done.text
    now = beside.read("acme/api")
    assert now is not None
    assert now.hash == theirs


def test_existing_policy_is_not_taken_over_unawares(
    project: PulumiProject, new_project: Make, cas: EmbeddedCas
) -> None:
    """A second stack that names the same policy is refused with the difference and the way out; adopt takes it over."""
    identity = project.run("pulumi", "config", "get", "scone:identity")
    del project.transcripts[-1]
    config = {"test:cas": f"127.0.0.1:{cas.port}"}
    secrets = {"scone:identity": identity, "test:given": PLANTED}
    second = new_project(program(measurement="cd" * 32), config, secrets, name="second", called="another")
    done = second.up(check=False)
    assert done.status != 0
    assert "adopt=True" in done.text
    assert "attestation.mrenclave" in done.text
    (second.folder / "__main__.py").write_text(program(measurement="cd" * 32, adopt=True))
    second.up()
    assert PLANTED.encode() not in second.everything_written()


def test_missing_switches_are_named(new_project: Make, cas: EmbeddedCas) -> None:
    """Without tolerance simulated evidence is refused, each missing switch named with what giving it would mean."""
    project = new_project(program(switches=""), {"test:cas": f"127.0.0.1:{cas.port}"}, {"test:given": PLANTED})
    done = project.up(check=False)
    assert done.status != 0
    assert [switch for switch in SWITCHES.split() if switch not in done.text] == []
    assert "Traceback" not in done.text
    assert "session-stored" not in cas.log.read_text()


def test_wrong_pin_is_refused(new_project: Make, cas: EmbeddedCas) -> None:
    """A CAS whose key is not the pinned one gets nothing, whatever is tolerated; found and expected are named."""
    pin = Identity.create(common_name="another", now=dt.datetime.now(dt.UTC)).key_hash
    text = program().replace('"namespace": "acme"', f'"namespace": "acme", "cas_key": "{pin}"')
    project = new_project(text, {"test:cas": f"127.0.0.1:{cas.port}"}, {"test:given": PLANTED})
    done = project.up(check=False)
    assert done.status != 0
    assert pin in done.text
    assert "Traceback" not in done.text
    assert "session-stored" not in cas.log.read_text()


def test_cas_may_move_to_another_address(project: PulumiProject, cas: EmbeddedCas) -> None:
    """The same CAS under another url is an update for which nothing is uploaded: an upload could cost values."""
    before = client(project, cas).read("acme/api")
    project.pulumi("config", "set", "test:cas", f"localhost:{cas.port}")
    project.up()
    after = client(project, cas).read("acme/api")
    assert before is not None
    assert after is not None
    assert after.hash == before.hash
    assert project.preview_steps() == {}


def test_another_cas_key_stops_up_and_shows_as_drift(project: PulumiProject, cas: EmbeddedCas) -> None:
    """Someone else answering at CAS's address gets nothing, and refresh says whose key was found."""
    cas.stop()
    impostor = EmbeddedCas(
        cas.state.parent / "impostor", host="127.0.0.1", port=cas.port, enclave_port=cas.enclave_port
    )
    impostor.start()
    try:
        edit(project, '"USER": "myself"', '"USER": "someone"')
        done = project.up(check=False)
        assert done.status != 0
        assert "another CAS key" in done.text
        assert "session-stored" not in impostor.log.read_text()
        text = project.refresh().text
        assert "found_key" in text
        assert project.up(check=False).status != 0
    finally:
        impostor.stop()


def test_rolled_back_cas_is_noticed(project: PulumiProject, cas: EmbeddedCas) -> None:
    """A CAS that lost our last version, because its store was replaced by an older copy, is not trusted any more."""
    cas.stop()
    shutil.copytree(cas.state, cas.state.parent / "older")
    cas.start()
    edit(project, '"USER": "myself"', '"USER": "someone"')
    project.up()
    cas.stop()
    shutil.rmtree(cas.state)
    shutil.copytree(cas.state.parent / "older", cas.state)
    cas.start()
    edit(project, '"USER": "someone"', '"USER": "somebody"')
    done = project.up(check=False)
    assert done.status != 0
    assert "rolled back" in done.text


def test_cas_down_is_said(project: PulumiProject, cas: EmbeddedCas) -> None:
    """An unreachable CAS is named with its address; nothing is half done, and the next up finishes."""
    cas.stop()
    edit(project, '"USER": "myself"', '"USER": "someone"')
    done = project.up(check=False)
    assert done.status != 0
    assert f"127.0.0.1:{cas.port}" in done.text
    assert "Traceback" not in done.text
    cas.start()
    project.up()
    assert project.preview_steps() == {}


@pytest.mark.usefixtures("project")
def test_no_rights_is_said(new_project: Make, cas: EmbeddedCas) -> None:
    """Another identity may neither take the namespace over nor create policies in it: said with its key."""
    text = program().replace("acme/api", "acme/other").replace("depends_on=[namespace]", "")
    other = new_project(text, {"test:cas": f"127.0.0.1:{cas.port}"}, {"test:given": PLANTED}, name="other")
    done = other.up(check=False)
    assert done.status != 0
    assert "permission" in done.text
    assert "this stack's key is" in done.text
    assert "Traceback" not in done.text
    assert "session=acme/other " not in "".join(_stored(cas))


def _stored(cas: EmbeddedCas) -> list[str]:
    return [line for line in cas.log.read_text().splitlines() if "session-stored" in line]


def test_broken_policy_fails_in_preview_by_path(project: PulumiProject) -> None:
    """A rule of the session language is named with its path before anything is uploaded, without any value."""
    edit(project, '"size": 10', '"size": "many"')
    done = project.preview(check=False)
    assert done.status != 0
    assert "secrets.generated.size" in done.text
    assert "Traceback" not in done.text
    assert PLANTED not in done.text


def test_destroy_retires_and_up_continues(project: PulumiProject, cas: EmbeddedCas) -> None:
    """A destroyed policy is an empty one in the same chain; creating it again names it as its predecessor."""
    beside = client(project, cas)
    first = beside.read("acme/api")
    project.destroy()
    retired = beside.read("acme/api")
    assert first is not None
    assert retired is not None
    assert "services" not in retired.description_yaml
    text = project.up().text
    assert "retired before" in text
    again = beside.read("acme/api")
    assert again is not None
    assert again.predecessor == retired.hash
    assert retired.predecessor == first.hash


def _replace(cas: CasClient, description: str, predecessor: str) -> str:
    lines = [line for line in description.splitlines() if not line.startswith("predecessor:")]
    text = "\n".join(lines) + f"\npredecessor: {predecessor}\n"
    data = yaml.safe_load(text)
    data.pop("creator", None)
    return cas.upload(yaml.safe_dump(data))
