"""Findings: direction by path, both ways; what is hidden, unknown or of an unknown kind is never passed over."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from scone_provider.review.collect import Review, review
from scone_provider.review.finding import Direction
from scone_provider.review.preview import read_preview
from support.preview_json import MESH, UNKNOWN, preview, step

ROOT = Path(__file__).parents[4]
W, N, C, R, G, NEUTRAL = (
    Direction.WIDENS,
    Direction.NARROWS,
    Direction.CHANGES,
    Direction.RESTARTS,
    Direction.REGENERATES,
    Direction.NEUTRAL,
)
POLICY: dict[str, Any] = {
    "name": "shop/api",
    "version": "0.3.10",
    "access_policy": {"read": {"CREATOR": True}, "update": {"CREATOR": True}},
    "services": {"api": {"command": "api", "attestation": {"mrenclave": "aa"}, "fspf_tag": "bb"}},
    "secrets": {"password": {"kind": "ascii", "size": 10}},
    "security": {"attestation": {"tolerate": {"debug-mode": True}}},
}


def reviewed(*steps: dict[str, Any], **more: Any) -> Review:
    """The review of a preview with these steps."""
    return review(read_preview(preview(*steps, **more)))


def policy_step(old: dict[str, Any], new: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A policy that becomes another one."""
    return step("SecurityPolicy", "api", {"policy": old, "digest": "1"}, {"policy": new, "digest": "2"}, **more)


def edited(path: str, value: object) -> dict[str, Any]:
    """The policy with one place set, or taken out where the value is None."""
    found = copy.deepcopy(POLICY)
    *way, last = path.split("/")
    here = found
    for key in way:
        here = here.setdefault(key, {})
    if value is None:
        del here[last]
    else:
        here[last] = value
    return found


def told(found: Review, *, without: Direction = NEUTRAL) -> list[tuple[Direction, str]]:
    """Direction and path of all findings that say something."""
    return [(one.direction, one.path) for one in found.findings if one.direction is not without]


@pytest.mark.parametrize(
    ("edit", "there", "back"),
    [
        (("access_policy/read/" + "ab" * 32, True), (W, "access_policy.read"), (N, "access_policy.read")),
        (("access_policy/update/" + "ab" * 32, True), (W, "access_policy.update"), (N, "access_policy.update")),
        (("services/web", {"command": "web"}), (W, "services.web"), (N, "services.web")),
        (("services/api/fspf_tag", None), (W, "services.api.fspf_tag"), (N, "services.api.fspf_tag")),
        (("services/api/attestation/mrenclave", "cc"), (C, "services.api.attestation.mrenclave"), None),
        (("services/api/command", "api --debug"), (C, "services.api.command"), None),
        (
            ("security/attestation/tolerate/hyperthreading", True),
            (W, "security.attestation.tolerate.hyperthreading"),
            (N, "security.attestation.tolerate.hyperthreading"),
        ),
        (("secrets/token", {"kind": "ascii", "size": 4}), (C, "secrets.token"), (G, "secrets.token")),
        (("secrets/password/size", 12), (G, "secrets.password"), (G, "secrets.password")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and isinstance(value[0], str) else None,
)
def test_policies_both_ways(
    edit: tuple[str, object], there: tuple[Direction, str], back: tuple[Direction, str] | None
) -> None:
    """Each edit has its direction, and taking it back has the opposite one (the same one for another program)."""
    other = edited(*edit)
    assert there in told(reviewed(policy_step(POLICY, other)))
    assert (back or there) in told(reviewed(policy_step(other, POLICY)))


def service(**values: object) -> dict[str, Any]:
    """Inputs of a release with one service."""
    return {"values": {"services": {"a": {"port": 1} | values}}}


@pytest.mark.parametrize(
    ("kind", "old", "new", "expected"),
    [
        ("Cas", {"url": "a"}, {"url": "b"}, (W, "url")),
        ("Cas", {"key": "a"}, {}, (W, "key")),
        ("Cas", {}, {"key": "a"}, (N, "key")),
        ("Cas", {"key": "a"}, {"key": "b"}, (W, "key")),
        ("Cas", {"tolerance": {}}, {"tolerance": {"-G": True}}, (W, "tolerance.-G")),
        ("Cas", {"tolerance": {"-G": True}}, {"tolerance": {}}, (N, "tolerance.-G")),
        ("Cas", {}, {"tolerance": {"-S": True}}, (W, "tolerance.-S")),
        ("SecurityPolicy", {"cas": {"url": "a"}}, {"cas": {"url": "b"}}, (W, "cas.url")),
        ("SealedPolicy", {"recipient": "a"}, {"recipient": "b"}, (W, "recipient")),
        ("ConfidentialImage", {"files": {"/a.py": "1"}}, {"files": {"/a.py": "2"}}, (C, "files./a.py")),
        ("ConfidentialImage", {"base": {"digest": "1"}}, {"base": {"digest": "2"}}, (C, "base.digest")),
        ("ConfidentialImage", {"something": "1"}, {"something": "2"}, (W, "something")),
        ("Release", service(sgx="scone"), service(sgx="disabled"), (W, "values.services.a.sgx")),
        ("Release", {"values": {}}, {"values": {"networkPolicy": {"open": True}}}, (W, "values.networkPolicy.open")),
        ("Release", service(), service(securityContext="x"), (W, "values.services.a.securityContext")),
    ],
)
def test_what_is_not_a_policy_decides_trust_as_well(
    kind: str, old: dict[str, Any], new: dict[str, Any], expected: tuple[Direction, str]
) -> None:
    """The table of inputs, and that what it does not know widens."""
    old, new = ({"kept": "1"} | side for side in (old, new))
    assert told(reviewed(step(kind, "x", old, new))) == [expected]


def recorded_resources() -> list[dict[str, Any]]:
    """Our resources in the states that releases left."""
    states = sorted((ROOT / "tests" / "upgrade").rglob("state.json"))
    found = [one for path in states for one in json.loads(path.read_text())["deployment"]["resources"]]
    return [one for one in found if "dynamic/scone" in one["type"] or "helm.sh" in one["type"]]


def test_the_table_knows_every_input_that_resources_have() -> None:
    """Nothing of a state that exists is judged as 'nothing here knows': each leaf is changed once."""
    resources = recorded_resources()
    assert len(resources) > 10
    for one in resources:
        kind, name = one["type"].rpartition(":")[2], one["urn"].rpartition("::")[2]
        new = {key: value for key, value in one["inputs"].items() if not key.startswith("__")}
        found = reviewed(step(kind, name, {"kept": "1"}, new | {"kept": "1"}))
        assert [finding for finding in found.findings if "nothing here knows" in finding.meaning] == [], one["urn"]


def test_a_hidden_value_that_changes_is_told() -> None:
    """Both sides are [secret]: that it changes is seen by the engine alone, and said, with the policy's digest."""
    path = "policy.services.api.environment.PASSWORD"
    both = edited("services/api/environment", {"PASSWORD": "[secret]"})
    (one,) = [one for one in reviewed(policy_step(both, both, paths=[path])).findings if one.direction is C]
    assert (one.path, one.before, one.after, one.digest) == (path.removeprefix("policy."), "[secret]", "[secret]", "2")


def test_a_policy_that_is_hidden_as_a_whole_widens() -> None:
    """Nobody can see who is trusted: that is the worst case, not an unchanged policy."""
    found = reviewed(step("SecurityPolicy", "api", {"policy": "[secret]"}, {"policy": "[secret]"}, paths=["policy"]))
    assert found.worst is W


def test_what_is_not_known_yet_is_a_change() -> None:
    """An image that is built only by `up`: another program, whichever."""
    new = edited("services/api/attestation/mrenclave", UNKNOWN)
    (one,) = [one for one in reviewed(policy_step(POLICY, new)).findings if one.direction is C]
    assert one.path == "services.api.attestation.mrenclave"


@pytest.mark.parametrize("op", ["delete", "replace"])
def test_a_policy_that_goes_takes_its_secrets_with_it(op: str) -> None:
    """Deleted, or replaced by one of another name: what CAS generated is lost, by name."""
    new = {} if op == "delete" else {"policy": POLICY | {"name": "shop/other"}}
    found = reviewed(step("SecurityPolicy", "api", {"policy": POLICY}, new, op=op))
    assert (G, "secrets.password") in told(found)


def test_restarts_are_named_by_service_and_place() -> None:
    """Which pods start anew, why, what becomes of their data, and where the service is described."""
    service = {
        "image": "i@1",
        "policy_digest": "1",
        "kind": "Deployment",
        "service": "api",
        "where": "mesh.yaml:4, api.yaml:7",
    }
    old, new = {"services": {"api": service}}, {"services": {"api": service | {"policy_digest": "2"}}}
    values = {"values": {"services": {"api": {"volumes": {"data": {"path": "/data"}}}}}}
    found = reviewed(step("Rollout", "r", old, new), step("Release", "r", values, values, op="same"))
    (one,) = found.of(R)
    assert (one.service, one.place) == ("api", "api.yaml:7")
    assert "what is in the volume data goes with it" in one.meaning
    assert "policy" in one.meaning
    assert "image" not in one.meaning


def test_a_kept_volume_means_a_gap() -> None:
    """One writer: the old pod ends first, and its data stays."""
    old, new = ({"services": {"db": {"image": image}}} for image in "12")
    values = {"values": {"services": {"db": {"volumes": {"data": {"size": "1Gi"}}}}}}
    (one,) = reviewed(step("Rollout", "r", old, new), step("Release", "r", values, values, op="same")).of(R)
    assert "the old pod ends before the new one starts" in one.meaning
    assert "goes with it" not in one.meaning


def test_lines_that_moved_are_no_finding() -> None:
    """Places are told, never compared."""
    old, new = ({"services": {"api": {"image": "i", "where": f"mesh.yaml:{line}"}}} for line in (4, 5))
    assert reviewed(step("Rollout", "r", old, new)).findings == ()


def test_order_of_steps_does_not_matter() -> None:
    """The engine's order of resources that do not depend on each other is not stable; the review's is."""
    steps = [
        policy_step(POLICY, edited("services/api/command", "b")),
        step("Cas", "c", {"url": "a"}, {"url": "b"}),
        step("ConfidentialImage", "i", {"pwd": "/a"}, {"pwd": "/b"}),
    ]
    assert reviewed(*steps) == reviewed(*reversed(steps))


def test_one_change_of_many_policies_is_said_once() -> None:
    """Another CAS in each of fifty policies is one line that names them."""
    steps = [step("SecurityPolicy", f"s{n:02}", {"cas": {"url": "a"}}, {"cas": {"url": "b"}}) for n in range(50)]
    (one,) = reviewed(*steps).of(W)
    assert one.resource.startswith("SecurityPolicy s00, ")
    assert one.resource.count("SecurityPolicy") == 50


def test_copies_of_settings_in_providers_are_left_out() -> None:
    """A rotated stack secret updates the engine's own copy of it; it is counted, and is no change of ours."""
    one = {
        "op": "update",
        "urn": "urn:pulumi:dev::shop::pulumi:providers:pulumi-python::default",
        "oldState": {"inputs": {"a": "1"}},
        "newState": {"inputs": {"a": "2"}},
    }
    found = reviewed(one)
    assert (found.findings, found.others, found.copies) == ((), (), 1)


def test_warnings_that_are_findings_stand_once() -> None:
    """What `up` warns of and the review says itself is not said twice; the rest is kept; errors are errors."""
    new = edited("secrets/password/size", 12)
    (words,) = [one.meaning for one in reviewed(policy_step(POLICY, new)).of(G)]
    messages = [
        {"severity": "info#err", "message": f"warning: shop/api: {words}\n"},
        {"severity": "warning", "message": "warning: no owners are named\n", "urn": f"{MESH}::notes"},
        {"severity": "warning", "message": "warning: of the program\n"},
        {"severity": "error", "message": "error: it broke\n"},
    ]
    found = reviewed(policy_step(POLICY, new), diagnostics=messages)
    assert (found.warnings, found.standing) == (("of the program",), ("no owners are named",))
    assert found.errors == ("it broke",)
