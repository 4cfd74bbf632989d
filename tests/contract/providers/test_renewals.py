"""What an update costs at CAS is said before, nothing is uploaded for nothing, and the digest tells other values."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

import scone_policy
from support.policy_stack import SWITCHES, PolicyStack, put, versions
from support.real_cas import RealCas
from support.secret_session import received, secret_session

PLAIN: dict[str, Any] = {"kind": "private-key"}
KEPT = {**PLAIN, "migrate": True}
ASCII = {"kind": "ascii", "size": 8}
FORMS = {"x509": ":crt", "pgp-key": ":publickey:base64", "binary": ":hex"}
CERT = {"kind": "x509", "private_key": "key"}

Policy = Callable[..., dict[str, Any]]


@pytest.fixture
def with_secrets(name: str, rights: dict[str, Any]) -> Policy:
    """A policy with these secrets, which its one service receives."""

    def make(secrets: dict[str, Any], *, user: str = "myself", **changes: Any) -> dict[str, Any]:
        forms = [f"{key}{FORMS.get(one['kind'], '')}" for key, one in secrets.items()]
        text = secret_session(secrets, forms, name=name, environment={"USER": user})
        return scone_policy.parse(text).canonical() | rights | changes

    return make


@pytest.fixture
def told(stack: PolicyStack) -> Callable[..., str]:
    """What a preview of the policy says, beside its diff."""

    def messages(wanted: dict[str, Any], **more: Any) -> str:
        before = len(stack._process.messages())
        stack.check(wanted, **more)
        return stack._process.messages()[before:]

    return messages


@pytest.mark.parametrize(
    "case",
    [
        ({"key": PLAIN}, {"key": PLAIN}, ["generate the secret key anew, because every version", "Give it migrate"]),
        ({"key": PLAIN}, {"key": KEPT}, ["generate the secret key anew, because CAS keeps", "This once cannot be"]),
        ({"key": KEPT}, {"key": PLAIN}, ["generate the secret key anew, because migrate: true is taken away"]),
        ({"key": KEPT}, {"key": {**KEPT, "key_type": "P-384"}}, ["its key_type changes (P-256 → P-384)"]),
        (
            {"key": PLAIN, "cert": CERT},
            {"key": PLAIN, "cert": CERT},
            ["the secret key anew", "generate the secret cert anew, because its private key, key, is made anew"],
        ),
        ({"key": KEPT, "cert": CERT}, {"key": KEPT, "cert": CERT}, ["these certificates anew: cert; every version"]),
        ({"s": ASCII}, {"s": {**ASCII, "size": 9}}, ["generate the secret s anew, because its size changes (8 → 9)"]),
        ({"s": ASCII}, {"s": {"kind": "ascii", "value": "x"}}, ["forget the secret s, because it is given from now"]),
        ({"s": {"kind": "ascii", "value": "x"}}, {"s": ASCII}, ["the secret s anew, because the value that was given"]),
        ({"old": ASCII}, {"new": ASCII}, ["forget the secret old, because it is taken out", "under another name"]),
        ({"s": ASCII, "t": {"kind": "pgp-key"}}, {"s": ASCII, "t": {"kind": "pgp-key"}}, []),
    ],
)
def test_each_value_that_goes_is_named(stack, told, with_secrets, case) -> None:
    """In the preview of an edit elsewhere (a variable), and again in the `up`; unedited, the policy costs nothing."""
    before, after, words = case
    first, second = with_secrets(before), with_secrets(after)
    stack.up(first)
    assert "anew" not in told(first)
    edited = {**second, "services": _other_variable(second)}
    text = told(edited)
    for word in words:
        assert word in text, text
    assert bool(words) == ("CAS will" in text)


def _other_variable(policy: dict[str, Any]) -> dict[str, Any]:
    ((name, service),) = policy["services"].items()
    return {name: {**service, "environment": {**service["environment"], "USER": "other"}}}


def test_importers_and_what_a_secret_decides_are_named(stack, told, with_secrets, name) -> None:
    """Who else gets the value, and where it decides who may do what."""
    secret = {"kind": "binary", "export": [{"session": f"{name[:40]}-b"}, {"namespace": "team"}]}
    volume = {"volumes": {"v": {"fspf_key": "$$SCONE::s$$", "fspf_tag": "0" * 32}}}
    stack.up(with_secrets({"s": {**secret, "value": "ab" * 32}}, **volume))
    text = told(with_secrets({"s": {**secret, "size": 32}}, **volume))
    assert f"every session in team, {name[:40]}-b may import it" in text
    assert "volumes.v.fspf_key follows the new value" in text


@pytest.mark.parametrize("change", ["pin", "tolerance", "name", "back"])
def test_another_way_to_trust_the_same_cas_uploads_nothing(
    stack, real_cas: RealCas, with_secrets, stored, change
) -> None:
    """A pin, a switch or another name for the CAS: attested anew, and every value stays."""
    policy = with_secrets({"key": PLAIN, "cert": CERT, "s": ASCII})
    trust: dict[str, Any] = {"url": stack.url, "tolerance": SWITCHES}
    stack.up(policy)
    name = policy["name"]
    before, known, digest = received(real_cas.enclave, name), stored(), stack.inputs["digest"]
    edits = {
        "pin": {**trust, "key": real_cas.key_hash},
        "tolerance": {**trust, "tolerance": {**SWITCHES, "-C": True}},
        "name": {**trust, "url": stack.url.replace("127.0.0.1", "localhost")},
    }
    steps = [edits["pin"], trust] if change == "back" else [edits[change]]
    for cas in steps:
        text = _messages(stack, policy, cas)
        assert "CAS will" not in text
        assert ("another CAS generates all secrets anew" in text) == (change == "name")
        stack.up(policy, cas=cas)
    assert stored() == known
    assert received(real_cas.enclave, name) == before
    assert stack.inputs["digest"] == digest
    assert stack.refresh() == ""


def _messages(stack: PolicyStack, policy: dict[str, Any], cas: dict[str, Any]) -> str:
    before = len(stack._process.messages())
    stack.check(policy, cas=cas)
    return stack._process.messages()[before:]


def test_a_wrong_pin_is_still_refused(stack, with_secrets, stored) -> None:
    """Nothing to upload is no reason to trust: the CAS must have the key that is pinned now."""
    policy = with_secrets({"s": ASCII})
    stack.up(policy)
    other = "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"
    with pytest.raises(grpc.RpcError, match=other):
        stack.up(policy, cas={"url": stack.url, "tolerance": SWITCHES, "key": other})
    assert len(stored()) == 1


def test_digest_tells_when_values_may_be_others(stack, theirs, with_secrets, real_cas: RealCas, name) -> None:
    """Drift that cost a value and was put right is another digest, known in the preview; other drift is not."""
    policy = with_secrets({"s": ASCII, "key": KEPT, "cert": CERT})
    stack.up(policy)
    digest, first = stack.inputs["digest"], received(real_cas.enclave, name)["s"]

    theirs(with_secrets({"s": ASCII, "key": KEPT, "cert": CERT}, user="mallory"))
    stack.refresh()
    stack.up(policy)
    assert stack.inputs["digest"] == digest
    assert received(real_cas.enclave, name)["s"] == first

    theirs(with_secrets({"s": {**ASCII, "size": 9}, "key": KEPT, "cert": CERT}))
    assert "CAS made anew secrets.s, because its size changes (8 → 9)" in stack.refresh()
    assert stack.preview(policy) == {"policy", "digest", "changed_elsewhere"}
    planned = stack.check(policy)["digest"]
    stack.up(policy)
    assert stack.inputs["digest"] == planned != digest
    assert received(real_cas.enclave, name)["s"] != first
    assert stack.preview(policy) == set()
    assert stack.refresh() == ""
    assert stack.preview(policy) == set()


def test_digest_tells_values_that_were_others_for_a_while(stack, theirs, with_secrets) -> None:
    """Changed and changed back, also by an upload of the same text: the text is the same, a value is not."""
    policy = with_secrets({"s": ASCII, "key": PLAIN})
    stack.up(policy)
    digest = stack.inputs["digest"]
    theirs(policy)
    assert "nothing changed; CAS made anew secrets.key" in "; ".join(
        line.strip() for line in stack.refresh().splitlines()
    )
    assert stack.preview(policy) == {"changed_elsewhere"}
    assert stack.inputs["digest"] != digest
    stack.up(policy)
    assert stack.inputs["digest"] == f"{digest}.1"
    theirs(with_secrets({"s": {"kind": "ascii", "value": "theirs"}, "key": KEPT}))
    theirs(policy)
    stack.refresh()
    stack.up(policy)
    assert stack.inputs["digest"] == f"{digest}.2"


def test_digest_tells_an_upload_that_was_taken_back(stack, with_secrets) -> None:
    """There and back again within the program: pods of the first text hold what CAS does not have any more."""
    policy, other = with_secrets({"s": ASCII}), with_secrets({"s": {**ASCII, "size": 9}})
    stack.up(policy)
    digest = stack.inputs["digest"]
    stack.up(other)
    stack.up(policy)
    assert stack.inputs["digest"] == f"{digest}.2"
    stack.up(with_secrets({"s": ASCII}, user="other"))
    stack.up(policy)
    assert stack.inputs["digest"] == f"{digest}.2"


def test_taking_over_says_what_it_costs(stack, theirs, with_secrets) -> None:
    """What is adopted with another content is uploaded: what CAS makes anew by that is named."""
    theirs(with_secrets({"key": PLAIN}))
    before = len(stack._process.messages())
    stack.up(with_secrets({"key": PLAIN}, user="other"), adopt=True)
    assert "CAS will generate the secret key anew" in stack._process.messages()[before:]


def shared(name: str, *updaters: str) -> dict[str, Any]:
    """A policy that CREATOR and these may update."""
    entries = ["CREATOR", *updaters]
    text = secret_session({"s": ASCII}, ["s"], name=name)
    return scone_policy.parse(text).canonical() | {"access_policy": {"read": entries, "update": entries}}


def test_creator_beside_others_is_warned_of(told, name, ann, bob) -> None:
    """Whose upload ends which rights, this stack's own key to be named, and no word where that is named already."""
    text = told(shared(name, bob.key_hash))
    assert "access_policy: CREATOR is whoever uploaded the newest version" in text
    assert f"After an upload by {bob.key_hash} it is that key, and {ann.key_hash} may no longer read or update" in text
    for safe in (shared(name), shared(name, ann.key_hash), shared(name, ann.key_hash, bob.key_hash)):
        assert "CREATOR" not in told(safe)
    readers = {**shared(name), "access_policy": {"update": [ann.key_hash, bob.key_hash]}}
    assert f"{ann.key_hash} may no longer read." in told(readers)


def test_creator_that_moved_is_told_with_the_way_back(stack, real_cas: RealCas, name, ann, bob) -> None:
    """Somebody uploads the same text: nothing is uploaded over it, the stack hears who CREATOR is, and gets back."""
    policy = shared(name, bob.key_hash) | {"access_policy": {"read": ["ANY"], "update": ["CREATOR", bob.key_hash]}}
    stack.up(policy)
    put(real_cas.client(bob), policy)
    text = stack.refresh()
    assert f"{bob.key_hash} uploaded the newest version, so that CREATOR is that key" in text
    assert f"this stack ({ann.key_hash}) may no longer update" in text
    assert f"whoever has the key {bob.key_hash} uploads a version that names {ann.key_hash} under update" in text
    stack.up(policy)
    assert len(versions(real_cas.client(bob), name)) == 2
    with pytest.raises(grpc.RpcError, match="CREATOR in an access policy is whoever uploaded the newest version"):
        stack.up({**policy, "secrets": {"s": {**ASCII, "size": 9}}})
    named = {**policy, "access_policy": {"read": ["ANY"], "update": [ann.key_hash, bob.key_hash]}}
    put(real_cas.client(bob), named)
    stack.refresh()
    stack.up(named)
    stack.up({**named, "secrets": {"s": {**ASCII, "size": 9}}})
