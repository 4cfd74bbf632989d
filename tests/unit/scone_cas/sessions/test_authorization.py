"""Who an access policy lets in: every kind of entry, rules over them, placeholders, and what cannot be decided."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import event, given, settings
from hypothesis import strategies as st

from scone_cas.errors import Refusal
from scone_cas.registry.sessions import SessionRegistry
from scone_cas.sessions.authorization import NOBODY, Caller, Decision, effective, signer_key_hash
from scone_policy.keys import pem
from scone_policy.keys.key_hash import SIGNER_VERSION, encode
from scone_policy.model.access import AccessPolicy
from scone_policy.sealed.signed import sign_session
from unit.scone_cas.conftest import Cas

KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in range(1, 5)]
SIGNERS = [key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for key in KEYS]
HASHES = [signer_key_hash(signer) for signer in SIGNERS]


def policy(**rights: Any) -> AccessPolicy:
    """An access policy as it is uploaded."""
    return AccessPolicy.model_validate(rights)


def update(*entries: Any) -> Sequence[Any]:
    """The entries of a policy's `update`."""
    return policy(update=list(entries)).update


def caller(key: int | None = None, *signed: int) -> Caller:
    """Somebody with a TLS key, whose upload carries signatures."""
    return Caller(key_hash=None if key is None else HASHES[key], signers=tuple(SIGNERS[each] for each in signed))


LEAVES = st.one_of(
    st.integers(0, 3).map(lambda key: ("signer", key)),
    st.integers(0, 3).map(lambda key: ("key", key)),
    st.just(("creator", 0)),
)


def rules(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A rule over different entries; `least` may be all of them, said in either way."""
    entries = st.lists(inner, min_size=1, max_size=4, unique_by=repr)
    return entries.flatmap(lambda each: st.tuples(st.none() | st.integers(1, len(each)), st.just(each)))


TREES = st.recursive(LEAVES, rules, max_leaves=10)


def written(tree: Any) -> Any:
    """A tree in the session language."""
    match tree:
        case ("signer", key):
            return {"signer": SIGNERS[key]}
        case ("key", key):
            return HASHES[key]
        case ("creator", _):
            return "CREATOR"
        case (least, entries):
            word = "require-all" if least is None else f"require-at-least-{least}"
            return {word: [written(entry) for entry in entries]}


def who(tree: Any, creator: int | None) -> object:
    """Whose agreement an entry is: a key's, or a rule's own."""
    match tree:
        case ("signer" | "key", key):
            return key
        case ("creator", _):
            return creator
    return repr(tree)


def agreed(tree: Any, tls: int | None, signed: set[int], creator: int | None) -> bool:
    """The rules by trying every choice of entries: slow, and as the page says it."""
    match tree:
        case ("signer", key):
            return key in signed
        case ("key", key):
            return key == tls
        case ("creator", _):
            return creator is not None and (creator == tls or creator in signed)
        case (None, entries):
            return all(agreed(entry, tls, signed, creator) for entry in entries)
    least, entries = tree
    return any(
        all(agreed(entry, tls, signed, creator) for entry in chosen)
        and len({who(entry, creator) for entry in chosen}) == least
        for chosen in combinations(entries, least)
    )


@settings(max_examples=600)
@given(
    st.lists(TREES, min_size=1, max_size=3),
    st.none() | st.integers(0, 3),
    st.sets(st.integers(0, 3)),
    st.none() | st.integers(0, 3),
)
def test_nested_rules_are_decided_as_the_reference_does(
    trees: list[Any], tls: int | None, signed: set[int], creator: int | None
) -> None:
    """Any nesting of rules, any set of keys: the decision is that of a brute-force reference."""
    entries = update(*map(written, trees))
    decision = Decision(caller=caller(tls, *signed), creator=None if creator is None else HASHES[creator])
    expected = any(agreed(tree, tls, signed, creator) for tree in trees)
    event(f"let in: {expected}")
    assert decision.permits(entries) == expected


@given(TREES, st.none() | st.integers(0, 3), st.sets(st.integers(0, 3)), st.integers(0, 3))
def test_another_signature_never_hurts(tree: Any, tls: int | None, signed: set[int], more: int) -> None:
    """Whoever is let in is let in with one more signature, too."""
    entries = update(written(tree))
    before = Decision(caller=caller(tls, *signed), creator=HASHES[0]).permits(entries)
    assert before <= Decision(caller=caller(tls, *signed | {more}), creator=HASHES[0]).permits(entries)


@pytest.mark.parametrize(
    ("entry", "by_key", "by_signature"),
    [
        (HASHES[0], True, False),
        ({"signer": SIGNERS[0]}, False, True),
        ({"signer": encode(SIGNER_VERSION, KEYS[0].public_key().public_bytes_raw())}, False, True),
        ("CREATOR", True, True),
        ("ANY", True, True),
        ("NONE", False, False),
    ],
)
def test_how_an_entry_agrees(entry: Any, by_key: bool, by_signature: bool) -> None:  # noqa: FBT001
    """Key hashes by the TLS certificate, signers (in both spellings) by their signature, the creator by either."""
    for who_asks, let_in in ((caller(0), by_key), (caller(None, 0), by_signature), (caller(1, 2), entry == "ANY")):
        assert Decision(caller=who_asks, creator=HASHES[0]).permits(update(entry)) == let_in


def test_one_key_counts_once() -> None:
    """Whoever is several entries of a rule is one voice among those that it asks for; `require-all` asks each entry."""
    twice = [HASHES[0], {"signer": SIGNERS[0]}, "CREATOR"]
    alone = Decision(caller=caller(0, 0), creator=HASHES[0])
    assert not alone.permits(update({"require-at-least-2": twice}))
    assert alone.permits(update({"require-at-least-1": twice}))
    assert alone.permits(update({"require-all": twice}))
    assert Decision(caller=caller(0, 1), creator=HASHES[0]).permits(
        update({"require-at-least-2": [*twice, {"signer": SIGNERS[1]}]})
    )


def test_certificates_count_by_their_key(person) -> None:
    """A PEM certificate lets in whoever has its key, in a list and in a rule."""
    ann, bob = person("ann"), person("bob")
    entries = update(ann.caller.certificate)
    assert Decision(caller=ann.caller).permits(entries)
    assert not Decision(caller=bob.caller).permits(entries)
    rule = update({"require-at-least-2": [ann.caller.certificate, ann.key_hash, {"signer": SIGNERS[0]}]})
    assert not Decision(caller=ann.caller).permits(rule)
    assert Decision(caller=ann.caller.signed_by((SIGNERS[0],))).permits(rule)


FILLED: list[tuple[Any, object, bool]] = [
    ("$$SCONE::s$$", HASHES[0], True),
    ("$$SCONE::s$$", f"  {HASHES[0]}\n", True),
    ("$$SCONE::s$$", HASHES[1], False),
    ("$$SCONE::s$$", "CREATOR", False),
    ("$$SCONE::s$$", {"signer": SIGNERS[3]}, True),
    ("$$SCONE::s$$", {"require-all": [HASHES[0], {"signer": SIGNERS[3]}]}, True),
    ("$$SCONE::s$$", {"require-all": [HASHES[0], {"signer": SIGNERS[2]}]}, False),
    ("$$SCONE::s$$", [HASHES[0]], False),
    ("$$SCONE::s$$", "$$SCONE::s$$", False),
    ("$$SCONE::s$$", {"require-all": ["$$SCONE::s$$"]}, False),
    ("$$SCONE::s$$", "nonsense", False),
    ("$$SCONE::s$$", None, False),
    ("$$SCONE::s$$", "ANY", True),
    ({"signer": "$$SCONE::s$$"}, SIGNERS[3], True),
    ({"signer": "$$SCONE::s$$"}, SIGNERS[2], False),
    ({"signer": "$$SCONE::s$$"}, HASHES[0], False),
    ({"require-all": ["$$SCONE::s$$"]}, HASHES[0], True),
    ({"require-all": ["$$SCONE::s$$"]}, "ANY", False),
    ({"require-at-least-2": ["$$SCONE::s$$", HASHES[0]]}, HASHES[0], False),
    ({"require-at-least-2": ["$$SCONE::s$$", HASHES[0]]}, {"signer": SIGNERS[3]}, True),
]


@pytest.mark.parametrize(("entry", "value", "let_in"), FILLED)
def test_placeholders_stand_for_one_entry(entry: Any, value: object, let_in: bool) -> None:  # noqa: FBT001
    """What a secret holds counts as the entry it stands for; what is no entry, or a placeholder again, is nobody."""
    decision = Decision(caller=caller(0, 3), creator=HASHES[1], fill=lambda _: value)
    assert decision.permits(update(entry)) == let_in


def test_any_by_placeholder_must_stand_alone() -> None:
    """A secret cannot open an access policy that names somebody beside it."""
    opened = Decision(caller=caller(2), fill=lambda _: "ANY")
    assert opened.permits(update("$$SCONE::s$$"))
    assert not opened.permits(update("$$SCONE::s$$", HASHES[0]))


def test_missing_secrets_let_nobody_in() -> None:
    """Where a placeholder stands for nothing, the other entries still count."""
    decision = Decision(caller=caller(0), creator=HASHES[0])
    assert not decision.permits(update("$$SCONE::s$$"))
    assert decision.permits(update("$$SCONE::s$$", "CREATOR"))


def test_whole_policy_by_placeholder() -> None:
    """A fragment stands for the policy; what is no policy, or another placeholder, lets nobody in."""
    referring = AccessPolicy.model_validate("$$SCONE::f$$")
    assert effective(referring, lambda _: {"read": ["ANY"]}) == policy(read=["ANY"])
    bad = (None, "ANY", ["ANY"], "$$SCONE::f$$", {"reference": "$$SCONE::f$$"}, {"reed": ["ANY"]}, {"read": [1]})
    assert [effective(referring, {"$$SCONE::f$$": each}.__getitem__) for each in bad] == [NOBODY] * len(bad)
    assert effective(policy(update=["ANY"]), lambda _: None) == policy(update=["ANY"])
    for entries in (NOBODY.read, NOBODY.update, NOBODY.may_create_sessions, NOBODY.may_list_sessions):
        assert not Decision(caller=caller(0, 1, 2), creator=HASHES[0]).permits(entries)


def session(name: str, rest: dict[str, Any], *, predecessor: str | None = None) -> str:
    """A description."""
    before = {"predecessor": predecessor} if predecessor else {}
    return yaml.safe_dump({"name": name, "version": "0.3.12", **before, **rest})


def test_placeholders_are_decided_on_stored_secrets(cas: Cas, person) -> None:
    """An explicit and an imported secret name who may read; when the owner withdraws it, nobody is named any more."""
    ann, bob, cy = (person(name) for name in ("ann", "bob", "cy"))
    readers = {"name": "readers", "kind": "ascii", "value": bob.key_hash, "export": {"session": "app"}}
    owner = cas.upload(session("owner", {"secrets": [readers]}), ann)
    secrets = [
        {"name": "theirs", "kind": "ascii", "import": {"session": "owner", "secret": "readers"}},
        {"name": "own", "kind": "ascii", "value": cy.caller.certificate},
    ]
    access = {"read": ["$$SCONE::theirs$$", "$$SCONE::own$$"]}
    cas.upload(session("app", {"secrets": secrets, "access_policy": access}), ann)
    assert cas.sessions.read("app", bob.caller).name == "app"
    assert cas.sessions.read("app", cy.caller).name == "app"
    with pytest.raises(Refusal, match="no permission to read"):
        cas.sessions.read("app", ann.caller)
    cas.upload(session("owner", {"secrets": [{**readers, "export": []}]}, predecessor=owner.hash), ann)
    with pytest.raises(Refusal, match="no permission to read"):
        cas.sessions.read("app", bob.caller)


def test_whole_policy_from_another_session(cas: Cas, person) -> None:
    """A fragment that another session exports is the access policy; its next version changes who may do what."""
    ann, bob = person("ann"), person("bob")
    fragment = {"name": "access", "kind": "config-fragment", "export": {"session": "app"}}
    first = session("owner", {"secrets": [{**fragment, "value": {"read": [bob.key_hash], "update": ["CREATOR"]}}]})
    owner = cas.upload(first, ann)
    secrets = [{"name": "access", "import": {"session": "owner", "secret": "access"}}]
    done = cas.upload(session("app", {"secrets": secrets, "access_policy": "$$SCONE::access$$"}), ann)
    assert cas.sessions.read("app", bob.caller).hash == done.hash
    with pytest.raises(Refusal, match="no permission to read"):
        cas.sessions.read("app", ann.caller)
    second = session("owner", {"secrets": [{**fragment, "value": {"read": ["NONE"]}}]}, predecessor=owner.hash)
    cas.upload(second, ann)
    with pytest.raises(Refusal, match="no permission to read"):
        cas.sessions.read("app", bob.caller)
    update = session("app", {"secrets": secrets, "access_policy": "$$SCONE::access$$"}, predecessor=done.hash)
    assert cas.upload(update, ann).number == 2


def test_certificates_and_keys_of_the_session_name_people(cas: Cas, person) -> None:
    """Given certificates and public keys, and entries in fragments, count as the keys that they hold."""
    ann, bob = person("ann"), person("bob")
    secrets = [
        {"name": "bob", "kind": "x509", "value": bob.caller.certificate},
        {"name": "signer", "kind": "public-key", "value": SIGNERS[0]},
        {"name": "rule", "kind": "config-fragment", "value": {"require-at-least-1": [{"signer": SIGNERS[1]}]}},
    ]
    access = {"read": ["$$SCONE::bob$$"], "update": [{"signer": "$$SCONE::signer$$"}, "$$SCONE::rule$$"]}
    whole = {"secrets": secrets, "access_policy": access}
    hash_ = cas.upload(session("app", whole), ann).hash
    assert cas.sessions.read("app", bob.caller).hash == hash_
    for key in KEYS[:2]:
        hash_ = cas.send(sign_session(session("app", whole, predecessor=hash_), keys=[key]), None).hash
    with pytest.raises(Refusal, match="no permission to update"):
        cas.send(sign_session(session("app", whole, predecessor=hash_), keys=[KEYS[2]]), ann)


def test_deciding_renews_no_certificate(cas: Cas, person) -> None:
    """A generated certificate that is due names its key all the same, in the middle of an upload, too."""
    secrets = [
        {"name": "key", "kind": "private-key", "key_type": "P-384"},
        {"name": "crt", "kind": "x509", "private_key": "key", "valid_for": "1 day"},
    ]
    whole = {"secrets": secrets, "access_policy": {"read": ["CREATOR"], "update": ["CREATOR", "$$SCONE::crt$$"]}}
    first = cas.upload(session("app", whole), person("ann"))
    later = SessionRegistry(cas.store, clock=lambda: datetime.now(UTC) + timedelta(days=30))
    done = later.upload(session("app", whole, predecessor=first.hash).encode(), person("ann").caller)
    assert done.number == 2


def test_the_stored_version_decides_not_the_uploaded_one(cas: Cas, person) -> None:
    """Nobody lets themselves in by a placeholder in what they upload."""
    ann, bob = person("ann"), person("bob")
    secret = {"name": "s", "kind": "ascii", "value": bob.key_hash}
    first = cas.upload(session("app", {}), ann)
    opened = session(
        "app", {"secrets": [secret], "access_policy": {"update": ["$$SCONE::s$$"]}}, predecessor=first.hash
    )
    with pytest.raises(Refusal, match="no permission to update"):
        cas.upload(opened, bob)
    second = cas.upload(opened, ann)
    assert cas.upload(session("app", {}, predecessor=second.hash), bob).number == 3


REFUSED = [
    ({"name": "s", "kind": "ascii"}, ["$$SCONE::s$$"], "access_policy.update: s is generated"),
    ({"name": "s", "kind": "binary"}, ["$$SCONE::s:hex$$"], "access_policy.update: s is a secret of kind binary"),
    ({"name": "s", "kind": "ascii"}, [{"require-all": ["$$SCONE::s$$"]}], "access_policy.update: s is generated"),
]


@pytest.mark.parametrize(("secret", "entries", "said"), REFUSED)
def test_placeholders_that_name_nobody_are_refused(cas: Cas, person, secret: Any, entries: Any, said: str) -> None:
    """A secret that can never name anybody is refused at upload, with its place."""
    with pytest.raises(Refusal, match=said):
        cas.upload(session("app", {"secrets": [secret], "access_policy": {"update": entries}}), person("ann"))


def test_whole_policy_needs_a_fragment(cas: Cas, person) -> None:
    """Text cannot stand for a policy."""
    secret = {"name": "s", "kind": "ascii", "value": "x"}
    with pytest.raises(Refusal, match="access_policy: s is a secret of kind ascii, and must be one of config-fragment"):
        cas.upload(session("app", {"secrets": [secret], "access_policy": "$$SCONE::s$$"}), person("ann"))


def test_damaged_certificates_are_refused(cas: Cas, person) -> None:
    """PEM around bytes that are no certificate names nobody."""
    for entry in (pem.armour(pem.CERTIFICATE, b"none"), {"require-all": [pem.armour(pem.CERTIFICATE, b"none")]}):
        with pytest.raises(Refusal, match=r"access_policy\.update: a certificate whose key cannot be read"):
            cas.upload(session("app", {"access_policy": {"update": [entry]}}), person("ann"))


def test_governance(cas: Cas, person) -> None:
    """Two of three voters and all who have a veto must sign an update; whoever carries it does not matter."""
    rule = {
        "require-all": [
            {"require-at-least-2": [{"signer": signer} for signer in SIGNERS[:3]]},
            {"require-all": [{"signer": SIGNERS[3]}]},
        ]
    }
    access = {"access_policy": {"read": ["ANY"], "update": [rule]}}
    first = cas.upload(session("app", access), person("ann"))
    text = session("app", access, predecessor=first.hash)
    for voters in ((0, 1), (0, 3), (3,), (0, 1, 2)):
        with pytest.raises(Refusal, match="no permission to update"):
            cas.send(sign_session(text, keys=[KEYS[voter] for voter in voters]), person("ann"))
    done = cas.send(sign_session(text, keys=[KEYS[0], KEYS[2], KEYS[3]]), None)
    assert done.number == 2
