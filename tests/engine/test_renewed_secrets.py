"""What an update costs at CAS, through the real engine: previews say it, and what costs nothing is not uploaded."""

from collections.abc import Callable
from typing import Any

import scone_policy
from scone_provider.cas.client import connect
from scone_provider.cas.identity import Identity
from support.embedded_cas import TOLERANCE, EmbeddedCas, public_value
from support.pulumi_project import PulumiProject

POLICY = "pulumi-python:dynamic/scone:SecurityPolicy::shared"
PROGRAM = """
import pulumi
from pulumi_scone import CasNamespace, SecurityPolicy

config = pulumi.Config("test")
team = CasNamespace(
    "team",
    {"namespace": "team", "cas_url": config.require("cas"), "tolerance": config.require("tolerance")},
)
policy = {
    "name": "team/shared",
    "version": "0.3.12",
    "secrets": {
        "word": {"kind": "ascii", "size": 20, "export_public": True, "export": [{"session": "team/api"}]},
        "key": {"kind": "private-key"},
        "cert": {"kind": "x509", "private_key": "key", "export_public": True},
    },
    "services": {"main": {"command": "first", "attestation": {"mrenclave": "ab" * 32}}},
}
shared = SecurityPolicy("shared", cas=team.trust, policy=policy, opts=pulumi.ResourceOptions(depends_on=[team]))
pulumi.export("digest", shared.digest)
"""


def test_what_an_update_costs(new_project: Callable[..., PulumiProject], cas: EmbeddedCas) -> None:
    """An edit names what goes; a switch or another name of the CAS costs nothing; drift that cost a value is told by
    the digest, in the preview already, and by nothing else.
    """
    project = new_project(PROGRAM, {"test:cas": f"127.0.0.1:{cas.port}", "test:tolerance": TOLERANCE}, {})
    project.up()

    def values() -> tuple[str, ...]:
        return tuple(public_value(cas, "team/shared", name) for name in ("word", "cert"))

    def count() -> int:
        return len(list(beside.history("team/shared")))

    identity = Identity.parse(project.run("pulumi", "config", "get", "scone:identity"))
    del project.transcripts[-1]
    trust: dict[str, Any] = {"tolerance": TOLERANCE, "cas_key": None, "connect_to": {}, "identity": identity}
    beside = connect(f"127.0.0.1:{cas.port}", **trust)
    first, digest = values(), _digest(project)

    trusted = ("--plaintext", f"test:tolerance={TOLERANCE} -C", "--plaintext", f"test:cas=localhost:{cas.port}")
    project.pulumi("config", "set-all", *trusted)
    assert "CAS will" not in project.up().text
    assert (values(), count(), _digest(project)) == (first, 1, digest)
    assert project.preview_steps() == {}

    program = project.folder / "__main__.py"
    program.write_text(PROGRAM.replace('"first"', '"second"'))
    for text in (project.preview().text, project.up().text):
        assert "team/shared: CAS will generate the secret key anew, because every version of a policy makes" in text
        assert "team/shared: CAS will generate the secret cert anew, because its private key, key, is made anew" in text
        assert "secret word" not in text
    second = values()
    assert second[0] == first[0]
    assert second[1] != first[1]

    found = beside.read("team/shared")
    assert found is not None
    assert "size: '20'" in found.description_yaml
    longer = scone_policy.parse(found.description_yaml.replace("size: '20'", "size: 21"))
    assert beside.upload(longer.wire(predecessor=found.hash))
    assert "CAS made anew secrets.word, because its size changes (20 → 21)" in project.refresh().text
    steps = project.preview_steps()
    text = project.transcripts[-1]
    assert "CAS will generate the secret word anew, because its size changes (21 → 20)" in text
    assert "team/api, everyone may import it" in text
    assert set(steps) == {POLICY}
    assert steps[POLICY]["diff"] == {"digest": "update", "policy.secrets.word.size": "update"}
    before = _digest(project)
    project.up()
    assert values()[0] != first[0]
    assert _digest(project).partition(".")[0] == before.partition(".")[0]  # the same text, over other values
    assert before.endswith(".1")  # the edit
    assert _digest(project).endswith(".3")  # a change beside Pulumi, and its repair
    assert project.preview_steps() == {}


def _digest(project: PulumiProject) -> str:
    return project.run("pulumi", "stack", "output", "digest").strip()
