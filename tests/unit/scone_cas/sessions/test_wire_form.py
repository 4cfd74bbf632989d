"""Lists only on the wire: what programs and state say in maps is refused in an upload, with how to write it."""

import pytest
import yaml
from hypothesis import given, settings

import scone_policy
from scone_cas.api.client import STATUS
from scone_cas.errors import Refusal
from scone_cas.sessions.descriptions import read_upload, stored
from scone_cas.sessions.wire_form import wire_problems
from scone_policy.syntax.yaml_source import load
from support.policy_strategies import wire_sessions

HEX = "ab" * 32
HEAD = "name: a\nversion: '0.3.12'\n"
SERVICE = "services: [{name: s, command: x, attestation: %s}]\n"
UUID = "e6c9c526-f1aa-4e0d-b207-50bad9a89d21"
AAD_TOKEN = f"secrets: [{{name: t, kind: aad-token, tenant_id: {UUID}, client_id: {UUID}, application_secret: x}}]\n"
NOT_ATTESTED = "security: {attestation: {mode: none}}\n"


@pytest.mark.parametrize(
    ("text", "path", "fix"),
    [
        ("secrets: {k: {kind: ascii}}", "secrets", "- {name: …"),
        (f"services: {{s: {{command: x, attestation: {{mrenclave: {HEX}}}}}}}", "services", "- {name: …"),
        ("images: {i: {}}", "images", "- {name: …"),
        ("volumes: {v: {}}", "volumes", "- {name: …"),
        (SERVICE % f"{{any: {{x: {{mrenclave: {HEX}}}}}}}", "services[0].attestation", "a list of the variants"),
        (SERVICE % f"{{any: [{{mrenclave: {HEX}}}]}}", "services[0].attestation", "a list of the variants"),
        (SERVICE % f"{{mrenclave: {{x: {HEX}}}}}", "services[0].attestation.mrenclave", "`[…, …]`"),
        (SERVICE % f"[{{mrenclave: {{x: {HEX}}}}}]", "services[0].attestation[0].mrenclave", "`[…, …]`"),
        (NOT_ATTESTED + f"services: [{{name: s, platforms: {{{HEX}: true}}}}]", "services[0].platforms", "`[…, …]`"),
        (NOT_ATTESTED + "services: [{name: s, tags: {blue: true}}]", "services[0].tags", "`[…, …]`"),
        ("access_policy: {read: {CREATOR: true}}", "access_policy.read", "- CREATOR"),
        ("access_policy: {update: {x: {require-all: [CREATOR]}}}", "access_policy.update", "- CREATOR"),
        ("access_policy: {update: {require-all: {CREATOR: true}}}", "access_policy.update.require-all", "- CREATOR"),
        (
            "access_policy: {update: [{require-all: [CREATOR, {require-at-least-1: {CREATOR: true}}]}]}",
            "access_policy.update[0].require-all[1].require-at-least-1",
            "- CREATOR",
        ),
        ("security: {attestation: {tolerate: {debug-mode: true}}}", "security.attestation.tolerate", "`[…, …]`"),
        (
            "security: {attestation: {ignore_advisories: {INTEL-SA-00586: true}}}",
            "security.attestation.ignore_advisories",
            "`[…, …]`",
        ),
        (
            f"security: {{attestation: {{trusted_scone_qe_pubkeys: {{{HEX}: true}}}}}}",
            "security.attestation.trusted_scone_qe_pubkeys",
            "`[…, …]`",
        ),
        ("secrets: [{name: k, kind: config-fragment, value_json: '[1]'}]", "secrets[0].value_json", "`value`"),
        ("secrets: [{name: k, kind: ascii, export: {b: {session: true}}}]", "secrets[0].export", "- session: …"),
        (
            "secrets: [{name: p, kind: private-key}, {name: c, kind: x509, private_key: p, san: {dns:b: true}}]",
            "secrets[1].san",
            "`[…, …]`",
        ),
        ("volumes: [{name: v, export: {b: true}}]", "volumes[0].export", "- {to: {session: …}"),
        ("volumes: [{name: v, export: {to: {volume_alias: w}}}]", "volumes[0].export", "- {to: {session: …}"),
        ("images: [{name: i, injection_files: {/a: {content: b}}}]", "images[0].injection_files", "- {path: …"),
        (
            "volumes: [{name: v}]\nimages: [{name: i, volumes: {/a: {name: v}}}]",
            "images[0].volumes",
            "- {path: …",
        ),
        ("images: [{name: i, provide_secrets: none}]", "images[0].provide_secrets", "`[]`"),
        ("secret_config: {store_in: cas}", "secret_config.store_in", "`!cas`"),
        ("secret_config: {store_in: {cas: }}", "secret_config.store_in", "`!cas`"),
        (
            AAD_TOKEN + "secret_config: {store_in: {akv: {token: t, vault: v}}}",
            "secret_config.store_in",
            "`!cas`, or `!akv",
        ),
    ],
)
def test_map_form_is_refused(text: str, path: str, fix: str) -> None:
    """Each spelling that the model takes from programs and from state is refused here, as a real CAS would."""
    scone_policy.parse(HEAD + text)
    with pytest.raises(Refusal) as refused:
        read_upload((HEAD + text).encode())
    assert STATUS[refused.value.reason] == 400
    (first, second) = refused.value.message.splitlines()
    assert first.startswith("session:")
    assert f": {path}: this is the map form of programs and state" in first
    assert fix in second


def test_all_places_are_named() -> None:
    """Several map forms in one upload are told at once."""
    with pytest.raises(Refusal, match=r"(?s)2 rules are broken.* secrets: .* access_policy\.read: "):
        read_upload(f"{HEAD}secrets: {{k: {{kind: ascii}}}}\naccess_policy: {{read: {{ANY: true}}}}\n".encode())


@pytest.mark.parametrize(
    "text",
    [
        "secret_config: {store_in: !cas }",
        "secret_config: {store_in: ~}",
        "access_policy: {update: {require-all: [CREATOR]}}",
        "access_policy: {read: CREATOR}",
        SERVICE % f"{{mrenclave: {HEX}}}",
        SERVICE % f"[{{mrenclave: [{HEX}]}}]",
        "secrets: [{name: k, kind: ascii, export: {session: b}}]",
        "secrets: [{name: k, kind: config-fragment, value: {any: {read: {CREATOR: true}}}}]",
        "volumes: [{name: v, export: {session: b}}, {name: w, export: {to: {session: b}}}, {name: x, export: b}]",
        "images: [{name: i, injection_files: [/a], provide_secrets: []}]",
        "services:\nsecrets:\nvolumes:\nimages:\naccess_policy:\nsecurity:\nsecret_config:",
    ],
)
def test_wire_form_is_taken(text: str) -> None:
    """One item without its list, nothing at all, and tags are the wire form; written down again they stay it."""
    first = read_upload((HEAD + text).encode())
    again = read_upload(first.text.encode())
    assert (again.text, again.hash) == (first.text, first.hash)
    assert stored(first.text).canonical() == scone_policy.parse(HEAD + text).canonical()


@settings(deadline=None)
@given(wire_sessions())
def test_only_one_of_the_forms_passes(data: dict) -> None:
    """Of any session the wire form passes, as people write it and as we do; its map form never does."""
    assert wire_problems(data) == []
    session = scone_policy.parse(data)
    assert wire_problems(load(session.wire()).data) == []  # type: ignore[arg-type]
    assert wire_problems(session.canonical()) != []


def test_documents_of_old_stores_open() -> None:
    """A description that was stored before the forms were told apart is still read."""
    old = yaml.safe_dump({"name": "a", "version": "0.3", "secrets": {"k": {"kind": "ascii"}}})
    assert set(stored(old).secrets) == {"k"}
