"""Spellings of one meaning: what YAML allows to write in several ways is read alike, whatever a person chose."""

import pytest

from scone_policy import PolicyError, parse

HEX = "ab" * 32
SERVICE = f"services:\n- name: s\n  command: /bin/x\n  mrenclaves: [{HEX}]\n"
SECRET = "secrets: [{{name: a, kind: ascii, {}}}]"
KEY = "{name: k, kind: private-key}"

NULLS = {
    "all sections": (
        "services:\nsecrets: ~\nvolumes:\nimages:\naccess_policy:\nsecurity:\nsecret_config:\nsalt:\n",
        "",
    ),
    "secret": (
        "secrets:\n- {name: a, kind: ascii, size: ~, value: ~, export: ~, export_public: ~, import: ~, migrate: ~}\n",
        "secrets: [{name: a, kind: ascii}]\n",
    ),
    "service": (
        f"{SERVICE}  environment:\n  pwd: null\n  tags: ~\n  platforms:\n  image_name:\n  fspf_key:\n  fspf_tag:\n",
        SERVICE,
    ),
    "volume": (
        "volumes:\n- {name: v, fspf_key: ~, fspf_tag: ~, export: ~, import: ~, update_policy: ~, files: ~}\n",
        "volumes: [{name: v}]\n",
    ),
    "access policy": ("access_policy: {read: ~, update: ~, create_sessions: ~, list_sessions: null}\n", ""),
    "attestation": (
        "security: {attestation: {mode: ~, tolerate: ~, ignore_advisories: ~, must_be_sgx_local: ~}}\n",
        "",
    ),
    "security": ("security: {attestation: ~, singleton_enclaves: ~, service_access_token: ~}\n", ""),
}
"""With null, and without the key."""
_TEXT = "environment:\n    A: "
_X509 = "{name: c, kind: x509, private_key: k, valid_for: 90 days}"
ALIKE = {
    "quotes": ("secrets: [{name: a, kind: ascii, size: 12}]", "secrets: [{'name': \"a\", kind: 'ascii', size: '12'}]"),
    "hex number": (
        f"services: [{{name: s, attestation: {{signer: {{mrsigner: {HEX}, isvsvn: 16}}}}}}]",
        f"services: [{{name: s, attestation: [{{signer: {{mrsigner: {HEX.upper()}, isvsvn: 0x10}}}}]}}]",
    ),
    "block text": (f'{SERVICE}  {_TEXT}"a\\nb\\n"\n', f"{SERVICE}  {_TEXT}|\n      a\n      b\n"),
    "folded text": (f"{SERVICE}  {_TEXT}a b\n", f"{SERVICE}  {_TEXT}>-\n      a\n      b\n"),
    "booleans": (
        "secrets: [{name: a, kind: ascii, export_public: true}]",
        SECRET.format("export_public: 'True'").lower(),
    ),
    "one or many": (SECRET.format("export: {session: o}"), SECRET.format("export: [{session: o}]")),
    "anchors": (
        f"{SERVICE}- {{name: t, command: /bin/x, mrenclaves: [{HEX}]}}\n",
        SERVICE.replace("/bin/x", "&c /bin/x").replace("[", "&m [") + "- {name: t, command: *c, mrenclaves: *m}\n",
    ),
    "comments, line ends": (
        "secrets: [{name: a, kind: ascii}]\r\n",
        "secrets: # w\n# n\n- name: a\n  kind: ascii\n...\n",
    ),
    "empty lists": (f"secrets: [{KEY}, {_X509}]", f"secrets:\n- {KEY}\n- {_X509[:-1]}, dns: [], san: ~}}\n"),
}


def head(text: str) -> str:
    """A whole description."""
    return (text if text.startswith("---") else f"---\n{text}").replace("---\n", '---\nname: a/b\nversion: "0.3"\n')


@pytest.mark.parametrize(("null", "absent"), NULLS.values(), ids=NULLS)
def test_null_says_nothing(null: str, absent: str) -> None:
    """An optional key without a value is as good as absent."""
    assert parse(head(null)).canonical() == parse(head(absent)).canonical()


@pytest.mark.parametrize(("one", "other"), ALIKE.values(), ids=ALIKE)
def test_spellings_mean_the_same(one: str, other: str) -> None:
    """Two ways to write it, one policy."""
    assert parse(head(one)).canonical() == parse(head(other)).canonical()


@pytest.mark.parametrize("text", [f"\ufeff{head('services: []')}", '{"name": "a", "version": "0.3", "secrets": null}'])
def test_other_frames(text: str) -> None:
    """A byte order mark, and JSON, which is YAML."""
    assert parse(text).version == "0.3"


@pytest.mark.parametrize(
    "text",
    [
        "secrets: [{name: a, kind: ascii, size: '0x10'}]",
        "secrets: [{name: a, kind: ascii, size: 1e1}]",
        "services: [~]",
    ],
)
def test_what_only_looks_alike_is_refused(text: str) -> None:
    """A number in quotes is decimal; a service that is nothing is none."""
    with pytest.raises(PolicyError):
        parse(head(text))
