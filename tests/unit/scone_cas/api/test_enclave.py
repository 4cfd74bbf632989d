"""The enclave protocol as a function of requests: what is delivered, and every refusal in its order."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scone_cas.api.http import Request
from scone_cas.attestation.delivery import seal
from scone_cas.attestation.evidence import read_evidence
from scone_cas.strict_json import MalformedError
from support.software_enclave import MEASUREMENT, SoftwareEnclave

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "enclave.json").read_text())
SERVICE = f"""
name: app
version: "0.3.10"
services:
  - name: main
    image_name: files
    command: [prog, "--user=$$SCONE::user$$", "@@1"]
    pwd: /srv
    environment: {{PASSWORD: $$SCONE::password$$, RAW: "$$SCONE::raw:hex$$", HOST: "@@NODE", GONE: "@@MISSING"}}
    fspf_key: $$SCONE::key$$
    fspf_tag: {"0f" * 16}
    attestation: [{{mrenclave: [{"cd" * 32}, {MEASUREMENT}]}}]
images:
  - name: files
    injection_files:
      - {{path: /b, content: "p=$$SCONE::password$$", permission: 0o400}}
      - {{path: /a, content: $$SCONE::raw$$}}
secrets:
  - {{name: user, kind: ascii, value: "$$SCONE::password$$"}}
  - {{name: password, kind: ascii, size: 12}}
  - {{name: raw, kind: binary, value: "00ff"}}
  - {{name: key, kind: binary, size: 32}}
security: {{attestation: {{tolerate: [debug-mode]}}}}
"""


def post(cas, path: str, body: bytes) -> tuple[int, dict]:
    """Status and answer."""
    answer = cas.parts.enclave_api.handle(Request(method="POST", path=path, body=body))
    return answer.status, json.loads(answer.body)


def challenge(cas) -> str:
    """A fresh challenge."""
    status, answer = post(cas, "/v1/enclave/challenge", b'{"protocol": 1}')
    assert (status, answer["protocol"], answer["expires_in"]) == (200, 1, 60)
    return answer["challenge"]


def attest(cas, config_id: str = "app/main", **changes) -> tuple[int, dict]:
    """The configuration, or the refusal."""
    enclave = SoftwareEnclave()
    changes = {"host_arguments": ["given"], "host_environment": {"NODE": "n1", "PASSWORD": "stolen"}} | changes
    request = enclave.request(changes.pop("challenge", None) or challenge(cas), config_id, **changes)
    status, answer = post(cas, "/v1/enclave/attest", json.dumps(request).encode())
    return (status, enclave.open(answer)) if status == 200 else (status, answer["error"])


@pytest.fixture
def service(cas, person):
    """A CAS that holds the service."""
    cas.upload(SERVICE, person("ann"))
    return cas


def test_delivers_exactly_the_configuration(service) -> None:
    """Placeholders and host values are put in, substituted text is not expanded again, nothing else is delivered."""
    status, found = attest(service)
    password = service.stored("app", "password").content.decode()
    assert status == 200
    assert found == {
        "protocol": 1,
        "config_id": "app/main",
        "arguments": ["prog", "--user=$$SCONE::password$$", "given"],
        "environment": {"PASSWORD": password, "RAW": "00ff", "HOST": "n1", "GONE": ""},
        "working_directory": "/srv",
        "protection": {"key": service.stored("app", "key").content.hex(), "tag": "0f" * 16},
        "files": [
            {"path": "/a", "content": "AP8=", "mode": 0o700},
            {"path": "/b", "content": base64.b64encode(f"p={password}".encode()).decode(), "mode": 0o400},
        ],
    }


def test_host_text_is_never_expanded(service) -> None:
    """A host cannot smuggle a placeholder in and have it resolved."""
    _, found = attest(service, host_arguments=["$$SCONE::password$$"])
    assert found["arguments"][2] == "$$SCONE::password$$"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"config_id": "app/other"}, 403, "unexpected_measurement"),
        ({"config_id": "nope/main"}, 403, "unexpected_measurement"),
        ({"config_id": "main"}, 403, "unexpected_measurement"),
        ({"config_id": ""}, 403, "unexpected_measurement"),
        ({"config_id": "x" * 1025}, 400, "malformed"),
        ({"format": "sgx-dcap-1"}, 403, "unsupported_evidence"),
        ({"debug": False}, 403, "unsupported_evidence"),
        ({"debug": 1}, 400, "malformed"),
        ({"measurement": "00" * 32}, 403, "unexpected_measurement"),
        ({"measurement": "AB" * 32}, 400, "malformed"),
        ({"measurement": None}, 400, "malformed"),
        ({"extra": 1}, 400, "malformed"),
        ({"public_key": "AAAA"}, 400, "malformed"),
        ({"quoting_key": "!"}, 400, "malformed"),
        ({"public_key": base64.b64encode(bytes(32)).decode()}, 400, "malformed"),
        ({"challenge": base64.b64encode(bytes(32)).decode()}, 403, "bad_challenge"),
        ({"challenge": base64.b64encode(bytes(31)).decode()}, 400, "malformed"),
        ({"host_arguments": []}, 403, "missing_host_value"),
        ({"host_arguments": [1]}, 400, "malformed"),
        ({"host_arguments": ["a\0b"]}, 400, "malformed"),
        ({"host_environment": {"A": None}}, 400, "malformed"),
    ],
)
def test_refusals(service, changes: dict, status: int, code: str) -> None:
    """Each wrong field gets the code that the protocol names."""
    changes = dict(changes)
    found, error = attest(service, changes.pop("config_id", "app/main"), **changes)
    assert (found, error["code"]) == (status, code)
    assert "\n" not in error["message"]


def test_unexpected_measurement_shows_what_was_brought(service) -> None:
    """The refusal tells the evidence's measurement, and none of the policy's: who knows one could claim it."""
    _, error = attest(service, measurement="00" * 32)
    assert set(error) == {"code", "message", "found"}
    assert error["found"] == "00" * 32


def test_challenge_is_good_once(service) -> None:
    """A used challenge is refused, and a refused attestation uses it up too."""
    for first in ({}, {"measurement": "00" * 32}):
        used = challenge(service)
        attest(service, challenge=used, **first)
        assert attest(service, challenge=used)[1]["code"] == "bad_challenge"


def test_challenge_expires(challenges) -> None:
    """After 60 seconds, and not before, a challenge is refused."""
    made, clock = challenges
    early, late = made.make(), made.make()
    clock[0] += 59.9
    made.consume(early)
    clock[0] += 0.2
    with pytest.raises(Exception, match="expired"):
        made.consume(late)


def test_used_challenges_do_not_pile_up(challenges) -> None:
    """What has expired is removed: the table stays bounded by what one minute can bring."""
    made, clock = challenges
    for _ in range(10):
        for _ in range(100):
            made.consume(made.make())
        clock[0] += 100
    (count,) = made._db.execute("SELECT count(*) FROM used").fetchone()
    assert count < 400


def test_challenges_of_an_earlier_start_are_void(cas) -> None:
    """A challenge made before the CAS was started again cannot be used."""
    from scone_cas.attestation.challenges import BadChallengeError, Challenges

    old = cas.parts.challenges.make()
    Challenges.reset(cas.state)
    new = Challenges(cas.state, bytes(32), clock=lambda: 0.0)
    with pytest.raises(BadChallengeError, match="unknown"):
        new.consume(old)
    new.close()


@pytest.mark.parametrize("part", ["body", "signature"])
def test_signature_is_checked(service, part: str) -> None:
    """A changed body or signature is refused."""
    enclave = SoftwareEnclave()
    request = enclave.request(challenge(service), "app/main")
    if part == "body":
        changed = enclave.body.replace(b'"debug": true', b'"debug":  true')
        request["evidence"]["body"] = base64.b64encode(changed).decode()
    else:
        request["evidence"]["signature"] = base64.b64encode(bytes(64)).decode()
    status, answer = post(service, "/v1/enclave/attest", json.dumps(request).encode())
    assert (status, answer["error"]["code"]) == (403, "bad_signature")


def test_countersignatures_are_refused(service) -> None:
    """Version 1 judges none, so it takes none."""
    request = SoftwareEnclave().request(challenge(service), "app/main")
    request["evidence"]["countersignatures"] = [{}]
    status, answer = post(service, "/v1/enclave/attest", json.dumps(request).encode())
    assert (status, answer["error"]["code"]) == (403, "unsupported_evidence")


def test_debug_must_be_tolerated(cas, person) -> None:
    """Without debug-mode among the tolerations simulated evidence gets nothing, and is told so."""
    cas.upload(SERVICE.replace("tolerate: [debug-mode]", "tolerate: [hyperthreading]"), person("ann"))
    status, error = attest(cas)
    assert (status, error["code"], error["found"]) == (403, "debug_not_tolerated", "debug-mode")
    assert "expected" not in error


def test_signer_variants_never_fit_simulated_evidence(cas, person) -> None:
    """A variant that asks for a signer is not satisfied by its measurement alone."""
    signed = SERVICE.replace("attestation: [{", f"attestation: [{{signer: {{mrsigner: {'ee' * 32}}}, ")
    cas.upload(signed, person("ann"))
    assert attest(cas)[1]["code"] == "no_signer"


def test_attestation_off_takes_any_program(cas, person) -> None:
    """Mode none means what it says."""
    cas.upload(SERVICE.replace("tolerate: [debug-mode]", "mode: none"), person("ann"))
    assert attest(cas, measurement="00" * 32)[0] == 200


def test_retired_is_said_in_the_log(cas, person, capfd) -> None:
    """That a session was retired is the operator's to know; who asks hears what is heard of any name."""
    first = cas.upload(SERVICE, person("ann"))
    cas.upload(
        f'name: app\nversion: "0.3"\npredecessor: {first.hash}\naccess_policy: {{create_sessions: [NONE]}}\n',
        person("ann"),
    )
    assert attest(cas)[1]["code"] == "unexpected_measurement"
    assert "service-refused config_id=app/main code=retired" in capfd.readouterr().err


def test_withdrawn_import_is_said(cas, person) -> None:
    """A secret that its owner does not export any more stops the delivery, with its own code."""
    owner = cas.upload(
        "name: own\nversion: '0.3'\nsecrets: [{name: s, kind: ascii, export: {session: app}}]\n", person("ann")
    )
    text = SERVICE.replace("size: 12", "import: {session: own, secret: s}")
    cas.upload(text, person("ann"))
    assert attest(cas)[0] == 200
    cas.upload(f"name: own\nversion: '0.3'\npredecessor: {owner.hash}\n", person("ann"))
    status, error = attest(cas)
    assert (status, error["code"]) == (403, "secret_unavailable")


def test_binary_in_environment_must_be_text(cas, person) -> None:
    """Raw bytes stand in a variable where they are text; where they are not, the service is told which and why."""
    raw = SERVICE.replace("$$SCONE::raw:hex$$", "$$SCONE::raw$$")
    first = cas.upload(raw, person("ann"))
    status, error = attest(cas)
    assert (status, error["code"]) == (403, "secret_unavailable")
    assert error["message"] == "environment.RAW: a secret put in here is not text"
    cas.upload(raw.replace('"00ff"', '"4142"') + f"predecessor: {first.hash}\n", person("ann"))
    assert attest(cas)[1]["environment"]["RAW"] == "AB"


def test_update_is_seen_at_once(service, person) -> None:
    """The newest version is delivered, although versions are cached."""
    before = attest(service)[1]
    live = service.sessions.live("app")
    service.upload(SERVICE.replace("pwd: /srv", "pwd: /new") + f"predecessor: {live.hash}\n", person("ann"))
    after = attest(service)[1]
    assert (before["working_directory"], after["working_directory"]) == ("/srv", "/new")
    assert before["environment"] == after["environment"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"protocol": 2}',
        b'{"protocol": true}',
        b'{"protocol": 1, "x": 1}',
        b'{"protocol": 1, "protocol": 1}',
        b"\xff",
        b"[" * 60000,
        b'{"protocol": 1}' + b" " * 65536,
    ],
)
def test_malformed_challenge_requests(cas, body: bytes) -> None:
    """What is not exactly the request is refused as malformed."""
    status, answer = post(cas, "/v1/enclave/challenge", body)
    assert (status, answer["error"]["code"]) == (400, "malformed")


def test_unknown_routes_are_malformed(cas) -> None:
    """Nothing else is served on the enclave port."""
    for method, path in (("GET", "/v1/version"), ("POST", "/session"), ("POST", "/")):
        assert cas.parts.enclave_api.handle(Request(method=method, path=path)).status == 400


def test_golden_evidence() -> None:
    """The evidence that the launcher's vectors hold is read, and its signature verifies."""
    vector = VECTORS["evidence"]
    found = read_evidence(json.dumps(vector["request"]).encode())
    assert found.is_signed()
    assert found.config_id == "hello/service-1/python_hello_user"
    assert found.host_arguments == ("first", "zweites ü")
    assert base64.b64encode(found.challenge).decode() == vector["challenge"]


def test_sealed_answer_opens_with_the_vectors_key() -> None:
    """What we seal to the vector's evidence opens under its key and info, as the vector's own answer does."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    evidence = read_evidence(json.dumps(VECTORS["evidence"]["request"]).encode())
    answer = VECTORS["answer"]
    key = X25519PrivateKey.from_private_bytes(bytes.fromhex(answer["recipient_private_key"]))
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    for sealed in (seal(evidence, answer["plaintext"].encode()), base64.b64decode(answer["sealed"])):
        assert suite.decrypt(sealed, key, bytes.fromhex(answer["info"])).decode() == answer["plaintext"]


@given(st.binary(max_size=300))
def test_any_bytes_are_malformed_or_evidence(body: bytes) -> None:
    """The parser answers every input with evidence or MalformedError."""
    with pytest.raises(MalformedError):
        read_evidence(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    key=st.sampled_from(
        [
            "format",
            "debug",
            "challenge",
            "config_id",
            "measurement",
            "public_key",
            "quoting_key",
            "host_arguments",
            "host_environment",
        ]
    ),
    value=JSON,
)
def test_any_value_of_any_key_is_answered(service, key: str, value: object) -> None:
    """Whatever stands in a field, the answer is a refusal or a configuration, never a fault of the CAS."""
    enclave = SoftwareEnclave()
    claims = enclave.claims(challenge(service), "app/main") | {key: value}
    request = enclave.sign(json.dumps(claims).encode())
    status, answer = post(service, "/v1/enclave/attest", json.dumps(request).encode())
    assert status in (200, 400, 403), answer
