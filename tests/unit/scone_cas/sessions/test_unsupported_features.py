"""Nothing that this CAS does not enforce is accepted: each such thing is refused by name, at upload."""

from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from scone_cas.api.client import STATUS
from scone_cas.errors import Refusal
from scone_cas.sessions.descriptions import read_upload
from scone_policy.forms.canonical import canonical_json
from scone_policy.model.secret_kinds import KINDS
from support.policy_strategies import wire_sessions

HEX = "ab" * 32
FRAGMENT = {"name": "f", "kind": "ascii"}
FRAGMENT_SECRET = {"name": "fragment", "kind": "ascii"}
UUID = "e6c9c526-f1aa-4e0d-b207-50bad9a89d21"
KEY = {"kind": "private-key", "key_type": "P-384"}
NEEDS: dict[str, dict[str, Any]] = {
    **{kind: {"private_key": "key"} for kind in ("public-key", "x509", "x509-ca")},
    "aad-token": {"tenant_id": UUID, "client_id": UUID, "application_secret": "x"},
    "config-fragment": {"value": {"a": 1}},
    "jwt": {"signer": "key", "alg": "ES384", "validity": {"for": "1h"}},
}
REMOTE = {"session": "x", "secret": "y", "cas_url": "cas", "cas_key": HEX}
SERVICE = {"name": "s", "command": "run", "attestation": {"mrenclave": HEX}}


def session(**sections: Any) -> dict[str, Any]:
    """A session with these sections and a secret to refer to."""
    return {"name": "a/b", "version": "0.3", "secrets": [FRAGMENT], **sections}


def service(**keys: Any) -> dict[str, Any]:
    """A session whose one service has these keys."""
    return session(services=[{**SERVICE, **keys}])


UNSERVED = [
    (session(security={"service_access_token": "x"}), "security.service_access_token"),
    (session(security={"attestation": {"mode": "maa", "url": "u", "tolerate": ["maa-managed-tcb"]}}), "maa"),
    (service(tags=["x"]), "services.s.tags"),
    (
        session(secrets=[{"name": "s", "kind": "ascii", "import_akv": {"vault": "v"}}]),
        "secrets.s.import_akv: Azure Key Vault is not served by this version: only a real SCONE CAS does it",
    ),
    (
        session(secrets=[FRAGMENT, {"name": "s", "import": REMOTE | {"cas_url": "$$SCONE::f$$"}}]),
        "secrets.s.import.cas_url: a placeholder",
    ),
    (
        session(secrets=[FRAGMENT, {"name": "s", "import": REMOTE | {"cas_key": "$$SCONE::f$$"}}]),
        "secrets.s.import.cas_key: a placeholder",
    ),
]


@pytest.mark.parametrize(("data", "words"), UNSERVED, ids=[words for _, words in UNSERVED])
def test_what_is_not_enforced_is_refused_by_name(data: dict[str, Any], words: str) -> None:
    """The language has it, this CAS does not: 501, with the place and the word."""
    with pytest.raises(Refusal) as refusal:
        read_upload(yaml.safe_dump(data).encode())
    assert STATUS[refusal.value.reason] == 501, refusal.value
    assert words in refusal.value.message


def test_key_vaults_are_refused_by_name() -> None:
    """So is the key vault that a session's secrets would be kept in."""
    token = {"name": "t", "kind": "aad-token", **NEEDS["aad-token"]}
    text = yaml.safe_dump(session(secrets=[token])) + "secret_config: {store_in: !akv {vault: v, token: t}}\n"
    words = r"secret_config\.store_in: Azure Key Vault is not served by this version: only a real SCONE CAS does"
    with pytest.raises(Refusal, match=words, check=lambda refusal: STATUS[refusal.reason] == 501):
        read_upload(text.encode())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_secret_is_taken(kind: str) -> None:
    """No kind of the language is left out."""
    data = session(secrets=[{"name": "key", **KEY}, {"name": "s", "kind": kind, **NEEDS.get(kind, {})}])
    assert read_upload(yaml.safe_dump(data).encode()).session.secrets["s"].kind == kind


def test_what_is_served_is_taken() -> None:
    """The table above fails for its one reason each: without it, the same session is taken."""
    assert read_upload(yaml.safe_dump(service()).encode()).session.services
    assert read_upload(yaml.safe_dump(session()).encode()).session.secrets


NEVER_STORED = ("tags", "service_access_token", "import_akv", "maa")


@settings(max_examples=200)
@given(wire_sessions())
def test_no_generated_session_slips_through(data: dict[str, Any]) -> None:
    """Whatever a session of the whole language holds: it is refused, or nothing in it is left to chance."""
    kept = [entry for entry in data["secrets"] if not {"import", "import_akv"} & set(entry)]
    data["secrets"] = list({entry["name"]: entry for entry in [*kept, FRAGMENT_SECRET]}.values())
    refusal, found = "", None
    with suppress(Refusal):
        found = read_upload(yaml.safe_dump(data).encode()).session
    if found is None:
        with pytest.raises(Refusal) as caught:
            read_upload(yaml.safe_dump(data).encode())
        refusal = caught.value.message
    assert (found is None) == bool(refusal)
    text = canonical_json(found.canonical()) if found is not None else ""
    assert [key for key in NEVER_STORED if f'"{key}"' in text] == []
