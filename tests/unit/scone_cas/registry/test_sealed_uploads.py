"""Signed and encrypted uploads on their routes: taken as the plain ones are, and refused where they are not right."""

import base64
import json
import secrets

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from scone_cas.api.client import STATUS
from scone_cas.errors import Refusal
from scone_cas.server.assembly import assemble, initialise
from scone_cas.sessions.authorization import signer_key_hash
from scone_cas.sessions.descriptions import open_upload, read_upload
from scone_policy.sealed.encrypted import encrypt_session
from scone_policy.sealed.signed import sign_session
from unit.scone_cas.audit.test_audit_log import entries

ED, P384 = Ed25519PrivateKey.from_private_bytes(b"e" * 32), ec.derive_private_key(9, ec.SECP384R1())


def signer(key) -> str:
    """The public key as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def session(name: str, access: object = None, *, predecessor: str | None = None) -> str:
    """A description with this access policy."""
    before = {"predecessor": predecessor} if predecessor else {}
    policy = {"access_policy": access} if access else {}
    return yaml.safe_dump({"name": name, "version": "0.3.12", **before, **policy})


def encryption_key(cas) -> bytes:
    """The session encryption key that the CAS's evidence names."""
    answer = json.loads(cas.ask("GET", "/v1/attest", nonce=secrets.token_urlsafe(32)).body)
    return bytes.fromhex(json.loads(base64.b64decode(answer["evidence"]["body"]))["session_encryption_key"])


def encrypted(cas, text: str) -> bytes:
    """The body that only this CAS can open."""
    return json.dumps(encrypt_session(text, recipient=encryption_key(cas), seed=secrets.token_bytes(32))).encode()


@pytest.mark.parametrize("key", [ED, P384], ids=["Ed25519", "P-384"])
def test_signed_session(cas, person, key) -> None:
    """A signed session needs no TLS certificate: its signer is the creator, who may update it and read it."""
    document = sign_session(session("app"), keys=[key])
    answer = cas.ask("POST", "/session", body=json.dumps(document).encode())
    assert answer.status == 201
    hash_ = answer.body.decode().split("id=")[1][:64]
    live = cas.sessions.live("app")
    assert (live.hash, live.creator) == (hash_, signer_key_hash(signer(key)))
    assert live.session.creator == {"signer": signer(key)}
    update = session("app", predecessor=hash_)
    assert cas.ask("POST", "/session", who=person("ann"), body=update.encode()).status == 403
    assert cas.ask("POST", "/session", body=json.dumps(sign_session(update, keys=[P384, ED])).encode()).status == 400
    assert cas.ask("POST", "/session", body=json.dumps(sign_session(update, keys=[key])).encode()).status == 201


def test_creator_of_a_signed_session_is_its_signer_not_its_carrier(cas, person) -> None:
    """Whoever uploads what another one signed gets no right to it."""
    cas.send(sign_session(session("app"), keys=[ED]), person("ann"))
    assert cas.ask("GET", "/session/app", who=person("ann")).status == 403


def test_carrier_cannot_become_creator_by_signing_too(cas, person) -> None:
    """A signature that somebody adds on the way would make two creators: refused, with the way out."""
    space = {"read": ["ANY"], "update": ["ANY"], "create_sessions": [{"signer": signer(ED)}]}
    cas.upload(session("n", space), person("ann"))
    document = sign_session(session("n/x"), keys=[ED])
    more = sign_session(session("n/x"), keys=[P384, ED])
    answer = cas.ask("POST", "/session", who=person("bob"), body=json.dumps(more).encode())
    assert answer.status == 400
    assert b"several keys signed the session: name who may read and update it instead" in answer.body
    assert cas.send(document, person("bob")).number == 1
    open_ = session("n/y", {"read": ["ANY"], "update": [{"signer": signer(ED)}]})
    assert cas.send(sign_session(open_, keys=[P384, ED]), None).number == 1


def test_replayed_signed_sessions_are_refused(cas) -> None:
    """What was signed once is good for one place in the chain: neither a version nor the first one comes back."""
    access = {"read": ["ANY"], "update": [{"signer": signer(ED)}], "create_sessions": ["NONE"]}
    first = sign_session(session("app", access), keys=[ED])
    one = cas.send(first, None)
    second = sign_session(session("app", access, predecessor=one.hash), keys=[ED])
    two = cas.send(second, None)
    three = cas.send(sign_session(session("app", access, predecessor=two.hash), keys=[ED]), None)
    for old, said in ((first, b"exists already"), (second, b"Invalid previous session digest")):
        answer = cas.ask("POST", "/session", body=json.dumps(old).encode())
        assert answer.status == 409
        assert said in answer.body
    assert cas.sessions.live("app").hash == three.hash


def test_wrong_signatures_are_refused(cas, person) -> None:
    """A changed session, and a signature that says nothing, store nothing, whoever brings them."""
    document = sign_session(session("app"), keys=[ED])
    for bad in (document | {"session": session("other")}, document | {"signatures": []}, document | {"more": 1}):
        answer = cas.ask("POST", "/session", who=person("ann"), body=json.dumps(bad).encode())
        assert answer.status == 400
    assert not cas.store.holds_sessions()


def test_encrypted_session(cas, person) -> None:
    """The answer is that of the plain upload, the session the same as if it had come in clear."""
    answer = cas.ask("PUT", "/v1/encrypted_sessions", who=person("ann"), body=encrypted(cas, session("app")))
    assert answer.status == 201
    live = cas.sessions.live("app")
    assert answer.body.decode() == f"Created Session[id={live.hash}, name='app', status='Created']"
    assert live.creator == person("ann").key_hash
    again = cas.ask("PUT", "/v1/encrypted_sessions", who=person("ann"), body=encrypted(cas, session("app")))
    assert (again.status, again.content_type) == (409, "application/json")


def test_encrypted_signed_session(cas) -> None:
    """An encrypted session may be a signed one."""
    document = sign_session(session("app"), keys=[P384])
    body = encrypted(cas, json.dumps(document))
    assert cas.ask("PUT", "/v1/encrypted_sessions", body=body).status == 201
    assert cas.sessions.live("app").creator == signer_key_hash(signer(P384))


def test_encrypted_sessions_keep_every_rule(cas, person) -> None:
    """Encryption gives no permission, and errors show nothing of what was encrypted but its place."""
    cas.upload(session("app"), person("ann"))
    assert cas.ask("PUT", "/v1/encrypted_sessions", body=encrypted(cas, session("app/x"))).status == 403
    bad = session("x") + "secrets: [{name: s, kind: ascii, value: hunter2, nonsense: 1}]\n"
    answer = cas.ask("PUT", "/v1/encrypted_sessions", who=person("ann"), body=encrypted(cas, bad))
    assert answer.status == 400
    assert b"nonsense" in answer.body
    assert b"hunter2" not in answer.body


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"name: app", b"{}", b"[" * 100_000, b"\xff", b'{"encrypted_session": "", "encryption_key": ""}'],
)
def test_what_is_not_encrypted_is_refused(cas, person, body: bytes) -> None:
    """Anything else on this route is refused in words."""
    answer = cas.ask("PUT", "/v1/encrypted_sessions", who=person("ann"), body=body)
    assert answer.status == 400
    assert b"log says more" not in answer.body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEY = X25519PrivateKey.from_private_bytes(b"k" * 32)


@given(
    st.binary()
    | JSON.map(lambda tree: json.dumps(tree).encode())
    | st.fixed_dictionaries({"encrypted_session": JSON, "encryption_key": JSON}).map(lambda it: json.dumps(it).encode())
)
def test_anything_encrypted_is_refused_in_words(body: bytes) -> None:
    """Whatever comes on the route for encrypted sessions: opened, or refused as a request, nothing else."""
    with pytest.raises(Refusal) as refused:
        open_upload(body, KEY)
    assert STATUS[refused.value.reason] == 400


@given(
    st.fixed_dictionaries({"session": JSON, "signatures": JSON})
    | st.fixed_dictionaries(
        {
            "session": st.text(),
            "signatures": st.lists(st.fixed_dictionaries({"signer": JSON | st.just(signer(ED)), "signature": JSON})),
        }
    )
)
def test_anything_signed_is_refused_in_words(document: dict[str, object]) -> None:
    """Whatever looks like a signed session and is not signed: refused as a request, nothing else."""
    with pytest.raises(Refusal) as refused:
        read_upload(json.dumps(document).encode())
    assert STATUS[refused.value.reason] == 400


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_signed_text_that_is_no_session_is_refused_in_words(text: str) -> None:
    """A signature makes no session of a text that is none."""
    with pytest.raises(Refusal) as refused:
        read_upload(json.dumps(sign_session(text, keys=[ED])).encode())
    assert STATUS[refused.value.reason] == 400


def test_session_for_another_cas_is_refused(cas, person) -> None:
    """What was encrypted to another key stays closed."""
    other = X25519PrivateKey.from_private_bytes(b"o" * 32).public_key().public_bytes_raw()
    body = json.dumps(encrypt_session(session("app"), recipient=other, seed=bytes(32))).encode()
    answer = cas.ask("PUT", "/v1/encrypted_sessions", who=person("ann"), body=body)
    assert answer.status == 400
    assert b"another CAS's key" in answer.body


def test_session_encryption_key_lives_as_long_as_the_state(cas) -> None:
    """The key is made once: what was encrypted before a restart is taken after it."""
    key, body = encryption_key(cas), encrypted(cas, session("app", {"read": ["ANY"], "update": ["ANY"]}))
    cas.parts.journal.close()
    initialise(cas.state, random=bytes(32))
    cas.parts = assemble(cas.state)
    assert encryption_key(cas) == key
    assert cas.ask("PUT", "/v1/encrypted_sessions", body=body).status == 201


def test_session_encryption_key_is_made_for_an_older_state(cas) -> None:
    """A state that was made before there was such a key gets one at its next start."""
    with cas.store.writing():
        cas.store.forget("session encryption key")
    initialise(cas.state, random=bytes(32))
    cas.parts.journal.close()
    cas.parts = assemble(cas.state)
    assert len(encryption_key(cas)) == 32


def test_signers_are_recorded(cas, person) -> None:
    """The audit log tells who carried an upload and who signed it."""
    access = {"read": ["ANY"], "update": ["ANY"]}
    document = sign_session(session("app", access), keys=[ED, P384])
    cas.ask("POST", "/session", who=person("ann"), body=json.dumps(document).encode())
    fields = entries(cas.state)[-1]["fields"]
    assert fields["key"] == person("ann").key_hash
    assert sorted(fields["signers"]) == sorted(signer_key_hash(signer(key)) for key in (ED, P384))
