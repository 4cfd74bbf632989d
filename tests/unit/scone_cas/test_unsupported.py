"""Nothing that this CAS does not enforce is accepted: each such thing is refused by name, at upload."""

from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from scone_cas.description import read_upload
from scone_cas.messages import Refusal
from scone_policy.canonical import canonical_json
from unit.scone_policy.policy_strategies import wire_sessions

HEX = "ab" * 32
FRAGMENT = {"name": "f", "kind": "ascii"}
FRAGMENT_SECRET = {"name": "fragment", "kind": "ascii"}
KEY = {"name": "k", "kind": "private-key"}
UUID = "e6c9c526-f1aa-4e0d-b207-50bad9a89d21"
SERVICE = {"name": "s", "command": "run", "attestation": {"mrenclave": HEX}}


def session(**sections: Any) -> dict[str, Any]:
    """A session with these sections and a secret to refer to."""
    return {"name": "a/b", "version": "0.3", "secrets": [FRAGMENT], **sections}


def service(**keys: Any) -> dict[str, Any]:
    """A session whose one service has these keys."""
    return session(services=[{**SERVICE, **keys}])


UNSERVED = [
    (session(volumes=[{"name": "v"}]), "volumes"),
    (
        session(
            secrets=[
                {"name": "t", "kind": "aad-token", "tenant_id": UUID, "client_id": UUID, "application_secret": "x"}
            ],
            secret_config={"store_in": {"akv": {"vault": "v", "token": "t"}}},
        ),
        "secret_config",
    ),
    (session(security="$$SCONE::f$$"), "security: a placeholder"),
    (session(security={"singleton_enclaves": True}), "security.singleton_enclaves"),
    (session(security={"service_access_token": "x"}), "security.service_access_token"),
    (session(security={"attestation": "$$SCONE::f$$"}), "security.attestation: a placeholder"),
    (session(security={"attestation": {"mode": "$$SCONE::f$$"}}), "security.attestation.mode"),
    (session(security={"attestation": {"tolerate": ["$$SCONE::f$$"]}}), "security.attestation.tolerate"),
    (session(security={"attestation": {"must_be_sgx_local": True}}), "security.attestation.must_be_sgx_local"),
    (session(security={"attestation": {"trusted_scone_qe_pubkeys": [HEX]}}), "trusted_scone_qe_pubkeys"),
    (
        session(security={"attestation": {"one_time_password_shared_secret": "A" * 26}}),
        "security.attestation.one_time_password_shared_secret",
    ),
    (session(security={"attestation": {"mode": "maa", "url": "u", "tolerate": ["maa-managed-tcb"]}}), "maa"),
    (service(platforms=[HEX]), "services.s.platforms"),
    (service(tags=["x"]), "services.s.tags"),
    (service(one_time_password_shared_secret="A" * 26), "services.s.one_time_password_shared_secret"),
    (service(attestation="$$SCONE::f$$"), "services.s.attestation: a placeholder"),
    (service(attestation=[{"mrenclave": HEX}, {"mrenclave": "$$SCONE::f$$"}]), "services.s.attestation"),
    (service(attestation={"signer": {"mrsigner": "$$SCONE::f$$"}}), "services.s.attestation"),
    (service(attestation={"signer": {"mrsigner": HEX, "isvprodid": "$$SCONE::f$$"}}), "services.s.attestation"),
    (service(pwd="/$$SCONE::f$$"), "services.s.pwd"),
    (service(command=None), "services.s.command"),
    (service(fspf_key=HEX, fspf_update_policy="no_rollback_protection"), "services.s.fspf_key"),
    (session(secrets=[KEY]), "secrets.k.kind: kind private-key"),
    (session(secrets=[{"name": "s", "kind": "ascii", "import_akv": {"vault": "v"}}]), "secrets.s.import_akv"),
    (
        session(secrets=[{"name": "s", "import": {"session": f"cas/cas_key={HEX},session=x", "secret": "y"}}]),
        "secrets.s.import.cas_",
    ),
    (
        session(secrets=[{"name": "s", "import": {"session": "x", "secret": "y", "session_hash": HEX}}]),
        "secrets.s.import.session_hash",
    ),
    (
        session(secrets=[{"name": "s", "kind": "ascii", "export": {"namespace": "x", "session_hash": HEX}}]),
        "secrets.s.export: session_hash of a namespace",
    ),
    (
        session(
            images=[{"name": "i", "volumes": [{"name": "v", "path": "/v"}]}],
            volumes=[{"name": "v"}],
        ),
        "volumes",
    ),
    (session(images=[{"name": "i", "provide_secrets": ["f"]}]), "images.i.provide_secrets"),
    (session(images=[{"name": "i", "injection_files": ["/f"]}]), "give content"),
]


@pytest.mark.parametrize(("data", "words"), UNSERVED, ids=[words for _, words in UNSERVED])
def test_what_is_not_enforced_is_refused_by_name(data: dict[str, Any], words: str) -> None:
    """The language has it, this CAS does not: 501, with the place and the word."""
    with pytest.raises(Refusal) as refusal:
        read_upload(yaml.safe_dump(data).encode())
    assert refusal.value.status == 501, refusal.value
    assert words in refusal.value.message


@pytest.mark.parametrize("kind", ["private-key", "public-key", "x509", "x509-ca", "pgp-key"])
def test_kinds_that_are_not_made_here_are_refused(kind: str) -> None:
    """A kind of secret that this CAS cannot generate is refused, not generated as something else."""
    more = {"private_key": "k"} if kind in ("public-key", "x509", "x509-ca") else {}
    helper = [{"name": "k", "import": {"session": "x", "secret": "k"}}] if more else []
    data = session(secrets=[*helper, {"name": "s", "kind": kind, **more}])
    with pytest.raises(Refusal, match=f"kind {kind} is not served"):
        read_upload(yaml.safe_dump(data).encode())


def test_what_is_served_is_taken() -> None:
    """The table above fails for its one reason each: without it, the same session is taken."""
    assert read_upload(yaml.safe_dump(service()).encode()).session.services
    assert read_upload(yaml.safe_dump(session()).encode()).session.secrets


NEVER_STORED = ("platforms", "tags", "volumes", "import_akv", "one_time_password_shared_secret", "provide_secrets")


@settings(max_examples=200)
@given(wire_sessions())
def test_no_generated_session_slips_through(data: dict[str, Any]) -> None:
    """Whatever a session of the whole language holds: it is refused, or nothing in it is left to chance."""
    ascii_only = [{**entry, "kind": "ascii"} for entry in data["secrets"] if set(entry) <= {"name", "kind", "import"}]
    data["secrets"] = [*ascii_only, FRAGMENT_SECRET]
    data["secrets"] = list({entry["name"]: entry for entry in data["secrets"]}.values())
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
    assert "$$SCONE::fragment$$" not in text
