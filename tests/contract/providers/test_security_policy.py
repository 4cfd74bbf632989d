"""`SecurityPolicy` as the engine speaks with it: checks, failures, unknowns, secrets; no CAS is needed for these."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pulumi.runtime.rpc import UNKNOWN

from scone_provider.resources.security_policy import SecurityPolicyProvider
from support.provider_process import ProviderProcess

Start = Callable[[Mapping[str, str]], ProviderProcess]
CAS = {"url": "cas.default", "tolerance": {"-G": True}}
IMAGE_KEY = base64.b64encode(bytes(range(32))).decode()
SECRET_MARK = "4dabf18193072939515e22adb298388d"
PLANTED = "planted-2c7e-secret"


def policy(**service: Any) -> dict[str, Any]:
    """A session with one service and two secrets."""
    return {
        "name": "acme/api",
        "version": "0.3.10",
        "secrets": {"given": {"kind": "ascii", "value": PLANTED}, "made": {"kind": "binary", "size": 16}},
        "services": {"api": {"command": "python3 a.py", "attestation": {"mrenclave": "ab" * 32}, **service}},
    }


@pytest.fixture
def process(provider_process: ProviderProcess) -> ProviderProcess:
    """Configured with an image key."""
    return provider_process


def test_check_canonicalises(process: ProviderProcess) -> None:
    """Lists and maps, other orders and spellings of the same policy give the same inputs, so no false diff."""
    wire = {
        "version": "0.3.10",
        "services": [{"name": "api", "attestation": [{"mrenclave": ["AB" * 32]}], "command": ["python3", "a.py"]}],
        "secrets": [
            {"name": "made", "size": 16.0, "kind": "binary"},
            {"name": "given", "kind": "ascii", "value": PLANTED},
        ],
        "name": "acme/api",
    }
    first, failures = process.check(SecurityPolicyProvider, {"cas": CAS, "policy": policy()})
    assert failures == []
    second, _ = process.check(SecurityPolicyProvider, {"cas": CAS, "policy": wire})
    assert first == second


def test_cautions_are_warnings(process: ProviderProcess) -> None:
    """What breaks no rule but is better known is told in the preview, and nothing is refused for it."""
    risky = {**policy(environment={"A": "$$SCONE::made$$"}), "security": {"attestation": {"ignore_advisories": "*"}}}
    before = len(process.messages())
    _, failures = process.check(SecurityPolicyProvider, {"cas": CAS, "policy": risky})
    assert failures == []
    told = process.messages()[before:]
    assert 'acme/api: security.attestation.ignore_advisories: "*" without debug-mode' in told
    assert "acme/api: services.api.environment.A: $$SCONE::made$$ may hold NUL" in told
    assert "Write $$SCONE::made:hex$$." in told


def test_explicit_secret_is_marked(process: ProviderProcess) -> None:
    """The value comes back wrapped as a secret, by `check` itself: the engine encrypts it whatever it knew before."""
    inputs, _ = process.check(SecurityPolicyProvider, {"cas": CAS, "policy": policy()})
    wrapped = inputs["policy"]["secrets"]["given"]["value"]
    assert wrapped["value"] == PLANTED
    assert SECRET_MARK in wrapped


def test_digest_follows_the_secret_but_cannot_be_guessed(start: Start, process: ProviderProcess) -> None:
    """Another secret value gives another digest over the policy; so does another image key: without it, no guess."""
    first, _ = process.check(SecurityPolicyProvider, {"cas": CAS, "policy": policy()})
    other = policy()
    other["secrets"]["given"]["value"] = "another"
    second, _ = process.check(SecurityPolicyProvider, {"cas": CAS, "policy": other})
    elsewhere = start({"scone:imageKey": base64.b64encode(bytes(32)).decode()})
    third, _ = elsewhere.check(SecurityPolicyProvider, {"cas": CAS, "policy": policy()})
    assert len({first["digest"], second["digest"], third["digest"]}) == 3


def test_without_image_key_only_the_digest_is_unknown(start: Start, process: ProviderProcess) -> None:
    """A pull request from outside still sees the whole policy."""
    known, _ = process.check(SecurityPolicyProvider, {"cas": CAS, "policy": policy()})
    found, failures = start({}).check(SecurityPolicyProvider, {"cas": CAS, "policy": policy()})
    assert failures == []
    assert found == {**known, "digest": UNKNOWN}


def test_wrong_image_key_is_said_without_it(start: Start) -> None:
    """A key of the wrong length is a failure that names the setting, not the value."""
    short = base64.b64encode(PLANTED.encode()).decode()
    _, failures = start({"scone:imageKey": short}).check(SecurityPolicyProvider, {"cas": CAS, "policy": policy()})
    ((name, reason),) = failures
    assert name == ""
    assert reason.startswith("scone:imageKey: the image key is not 32 bytes")
    assert short not in reason


def test_unknown_stays_as_small_as_it_is(process: ProviderProcess) -> None:
    """An unknown measurement is unknown itself, and so is the digest; all around it is known."""
    unknown = policy(attestation={"mrenclave": UNKNOWN}, fspf_tag=UNKNOWN, fspf_key="derived: acme/api")
    inputs, failures = process.check(SecurityPolicyProvider, {"cas": CAS, "policy": unknown})
    assert failures == []
    service = inputs["policy"]["services"]["api"]
    assert service == {
        "command": "python3 a.py",
        "attestation": {"mrenclave": UNKNOWN},
        "fspf_tag": UNKNOWN,
        "fspf_key": "derived: acme/api",
    }
    assert inputs["digest"] == UNKNOWN
    assert inputs["name"] == "acme/api"


def test_failure_names_path_and_no_value(process: ProviderProcess) -> None:
    """A broken rule has its path and no property name (which would make the engine print the value) and no secret."""
    broken = policy(command="")
    broken["secrets"]["given"]["kind"] = "binary"
    _, failures = process.check(SecurityPolicyProvider, {"cas": CAS, "policy": broken})
    assert failures
    text = "\n".join(reason for _, reason in failures)
    assert {name for name, _ in failures} == {""}
    assert "secrets.given" in text
    assert PLANTED not in text


def test_output_that_is_no_secret_is_refused(process: ProviderProcess) -> None:
    """What the program found to be plain is refused where the engine prints errors as text."""
    news = {"cas": CAS, "policy": policy(), "private": {"plain": "secrets.given.value"}}
    _, failures = process.check(SecurityPolicyProvider, news)
    ((name, reason),) = failures
    assert name == ""
    assert reason.startswith("secrets.given.value: this secret is given as plain text")
    assert PLANTED not in reason


def test_private_values_are_not_guessed_from_the_digest(start: Start, process: ProviderProcess) -> None:
    """A secret in a variable enters the digest keyed, as explicit secret values do; without a key it is unknown."""
    private = {"services": {"api": {"environment": {"TOKEN": True}}}}
    news: dict[str, Any] = {"cas": CAS, "policy": policy(environment={"TOKEN": PLANTED}), "private": private}
    del news["policy"]["secrets"]["given"]
    found, failures = process.check(SecurityPolicyProvider, news)
    assert failures == []
    assert found["private"] == private
    elsewhere, _ = start({"scone:imageKey": base64.b64encode(bytes(32)).decode()}).check(SecurityPolicyProvider, news)
    assert found["digest"] != elsewhere["digest"]
    nowhere, _ = start({}).check(SecurityPolicyProvider, news)
    assert nowhere["digest"] == UNKNOWN


def test_unknown_switch_is_refused(process: ProviderProcess) -> None:
    """A tolerance that nobody knows is an error which names it."""
    _, failures = process.check(
        SecurityPolicyProvider, {"cas": {"url": "cas", "tolerance": {"--no": True}}, "policy": policy()}
    )
    assert "--no" in failures[0][1]


def test_another_name_replaces_and_comes_first(process: ProviderProcess) -> None:
    """Another name is another policy: it is there before the old one is retired; only `name` is the reason."""
    old, _ = process.check(SecurityPolicyProvider, {"cas": CAS, "policy": policy()})
    new, _ = process.check(SecurityPolicyProvider, {"cas": CAS, "policy": {**policy(), "name": "acme/other"}})
    answer = process.diff(SecurityPolicyProvider, "acme/api", old, new)
    assert list(answer.replaces) == ["name"]
    assert not answer.deleteBeforeReplace


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"security": {"attestation": {"tolerate": ["debug-mode", "outdated-tcb"]}}}, "security.attestation.tolerate"),
        ({"security": {"attestation": {"mode": "none"}}}, "security.attestation.mode"),
        (
            {
                "secrets": {"made": {"kind": "config-fragment", "value": {"tolerate": ["debug"]}}},
                "security": {"attestation": "$$SCONE::made$$"},
            },
            "secrets.made.value",
        ),
        (
            {
                "secrets": {"made": {"kind": "config-fragment", "value": ["outdated-tcb", "debug-mode"]}},
                "security": {"attestation": {"tolerate": ["$$SCONE::made$$"]}},
            },
            "secrets.made.value",
        ),
    ],
)
def test_production_refuses_policies_for_testing(start: Start, change: dict[str, Any], where: str) -> None:
    """A policy is judged by what it says, wherever it says it: debug enclaves, no attestation, by fragment too."""
    production = start({"scone:imageKey": IMAGE_KEY, "scone:production": "true"})
    testing = start({"scone:imageKey": IMAGE_KEY})
    inputs = {"cas": CAS, "policy": policy() | change}
    assert testing.check(SecurityPolicyProvider, inputs)[1] == []
    ((name, reason),) = production.check(SecurityPolicyProvider, inputs)[1]
    assert name == ""
    assert reason.startswith(f"{where}: this stack is for production (scone:production)")
    assert "→" in reason
    assert production.check(SecurityPolicyProvider, {"cas": CAS, "policy": policy()})[1] == []


def test_production_refuses_the_policys_cas_too(start: Start) -> None:
    """A policy's own trust in its CAS is judged as that of a `Cas`; both places are named."""
    cas = {"url": "cas.default", "tolerance": {"--only_for_testing-trust-any": True}}
    debug = {"security": {"attestation": {"tolerate": ["debug-mode"]}}}
    process = start({"scone:imageKey": IMAGE_KEY, "scone:production": "true"})
    ((_, reason),) = process.check(SecurityPolicyProvider, {"cas": cas, "policy": policy() | debug})[1]
    assert "    cas.tolerance: --only_for_testing-trust-any\n" in reason
    assert "    security.attestation.tolerate: debug-mode\n" in reason
