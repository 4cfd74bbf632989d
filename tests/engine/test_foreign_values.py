"""Somebody else who may write a policy puts a password into it: a refresh does not bring it into state in clear."""

import json
from collections.abc import Callable

import scone_policy
from scone_provider.cas.client import connect
from scone_provider.cas.identity import Identity
from support.embedded_cas import EmbeddedCas
from support.pulumi_project import PulumiProject

SWITCHES = "--only_for_testing-debug --only_for_testing-ignore-signer --only_for_testing-trust-any"
PLANTED = "planted-8c1e"
PROGRAM = """
import pulumi
from pulumi_scone import CasNamespace, SecurityPolicy

config = pulumi.Config("test")
switches = "--only_for_testing-debug --only_for_testing-ignore-signer --only_for_testing-trust-any"
acme = CasNamespace("acme", {"namespace": "acme", "cas_url": config.require("cas"), "tolerance": switches})
policy = {
    "name": "acme/api",
    "version": "0.3.10",
    "services": {
        "api": {
            "command": "python3 api.py",
            "image_name": "files",
            "environment": {"USER": "myself"},
            "attestation": {"mrenclave": "ab" * 32},
        }
    },
    "images": {"files": {"injection_files": {"/etc/api.conf": {"content": "level: info"}}}},
}
SecurityPolicy("api", cas=acme.trust, policy=policy, opts=pulumi.ResourceOptions(depends_on=[acme]))
"""
_WITHOUT_SECRETS = {"PULUMI_CONFIG_PASSPHRASE": ""}


def test_a_refresh_keeps_foreign_values_secret(
    new_project: Callable[..., PulumiProject], cas: EmbeddedCas, identity: Identity
) -> None:
    """Variable, command and file: no planted value in state in clear, in a warning, a preview or a file of the project,
    also after a second refresh; what the program said is plain; after `up` all is, and the preview is a no-op.
    """
    url = f"127.0.0.1:{cas.port}"
    project = new_project(PROGRAM, {"test:cas": url}, {"scone:identity": identity.to_pem()})
    project.up()
    client = connect(url, tolerance=SWITCHES, cas_key=None, connect_to={}, identity=identity)
    found = client.read("acme/api")
    assert found is not None
    changed = json.loads(json.dumps(found.parsed().canonical()))
    changed["services"]["api"]["command"] += f" --password {PLANTED}"
    changed["services"]["api"]["environment"]["USER"] = PLANTED
    changed["images"]["files"]["injection_files"]["/etc/api.conf"]["content"] += PLANTED
    client.upload(scone_policy.parse(changed).wire(predecessor=found.hash))
    for _ in range(2):
        project.refresh()
        exported = project.pulumi("stack", "export", environment=_WITHOUT_SECRETS).text
        assert "/etc/api.conf" in exported
        preview = project.preview().text
        assert '=> "myself"' in preview
        assert "[secret]" in preview
        assert PLANTED not in "".join(project.transcripts)
        assert PLANTED.encode() not in project.everything_written()
    project.up()
    assert project.preview_steps() == {}
    assert '"USER": "myself"' in project.pulumi("stack", "export", environment=_WITHOUT_SECRETS).text
    assert PLANTED not in "".join(project.transcripts)
