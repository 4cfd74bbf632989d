"""What a policy demands of evidence: every demand of the language, also with placeholders in its parts."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scone_cas.attestation.appraisal import AppraisalPolicy, terms
from scone_cas.errors import UndeliverableError
from scone_cas.secrets.substitution import PlaceholderSubstituter
from scone_cas.secrets.value import Value
from scone_policy.rules.check import parse
from scone_policy.syntax.config_fragments import dump
from support.enclave_side import EnclaveSide
from support.software_enclave import MEASUREMENT, SoftwareEnclave, raw

OTHER = "cd" * 32


def session(**parts: object) -> str:
    """A session with one service; `service`, `security` and `secrets` replace or add keys."""
    service = {"name": "main", "command": ["prog"], "attestation": {"mrenclave": MEASUREMENT}}
    service |= parts.get("service", {})  # type: ignore[call-overload]
    found = {
        "name": "app",
        "version": "0.3.12",
        "services": [service],
        "security": parts.get("security", {"attestation": {"tolerate": ["debug-mode"]}}),
        "secrets": parts.get("secrets", []),
    }
    return json.dumps(found)


def attestation(**keys: object) -> dict[str, object]:
    """A security section that tolerates debug-mode."""
    return {"attestation": {"tolerate": ["debug-mode"], **keys}}


def ascii_(name: str, value: str) -> dict[str, object]:
    """An explicit secret."""
    return {"name": name, "kind": "ascii", "value": value}


@pytest.fixture
def outcome(cas, person):
    """The code that a service gets under a session."""

    def ask(text: str, enclave: SoftwareEnclave | None = None) -> str:
        before = cas.sessions.live("app")
        described = json.loads(text) | ({"predecessor": before.hash} if before else {})
        cas.upload(json.dumps(described), person("ann"))
        return EnclaveSide(cas).code("app/main", enclave)

    return ask


def test_platforms(outcome) -> None:
    """The older form of platforms names the quoting key; an Intel platform is no simulated one."""
    enclave = SoftwareEnclave()
    ours = raw(enclave.quoting_key).hex()
    assert outcome(session(service={"platforms": [ours.upper()]}), enclave) == "ok"
    assert outcome(session(service={"platforms": [OTHER, ours]}), enclave) == "ok"
    assert outcome(session(service={"platforms": [ours]})) == "unexpected_platform"
    assert outcome(session(service={"platforms": ["INTEL_QE_ID:" + "ab" * 16]}), enclave) == "unexpected_platform"


def test_trusted_quoting_keys(outcome) -> None:
    """The key that signs evidence must be one of the list, in whichever of its spellings."""
    enclave = SoftwareEnclave()
    pem = enclave.quoting_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for spelt in (raw(enclave.quoting_key).hex(), base64.b64encode(raw(enclave.quoting_key)).decode(), pem):
        text = session(security=attestation(trusted_scone_qe_pubkeys=[spelt]))
        assert outcome(text, enclave) == "ok", spelt
        assert outcome(text) == "untrusted_quoting_key", spelt
    assert outcome(session(security=attestation(trusted_scone_qe_pubkeys=["A" * 16])), enclave) == (
        "untrusted_quoting_key"
    )


def test_local_attestation_is_never_simulated(outcome) -> None:
    """A policy that wants local attestation is taken, and no simulated evidence satisfies it."""
    assert outcome(session(security=attestation(must_be_sgx_local=True))) == "not_local"
    assert outcome(session(security=attestation(must_be_sgx_local=False))) == "ok"


SIGNER = {"mrsigner": OTHER, "isvprodid": 1}


@pytest.mark.parametrize(
    ("variants", "code"),
    [
        ({"signer": SIGNER}, "unexpected_measurement"),
        ({"signer": SIGNER, "mrenclave": MEASUREMENT}, "no_signer"),
        ([{"signer": SIGNER}, {"signer": SIGNER | {"isvprodid": 2}, "mrenclave": [MEASUREMENT]}], "no_signer"),
        ([{"signer": SIGNER}, {"mrenclave": MEASUREMENT}], "ok"),
        ([{"signer": SIGNER, "mrenclave": MEASUREMENT}, {"mrenclave": OTHER}], "unexpected_measurement"),
    ],
)
def test_signers_are_never_simulated(outcome, variants, code: str) -> None:
    """A variant that names a signer is taken at upload and takes no simulated evidence; one without it does."""
    assert outcome(session(service={"attestation": variants})) == code


def test_missing_signer_is_said_in_words(cas, person) -> None:
    """What the launcher prints says what is missing, to who brings the measurement that the signer stands beside."""
    cas.upload(session(service={"attestation": {"signer": SIGNER, "mrenclave": MEASUREMENT}}), person("ann"))
    assert EnclaveSide(cas).attest("app/main")[1] == {
        "code": "no_signer",
        "message": "the policy names a signer, and simulated evidence has none: only a variant of attestation with "
        "mrenclave alone takes it",
    }


def test_mode_none_demands_nothing(outcome) -> None:
    """Without attestation no measurement is needed, and none of the other demands is looked at."""
    text = session(
        service={"attestation": None, "platforms": [OTHER]},
        security={"attestation": {"mode": "none", "must_be_sgx_local": True}},
    )
    assert outcome(text) == "ok"


FRAGMENTS = [
    ({"attestation": {"mrenclave": "$$SCONE::m$$"}}, None, [ascii_("m", MEASUREMENT)], "ok"),
    ({"attestation": {"mrenclave": ["$$SCONE::m$$", OTHER]}}, None, [ascii_("m", "00" * 32)], "unexpected_measurement"),
    (
        {"attestation": {"mrenclave": "$$SCONE::m:hex$$"}},
        None,
        [{"name": "m", "kind": "binary", "value": MEASUREMENT}],
        "ok",
    ),
    ({"attestation": {"mrenclave": "$$SCONE::m$$"}}, None, [ascii_("m", "no measurement")], "secret_unavailable"),
    ({"attestation": {"mrenclave": "$$SCONE::m$$"}}, None, [ascii_("m", "$$SCONE::m$$")], "secret_unavailable"),
    (
        {"attestation": {"mrenclave": MEASUREMENT, "signer": {"mrsigner": "$$SCONE::m$$"}}},
        None,
        [ascii_("m", OTHER)],
        "no_signer",
    ),
    ({"platforms": ["$$SCONE::m$$"]}, None, [ascii_("m", OTHER)], "unexpected_platform"),
    ({}, attestation(must_be_sgx_local="$$SCONE::m$$"), [ascii_("m", "true")], "not_local"),
    ({}, attestation(must_be_sgx_local="$$SCONE::m$$"), [ascii_("m", "false")], "ok"),
    ({}, attestation(must_be_sgx_local="$$SCONE::m$$"), [ascii_("m", "perhaps")], "secret_unavailable"),
    ({}, {"attestation": {"tolerate": ["$$SCONE::m$$"]}}, [ascii_("m", "debug")], "ok"),
    ({}, {"attestation": {"tolerate": ["$$SCONE::m$$"]}}, [ascii_("m", "outdated-tcb")], "debug_not_tolerated"),
    ({}, {"attestation": {"mode": "$$SCONE::m$$"}}, [ascii_("m", "none")], "ok"),
    ({}, {"attestation": {"mode": "$$SCONE::m$$"}}, [ascii_("m", "hardware")], "debug_not_tolerated"),
    ({}, attestation(mode="$$SCONE::m$$"), [ascii_("m", "maa")], "secret_unavailable"),
    ({}, attestation(trusted_scone_qe_pubkeys=["$$SCONE::m$$"]), [ascii_("m", OTHER)], "untrusted_quoting_key"),
    ({"pwd": "$$SCONE::m$$"}, None, [ascii_("m", "relative")], "secret_unavailable"),
]


@pytest.mark.parametrize(("service", "security", "secrets", "code"), FRAGMENTS)
def test_placeholders_are_resolved_when_a_service_attests(outcome, service, security, secrets, code: str) -> None:
    """What a secret puts into a demand counts as if it stood there, and is judged by the rules of the language."""
    assert outcome(session(service=service, security=security or attestation(), secrets=secrets)) == code


def test_placeholder_in_a_folder(cas, person) -> None:
    """The working directory is put together when the service attests."""
    cas.upload(session(service={"pwd": "/srv/$$SCONE::m$$"}, secrets=[ascii_("m", "data")]), person("ann"))
    assert EnclaveSide(cas).attest("app/main")[1]["working_directory"] == "/srv/data"


def test_imported_demands_follow_their_owner(cas, person) -> None:
    """When the owner changes the secret, the next enclave is judged by the new one: nothing is remembered."""
    owner = "name: own\nversion: '0.3.12'\nsecrets: [{name: m, kind: ascii, value: %s, export: {session: app}}]\n"
    first = cas.upload(owner % MEASUREMENT, person("ann"))
    importing = [{"name": "m", "kind": "ascii", "import": {"session": "own", "secret": "m"}}]
    cas.upload(session(service={"attestation": {"mrenclave": "$$SCONE::m$$"}}, secrets=importing), person("ann"))
    side = EnclaveSide(cas)
    assert [side.code("app/main"), side.code("app/main")] == ["ok", "ok"]
    second = cas.upload(owner % OTHER + f"predecessor: {first.hash}\n", person("ann"))
    assert side.code("app/main") == "unexpected_measurement"
    cas.upload(f"name: own\nversion: '0.3.12'\npredecessor: {second.hash}\n", person("ann"))
    assert side.code("app/main") == "secret_unavailable"


def test_refusals_do_not_show_the_secret(cas, person) -> None:
    """A refusal names the place, never what was put in."""
    cas.upload(
        session(service={"attestation": {"mrenclave": "$$SCONE::m$$"}}, secrets=[ascii_("m", "planted")]), person("ann")
    )
    _, error = EnclaveSide(cas).attest("app/main")
    assert error == {
        "code": "secret_unavailable",
        "message": "attestation.mrenclave: what the secrets put in here breaks a rule of the language",
    }


def test_own_command_and_key_without_tag(cas, person) -> None:
    """Without a command the image's own is meant; a key without a tag is delivered with none."""
    service = {"command": None, "fspf_key": "0a" * 32, "fspf_update_policy": "no_rollback_protection"}
    cas.upload(session(service=service), person("ann"))
    _, found = EnclaveSide(cas).attest("app/main")
    assert found["arguments"] == []
    assert found["protection"] == {"key": "0a" * 32, "tag": None}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(value=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), place=st.sampled_from("mtps"))
def test_any_secret_is_answered(cas, person, value: str, place: str) -> None:
    """Whatever text a secret holds, the service gets its configuration or a refusal, never a fault of the CAS."""
    service = {"m": {"attestation": {"mrenclave": ["$$SCONE::x$$"]}}, "p": {"platforms": ["$$SCONE::x$$"]}}
    tolerated = {"attestation": {"tolerate": ["debug-mode", "$$SCONE::x$$"] if place == "t" else ["debug-mode"]}}
    if place == "s":
        tolerated["attestation"]["one_time_password_shared_secret"] = "$$SCONE::x$$"  # type: ignore[assignment]
    secret = {"name": "x", "kind": "binary", "value": value.encode().hex() or "20", "export": {"session": "app"}}
    taken = {"name": "x", "import": {"session": "own", "secret": "x"}}
    owner = {"name": "own", "version": "0.3", "secrets": [secret]}
    for described in (owner, json.loads(session(service=service.get(place, {}), security=tolerated, secrets=[taken]))):
        before = cas.sessions.live(described["name"])
        cas.upload(json.dumps(described | ({"predecessor": before.hash} if before else {})), person("ann"))
    assert EnclaveSide(cas).attest("app/main")[0] in (200, 403)


def demanded(fragments: dict[str, object], **parts: object) -> AppraisalPolicy:
    """The terms of a session whose config fragments, of other sessions, have these values."""
    secrets = [
        {"name": name, "kind": "config-fragment", "import": {"session": "own", "secret": name}} for name in fragments
    ]
    found = parse(session(secrets=secrets, **parts))
    values = {name: Value(kind="config-fragment", content=dump(value).encode()) for name, value in fragments.items()}
    return terms(found, found.services["main"], PlaceholderSubstituter(found, values.__getitem__))


def test_fragments_stand_for_parts() -> None:
    """A config fragment is a whole part of the policy; a list of one is spliced into the list that it stands in."""
    whole = demanded(
        {"all": {"attestation": {"tolerate": ["debug"], "must_be_sgx_local": True}, "singleton_enclaves": True}},
        security="$$SCONE::all$$",
    )
    assert (whole.debug, whole.local, whole.singleton, whole.attested) == (True, True, True, True)
    part = demanded({"some": {"mode": "none"}}, security={"attestation": "$$SCONE::some$$"})
    assert not part.attested
    listed = demanded(
        {"more": [OTHER, "ef" * 32], "variants": [{"mrenclave": "11" * 32}, {"signer": {"mrsigner": OTHER}}]},
        service={"attestation": [{"mrenclave": [MEASUREMENT, "$$SCONE::more$$"]}, "$$SCONE::variants$$"]},
    )
    assert listed.measurements == tuple(sorted([MEASUREMENT, OTHER, "ef" * 32, "11" * 32]))
    assert listed.open


@pytest.mark.parametrize("value", [{"attestation": 1}, {"nothing": {}}, ["x"], 7, {"singleton_enclaves": "maybe"}])
def test_fragments_that_break_rules(value: object) -> None:
    """What a fragment makes of the policy is judged like the policy; a key that only the secret has is not shown."""
    with pytest.raises(UndeliverableError, match="breaks a rule") as refused:
        demanded({"all": value}, security="$$SCONE::all$$")
    assert "nothing" not in str(refused.value)


def test_closed_terms_are_kept(cas, person) -> None:
    """Without placeholders the policy is looked at once for each version and service."""
    cas.upload(session(), person("ann"))
    side = EnclaveSide(cas)
    side.code("app/main")
    (first,) = side.api._terms._known.values()
    side.code("app/main")
    assert [*side.api._terms._known.values()] == [first]
    assert not first.open


def test_a_fragment_decides_on_attestation(cas, person) -> None:
    """A config fragment of the session, tolerations and all, lets a service in; another version of it keeps it out."""
    fragment = {"name": "all", "kind": "config-fragment", "value": {"attestation": {"tolerate": ["debug-mode"]}}}
    first = cas.upload(session(security="$$SCONE::all$$", secrets=[fragment]), person("ann"))
    side = EnclaveSide(cas)
    assert side.code("app/main") == "ok"
    fragment["value"] = {"attestation": {"tolerate": ["outdated-tcb"]}, "singleton_enclaves": True}
    described = json.loads(session(security="$$SCONE::all$$", secrets=[fragment])) | {"predecessor": first.hash}
    cas.upload(json.dumps(described), person("ann"))
    assert side.code("app/main") == "debug_not_tolerated"
