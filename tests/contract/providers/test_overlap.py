"""Rollouts that overlap, from the side of the policy: what CAS trusts at each moment, and who made it so."""

import json
from collections.abc import Mapping
from typing import Any

import grpc
import pytest

import scone_policy
from scone_provider.policy.revisions import Revision
from scone_provider.resources.released_revision import ReleasedRevisionProvider
from scone_provider.resources.security_policy import SecurityPolicyProvider
from support.overlapping import Overlapping
from support.policy_stack import SWITCHES, policy, put, versions
from support.provider_process import ProviderProcess
from support.real_cas import RealCas

PLANTED = "planted-91ab-secret"


@pytest.fixture
def overlapping(stack_process: ProviderProcess, real_cas: RealCas) -> Overlapping:
    """A stack of ann's."""
    return Overlapping(stack_process, f"127.0.0.1:{real_cas.port}")


def test_released_revision_stays_until_the_next_is_released(overlapping: Overlapping, name, trusted) -> None:
    """While a rollout runs both are trusted, after it the new one alone; nothing is left to do then."""
    first = overlapping.release(policy(name))
    assert trusted() == {first}
    second = overlapping.announce(policy(name, user="second"))
    assert trusted() == {first, second}
    overlapping.succeed()
    assert trusted() == {second}
    assert overlapping.refresh() == ""
    assert overlapping.preview(policy(name, user="second"), overlap=True) == set()


def test_failed_rollouts_are_forgotten_the_released_one_is_not(overlapping: Overlapping, name, trusted) -> None:
    """However many rollouts fail in a row, with refreshes between them: the released revision and the newest stay."""
    first = overlapping.release(policy(name))
    for user in ("second", "third", "fourth"):
        newest = overlapping.announce(policy(name, user=user))
        assert trusted() == {first, newest}
        assert overlapping.refresh() == ""
    overlapping.succeed()
    assert trusted() == {newest}


def test_first_rollout_that_failed_is_not_kept(overlapping: Overlapping, name, trusted) -> None:
    """What never was released is not trusted any longer than it is wanted."""
    overlapping.announce(policy(name))
    second = overlapping.announce(policy(name, user="second"))
    assert trusted() == {second}


def test_going_back_to_the_released_one(overlapping: Overlapping, name, trusted) -> None:
    """A program that is set back after a failure trusts the released revision alone, at once."""
    first = overlapping.release(policy(name))
    overlapping.announce(policy(name, user="second"))
    assert overlapping.announce(policy(name)) == first
    assert trusted() == {first}
    overlapping.succeed()
    third = overlapping.announce(policy(name, user="third"))
    assert trusted() == {first, third}


def test_injected_files_overlap_too(overlapping: Overlapping, name, client) -> None:
    """A revision covers the files that are injected into it: each of the two gets its own."""
    for content in ("one", "two"):
        wanted = policy(name, images={"api": {"injection_files": {"/etc/a": {"content": content}}}})
        wanted["services"]["api"]["image_name"] = "api"
        revision = overlapping.announce(wanted)
        if content == "one":
            overlapping.succeed()
            first = revision
    session = scone_policy.parse(client.read(name).description_yaml)
    for called, content in ((first, "one"), (revision, "two")):
        assert session.services[called].image_name == called
        assert session.images[called].injection_files["/etc/a"].content == content
    assert overlapping.refresh() == ""


def test_drift_is_never_kept(overlapping: Overlapping, name, client, trusted) -> None:
    """What somebody else makes of the released revision shows as drift, and is not what the next rollout keeps."""
    first = overlapping.release(policy(name))
    stored = json.loads(json.dumps(scone_policy.parse(client.read(name).description_yaml).canonical()))
    stored["services"][first]["environment"]["USER"] = "mallory"
    stored["services"]["evil"] = stored["services"][first]
    put(client, stored)
    assert "[secret]" in overlapping.refresh()
    assert "policy" in overlapping.preview(policy(name), overlap=True)
    second = overlapping.announce(policy(name, user="second"))
    assert trusted() == {first, second}
    kept = scone_policy.parse(client.read(name).description_yaml).services[first]
    assert kept.environment["USER"] == "myself"
    overlapping.succeed()
    assert trusted() == {second}


def test_change_behind_the_rollout_stops_it(overlapping: Overlapping, name, client, trusted) -> None:
    """A version that comes between the rollout's start and its end is not built upon: the record says so."""
    first = overlapping.release(policy(name))
    second = overlapping.announce(policy(name, user="second"))
    stored = json.loads(json.dumps(scone_policy.parse(client.read(name).description_yaml).canonical()))
    put(client, {**stored, "access_policy": {"read": ["ANY"]}})
    with pytest.raises(grpc.RpcError, match="someone else changed this policy"):
        overlapping.succeed()
    with pytest.raises(grpc.RpcError, match="own key wrote versions that its state does not have"):
        overlapping.announce(policy(name, user="third"))
    assert trusted() == {first, second}


def test_end_of_a_rollout_whose_answer_got_lost(overlapping: Overlapping, name, client, trusted) -> None:
    """A record that was not kept (a killed engine) is made again, from what CAS has; no version comes twice."""
    overlapping.release(policy(name))
    overlapping.announce(policy(name, user="second"))
    record = dict(overlapping.record or {})
    overlapping.succeed()
    count = len(versions(client, name))
    overlapping.record = record
    overlapping.succeed()
    assert len(versions(client, name)) == count
    assert trusted() == {overlapping.inputs["revision"]}


def test_policy_whose_upload_got_lost(overlapping: Overlapping, name, client, trusted) -> None:
    """An engine that was killed after the upload finds its own version, and keeps what it kept."""
    first = overlapping.release(policy(name))
    state, inputs = overlapping.state, overlapping.inputs
    overlapping.announce(policy(name, user="second"))
    count = len(versions(client, name))
    overlapping.state, overlapping.inputs = state, inputs
    second = overlapping.announce(policy(name, user="second"))
    assert len(versions(client, name)) == count
    assert trusted() == {first, second}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"security": {"attestation": {"tolerate": ["debug-mode"]}}}, "security"),
        ({"secrets": {"token": {"kind": "ascii", "size": 30}}}, "secrets.token"),
        ({"secrets": {}}, "secrets.token"),
        ({"volumes": {"data": {"update_policy": "ephemeral"}}}, "volumes.data"),
    ],
)
def test_what_is_shared_cannot_change(overlapping: Overlapping, name, change: Mapping[str, Any], what: str) -> None:
    """A change that would hit pods of the released revision, too, is refused with its path and the way out."""
    before: dict[str, Any] = {"secrets": {"token": {"kind": "ascii", "size": 20}}, "volumes": {"data": {}}}
    overlapping.release(policy(name, **before))
    program = {"cas": {"url": overlapping.url, "tolerance": SWITCHES}, "policy": policy(name, **{**before, **change})}
    _, failures = overlapping._process.check(SecurityPolicyProvider, {**program, "overlap": True}, overlapping.inputs)
    ((_, reason),) = failures
    assert what in reason
    assert 'give "rollout": "replace"' in reason
    inputs, failures = overlapping._process.check(SecurityPolicyProvider, program, overlapping.inputs)
    assert failures == []
    assert "revision" not in inputs


def test_new_secrets_and_owners_are_no_obstacle(overlapping: Overlapping, name, trusted) -> None:
    """What hits no running pod is carried out; with the same revision nothing is rolled out."""
    first = overlapping.release(policy(name))
    more: dict[str, Any] = {"secrets": {"new": {"kind": "ascii"}}, "access_policy": {"read": ["ANY"]}}
    assert overlapping.release(policy(name, **more)) == first
    assert trusted() == {first}
    second = overlapping.announce(policy(name, user="second", **more))
    assert trusted() == {first, second}


def test_key_that_every_version_makes_anew_is_refused(overlapping: Overlapping, name) -> None:
    """Two revisions could not share it: the refusal says what keeps it."""
    wanted = policy(name, secrets={"key": {"kind": "private-key"}})
    program = {"cas": {"url": overlapping.url, "tolerance": SWITCHES}, "policy": wanted, "overlap": True}
    _, ((_, reason),) = overlapping._process.check(SecurityPolicyProvider, program)
    assert "secrets.key" in reason
    assert "migrate: true" in reason
    wanted["secrets"]["key"]["migrate"] = True
    assert overlapping._process.check(SecurityPolicyProvider, program)[1] == []


def test_overlap_can_be_given_and_taken_back(overlapping: Overlapping, name, trusted) -> None:
    """From replace to overlap and back each policy trusts what it says alone."""
    overlapping.up(policy(name))
    assert trusted() == {"api"}
    first = overlapping.release(policy(name))
    assert trusted() == {first}
    overlapping.up(policy(name, user="second"))
    assert trusted() == {"api"}
    overlapping.destroy()
    assert trusted() == set()


@pytest.mark.parametrize("is_released", [True, False])
def test_another_pin_uploads_nothing(overlapping: Overlapping, real_cas, client, name, is_released) -> None:
    """Neither the policy nor the end of its rollout writes a version for a pin, released or not."""
    first = overlapping.release(policy(name))
    second = overlapping.announce(policy(name, user="second"))
    if is_released:
        overlapping.succeed()
    before = versions(client, name)
    pinned = {"url": overlapping.url, "tolerance": SWITCHES, "key": real_cas.key_hash}
    assert overlapping.announce(policy(name, user="second"), cas=pinned) == second
    assert versions(client, name) == before
    overlapping.succeed()
    assert len(versions(client, name)) == len(before) + (not is_released)
    third = overlapping.announce(policy(name, user="third"), cas=pinned)
    stored = client.read(name)
    assert stored is not None
    assert set(scone_policy.parse(stored.description_yaml).services) == {second, third} != {first, third}


def test_destroyed_after_a_release(overlapping: Overlapping, name, trusted) -> None:
    """The record's version is the stack's own: nothing stands in the way of retiring the policy."""
    overlapping.release(policy(name))
    overlapping.destroy()
    assert trusted() == set()


def test_secrets_of_what_is_kept_are_secrets(overlapping: Overlapping, name) -> None:
    """State has the kept revision as a secret, and a conflict does not print what stands in it."""
    private = {"services": {"api": {"environment": {"USER": True}}}}
    overlapping.release(policy(name, user=PLANTED), private=private)
    assert overlapping.state is not None
    news = overlapping.check(policy(name, user="second"), overlap=True, private=private)
    raw = overlapping._process.update(SecurityPolicyProvider, overlapping.id, overlapping.state, news)
    assert raw["kept"]["4dabf18193072939515e22adb298388d"]
    kept = Revision.of_json(raw["kept"]["value"])
    assert kept is not None
    assert kept.service["environment"]["USER"] == PLANTED
    assert PLANTED not in repr(kept)
    assert PLANTED not in overlapping._process.messages()


def test_unknown_parts_leave_the_revision_unknown_and_nothing_else(overlapping: Overlapping, name) -> None:
    """An image that is not built yet: its measurement and the revision are unknown, the rest of the policy is known."""
    from pulumi.runtime.rpc import UNKNOWN

    wanted = policy(name)
    wanted["services"]["api"]["fspf_tag"] = UNKNOWN
    wanted["services"]["api"]["fspf_key"] = "0" * 64
    program = {"cas": {"url": overlapping.url, "tolerance": SWITCHES}, "policy": wanted, "overlap": True}
    inputs, failures = overlapping._process.check(SecurityPolicyProvider, program)
    assert failures == []
    assert inputs["revision"] == UNKNOWN
    assert inputs["policy"]["services"]["api"]["command"] == "/app/api"


def test_preview_says_what_stays_trusted_and_until_when(overlapping: Overlapping, name) -> None:
    """In words, in a preview only, and only where the revision changes; `up` says when the trust ended."""
    first = overlapping.release(policy(name))
    record = {key: (overlapping.record or {})[key] for key in ("cas", "name", "revision", "version", "attested_key")}
    process = overlapping._process
    for changes, said in (
        ({"preview": True}, ""),
        ({"preview": False, "revision": "api-new"}, ""),
        ({"preview": True, "revision": "api-new"}, f"{first}, stays trusted beside the new one, api-new, until the"),
    ):
        before = len(process.messages())
        _, failures = process.check(ReleasedRevisionProvider, {**record, **changes}, record)
        assert failures == []
        told = process.messages()[before:]
        assert said in told
        assert bool(told) == bool(said)
    before = len(process.messages())
    second = overlapping.release(policy(name, user="second"))
    assert f"{second} is released; {first} is not trusted any more" in process.messages()[before:]
