"""What another CAS may ask of this one and answer to it: the route, the messages, the operator's settings."""

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_cas.federation.connection import Trust
from scone_cas.federation.protocol import _FLAWS, Ask, PeerError, Shared, judge_evidence, read_public
from scone_cas.federation.settings import PeerAddress, PeerSettings
from scone_cas.identity.cas_evidence import CasEvidenceIssuer
from scone_cas.identity.cas_identity import CasIdentity
from scone_cas.secrets.encoding import public_form
from scone_cas.secrets.public_form import from_public_form
from scone_cas.secrets.value import Value
from scone_cas.strict_json import MalformedError
from scone_policy.errors import SconeError
from scone_policy.keys.cas_evidence import Flaw, software_key
from scone_policy.keys.key_hash import decode_key_hash, pinned
from unit.scone_cas.audit.test_audit_log import entries
from unit.scone_cas.conftest import Cas
from unit.scone_cas.secrets.test_imports import put, received

PEER_KEY = "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"


def asked(cas, body: object, who=None):
    """Status and answer of the route for other CASes."""
    answer = cas.ask("POST", "/v1/shared_secrets", who=who, body=json.dumps(body).encode())
    return answer.status, json.loads(answer.body)


ASK = {"session": "out", "secret": "s", "importer": "in/x", "importer_hash": "ab" * 32}


@pytest.fixture
def exporting(cas, person) -> Cas:
    """A CAS that trusts bob's key for the namespace `in` and exports to `in/x` and, by hash, to `in/h`."""
    cas.sessions._peers = cas.parts.client_api._sessions._peers
    cas.sessions._peers.settings = PeerSettings(trusted=((person("bob").key_hash, "in"),))
    exports = f"{{session: in/x}}, {{session: in/h, session_hash: {'ab' * 32}}}, {{session: out/y}}"
    put(cas, "out", f"name: s, kind: ascii, export: [{exports}]")
    return cas


def test_trusted_peer_receives(exporting, person) -> None:
    """The value comes with its kind, parts and the exporter's hash, and reads back as it was."""
    status, answer = asked(exporting, ASK, person("bob"))
    assert status == 200
    shared = Shared.read(json.dumps(answer).encode())
    assert shared.value == received(exporting, "out")
    assert shared.session_hash == exporting.sessions.live("out").hash


def test_what_is_given_to_another_cas_is_recorded(exporting, person) -> None:
    """The audit log says before the answer which secret went to which session of whose CAS; a refusal gave nothing."""
    bob = person("bob")
    assert asked(exporting, {**ASK, "importer": "in/else"}, bob)[0] == 404
    _, answer = asked(exporting, ASK, bob)
    *_, last = entries(exporting.state)
    assert (last["event"], last["fields"]) == (
        "secret_shared",
        {"session": "out", "secret": "s", "importer": "in/x", "key": bob.key_hash, "address": ""},
    )
    assert [entry["event"] for entry in entries(exporting.state)].count("secret_shared") == 1
    assert answer["content"].encode() not in (exporting.state / "audit.log").read_bytes()


def test_nothing_is_given_without_an_entry(exporting, person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the audit log cannot be written another CAS gets no secret."""

    def full(event: str, **_: object) -> None:
        raise SconeError(f"the audit log cannot be written: {event}")

    monkeypatch.setattr(exporting.parts.journal, "record", full)
    status, answer = asked(exporting, ASK, person("bob"))
    assert status == 500
    assert "content" not in answer


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"importer": "in/h"}, 200),
        ({"importer": "in/h", "importer_hash": "cd" * 32}, 404),
        ({"importer": "in/else"}, 404),
        ({"importer": "out/y"}, 403),
        ({"importer": "inn"}, 403),
        ({"session": "nowhere"}, 404),
        ({"secret": "t"}, 404),
        ({"session": "../out"}, 400),
        ({"secret": "a b"}, 400),
        ({"importer_hash": "AB" * 32}, 400),
        ({"importer_hash": 7}, 400),
        ({"extra": "x"}, 400),
    ],
)
def test_requests_of_peers(exporting, person, change: Mapping[str, object], status: int) -> None:
    """Exactly what is exported to a session that this peer may speak for; the rest is refused in JSON."""
    found, answer = asked(exporting, {**ASK, **change}, person("bob"))
    assert found == status
    assert ("error" in answer) == (status != 200)


@pytest.mark.parametrize("who", ["ann", None])
def test_others_than_peers_receive_nothing(exporting, person, who: str | None) -> None:
    """Any other key, or none, is refused before anything is looked up: what exists and what does not look the same."""
    caller = person(who) if who else None
    answers = [asked(exporting, {**ASK, "session": name}, caller) for name in ("out", "nowhere")]
    assert answers[0] == answers[1]
    assert answers[0][0] == 403


def test_exports_to_a_namespace_by_hash_do_not_leave(exporting, person) -> None:
    """The hash of a namespace is not known of another CAS: refused, although a namespace of that hash is here."""
    space = put(exporting, "in")
    put(exporting, "out", f"name: s, kind: ascii, export: {{namespace: in, session_hash: {space}}}")
    assert asked(exporting, ASK, person("bob"))[0] == 404


KEY = ec.generate_private_key(ec.SECP256R1())
CERTIFICATE = CasIdentity.create(now=datetime(2026, 1, 1, tzinfo=UTC)).certificate


@pytest.mark.parametrize(
    "value",
    [
        Value(kind="ascii", content=b"a b"),
        Value(kind="binary", content=b"\0\xff"),
        Value(kind="config-fragment", content=b'{"a":[1.50,null]}'),
    ],
)
def test_public_form_reads_back(value: Value) -> None:
    """What `/v1/values` shows is the value again."""
    assert from_public_form(value.kind, public_form(value)) == value


def test_public_pem_reads_back() -> None:
    """Keys and certificates are DER inside, PEM outside; certificates after the first one are the chain."""
    spki = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    pkcs8 = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    pem = CERTIFICATE.public_bytes(Encoding.PEM)
    assert from_public_form("public-key", spki).content == KEY.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    assert from_public_form("private-key", pkcs8).content == KEY.private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    )
    found = from_public_form("x509-ca", (pem + pem).decode())
    assert x509.load_der_x509_certificate(found.content) == CERTIFICATE
    assert found.more == {"chain": pem}


@given(
    st.sampled_from(["ascii", "binary", "config-fragment", "public-key", "private-key", "x509", "pgp-key", "zonk"]),
    st.text(max_size=200),
)
def test_any_public_text_is_read_or_refused(kind: str, text: str) -> None:
    """No text of another CAS causes anything but a value or one error without the text."""
    found = problem = None
    try:
        found = from_public_form(kind, text)
    except ValueError as error:
        problem = str(error)
    assert problem == f"not the public form of a secret of kind {kind} that can be imported" or found


@pytest.mark.parametrize(
    ("kind", "content", "more"),
    [
        ("ascii", b"\xff", {}),
        ("private-key", b"no key", {}),
        ("public-key", b"no key", {}),
        ("x509", b"no certificate", {}),
        ("x509-ca", CERTIFICATE.public_bytes(Encoding.DER), {"private_key": b"no key"}),
        ("x509", CERTIFICATE.public_bytes(Encoding.DER), {"chain": b"no chain"}),
        ("config-fragment", b"{", {}),
    ],
)
def test_value_that_is_not_of_its_kind_is_refused(kind: str, content: bytes, more: dict[str, bytes]) -> None:
    """What another CAS sends is judged on its arrival, without a word of it in the error."""
    sent = Shared(value=Value(kind=kind, content=content, more=more), session_hash="ab" * 32).written()
    with pytest.raises(PeerError, match=r"^answers something that is no secret$"):
        Shared.read(json.dumps(sent).encode())


WORDS = ("hash", "kind", "content", "more", "values", "value", "evidence", "body", "signature", "s")
"""Keys of the answers, so that what is drawn gets past the first look."""
BODIES = st.one_of(
    st.binary(max_size=300),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    ).map(lambda found: json.dumps(found).encode()),
)


@settings(max_examples=300)
@given(BODIES)
def test_any_answer_is_read_or_refused(body: bytes) -> None:
    """Nothing that another CAS answers causes anything but one kind of error."""
    for read in (
        lambda: Shared.read(body),
        lambda: read_public(body, "s", None),
        lambda: read_public(body, "s", "ascii"),
        lambda: judge_evidence(body, certificate=CERTIFICATE, nonce="n", expected=PEER_KEY, tolerates_debug=True),
    ):
        with suppress(PeerError):
            read()


@settings(max_examples=200)
@given(BODIES)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    """Nothing of another shape causes anything but one kind of error."""
    with pytest.raises(MalformedError):
        Ask.read(body)


REQUESTS = st.fixed_dictionaries(
    {
        "session": st.sampled_from(["out", "a/b", "", "a//b", "/", "a b", "x" * 300, "ö", "a\n"]),
        "secret": st.sampled_from(["s", "a-b_1", "", "a/b", "a b", "s\n", "$$SCONE::s$$", "x" * 300]),
        "importer": st.sampled_from(["in/x", "in", "", "in/", "../x", "in x"]),
        "importer_hash": st.sampled_from(["ab" * 32, "AB" * 32, "ab" * 31, "ab" * 33, "zz" * 32, "", "ab" * 32 + "\n"]),
    }
)


@settings(max_examples=600)
@given(REQUESTS)
def test_a_request_of_the_right_shape_is_judged_field_by_field(asked: dict[str, str]) -> None:
    """It is read as it was meant exactly when both names, the secret and the hash are well-formed."""
    well_formed = (
        asked["session"] in ("out", "a/b", "/")
        and asked["secret"] in ("s", "a-b_1")
        and asked["importer"] in ("in/x", "in")
        and asked["importer_hash"] == "ab" * 32
    )
    body = json.dumps(asked).encode()
    if well_formed:
        assert vars(Ask.read(body)) == asked
        assert Ask.read(Ask.read(body).write()) == Ask.read(body)
    else:
        with pytest.raises(MalformedError):
            Ask.read(body)


@pytest.mark.parametrize("field", ["session", "secret", "importer", "importer_hash"])
@pytest.mark.parametrize("value", [None, 1, True, [], {}])
def test_a_request_has_texts_only(field: str, value: object) -> None:
    """Another type in any field is refused, as is a field that is missing or one too many."""
    for body in (ASK | {field: value}, {key: text for key, text in ASK.items() if key != field}, ASK | {"more": "x"}):
        with pytest.raises(MalformedError):
            Ask.read(json.dumps(body).encode())


def test_values_show_in_no_representation() -> None:
    """What is passed between CASes appears in no message of the program."""
    shared = Shared(value=Value(kind="ascii", content=b"hunter2", more={"k": b"hunter2"}), session_hash="ab" * 32)
    encoded = base64.b64encode(b"hunter2").decode()
    assert "hunter2" not in repr(shared)
    assert encoded not in repr(shared)
    assert encoded in json.dumps(shared.written())


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("cas", "cas:8081"),
        ("https://cas:443/", "cas:443"),
        ("mapped", "10.0.0.1:8081"),
        ("mapped:9", "10.0.0.1:9"),
        ("mapped:7", "[::1]:77"),
        ("[fd00::1]", "[fd00::1]:8081"),
        ("[fd00::2]:5", "local:5"),
    ],
)
def test_places(url: str, place: str) -> None:
    """Urls as they stand in sessions, default port, and the operator's map; host and port together win."""
    found = PeerSettings.parse(connect_to=["mapped=10.0.0.1", "mapped:7=[::1]:77", "[fd00::2]=local"])
    assert str(found.place(url)) == place
    assert PeerSettings.from_json(found.to_json()) == found


@pytest.mark.parametrize("url", ["", "http://cas", "cas:0", "cas:65536", "a b", "cas/x", "user@cas", "cas:8081:1"])
def test_what_is_no_place(url: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="must be host"):
        PeerAddress.parse(url)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"connect_to": ["cas"]}, "--connect-to"),
        ({"connect_to": ["=x"]}, "--connect-to"),
        ({"trusted_peers": [PEER_KEY]}, "--trusted-peer"),
        ({"trusted_peers": [f"{PEER_KEY}="]}, "--trusted-peer"),
        ({"trusted_peers": ["zonk=/"]}, "--trusted-peer"),
        ({"trusted_peers": [f"{PEER_KEY}=a//b"]}, "--trusted-peer"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, list[str]], part: str) -> None:
    """An option that would trust nobody, or everybody by mistake, stops the start."""
    with pytest.raises(SconeError, match=part):
        PeerSettings.parse(**options)


def test_key_in_hex_is_the_same_key() -> None:
    """Both spellings of cas_key mean one key."""
    assert pinned(decode_key_hash(PEER_KEY).hex()) == pinned(PEER_KEY) == PEER_KEY


def test_connections_are_kept_for_those_asked_lately(cas) -> None:
    """The same CAS is asked over the same connection, until 64 others were asked since."""
    peers = cas.parts.client_api._sessions._peers
    trust = Trust(cas_key=PEER_KEY)
    places = [PeerAddress(host=f"cas-{number}.example", port=8081) for number in range(65)]
    first, second, *_ = found = [peers._peer(place, trust) for place in places[:64]]
    assert peers._peer(places[0], trust) is first
    peers._peer(places[64], trust)
    assert peers._peer(places[0], trust) is first
    assert peers._peer(places[1], trust) is not second
    assert len({*map(id, found)}) == 64
    assert peers._peer(places[0], Trust(cas_key="another")) is not first


@pytest.mark.parametrize(
    ("claims", "tolerates_debug", "said"),
    [
        ({}, True, None),
        ({}, False, "debug enclave, which anybody can forge"),
        ({"debug": False}, False, "lacks a claim of its format, or has a wrong one"),
        ({"debug": False}, True, "lacks a claim of its format, or has a wrong one"),
        ({"mrenclave": "00" * 32}, True, "contradicts itself"),
        ({"nonce": "other"}, True, "not fresh"),
        ({"format": "other"}, True, "cannot be judged here"),
        ({"cas_key": PEER_KEY}, True, "another key than its TLS key"),
        ({"tcb_status": 1}, True, "lacks a claim of its format, or has a wrong one"),
    ],
)
def test_evidence_of_another_cas(claims: dict[str, object], *, tolerates_debug: bool, said: str | None) -> None:
    """It must be true in every claim; that it is no debug enclave's it cannot claim, and debug must be tolerated."""
    identity, measured = CasIdentity.create(now=datetime.now(UTC)), bytes(range(32))
    issuer = CasEvidenceIssuer(identity, measured, X25519PrivateKey.generate().public_key())
    nonce = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")
    body = json.dumps(issuer._claims | {"nonce": nonce} | claims).encode()
    signature = identity.key.sign(b"pulumi-scone cas evidence v1\0" + body, ec.ECDSA(hashes.SHA256()))
    wrapped = {"body": base64.b64encode(body).decode(), "signature": base64.b64encode(signature).decode()}

    def judge(expected: str) -> None:
        judge_evidence(
            json.dumps({"evidence": wrapped}).encode(),
            certificate=identity.certificate,
            nonce=nonce,
            expected=expected,
            tolerates_debug=tolerates_debug,
        )

    if said is None:
        judge(software_key(measured))
        with pytest.raises(PeerError, match=f"runs other software .{software_key(measured)}. than .* says"):
            judge(software_key(bytes(32)))
    else:
        with pytest.raises(PeerError, match=said):
            judge(software_key(measured))


def test_every_flaw_has_its_words() -> None:
    """Whatever is wrong with another CAS's evidence, it is said."""
    assert set(_FLAWS) == set(Flaw) - {Flaw.SOFTWARE}  # which names both software keys
