"""Leases and singletons: who may speak to CAS again, for how long, and that one enclave of a singleton runs."""

import base64
import io
import json
import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scone_cas.attestation.leases import LIFETIME, START
from scone_cas.audit.verify import verify
from support.enclave_side import EnclaveSide
from support.software_enclave import MEASUREMENT, Lease

SESSION = f"""
name: app
version: "0.3.12"
services:
  - name: main
    command: [prog]
    attestation: {{mrenclave: {MEASUREMENT}}}
    fspf_key: {"0d" * 32}
    fspf_tag: {"aa" * 16}
  - {{name: second, command: [prog], attestation: {{mrenclave: {MEASUREMENT}}}}}
security: {{attestation: {{tolerate: [debug-mode]}}, singleton_enclaves: SINGLETON}}
"""


def started(cas, owner, *, singleton: bool) -> EnclaveSide:
    """A CAS with two services."""
    cas.upload(SESSION.replace("SINGLETON", str(singleton).lower()), owner)
    return EnclaveSide(cas)


@pytest.fixture
def side(cas, person) -> EnclaveSide:
    """Services of which any number may run."""
    return started(cas, person("ann"), singleton=False)


@pytest.fixture
def singleton(cas, person) -> EnclaveSide:
    """Services of which one each may run."""
    return started(cas, person("ann"), singleton=True)


def test_lease_lives_while_it_is_used(side) -> None:
    """Every message lets a lease live on; 300 seconds of silence end it."""
    lease, found = side.keeper("app/main")
    assert found["lease"]["expires_in"] == LIFETIME
    for what in ("renew", "renew"):
        side.now += LIFETIME - 1
        assert lease.say(what) == (200, {"expires_in": LIFETIME})
    side.now += LIFETIME - 1
    assert lease.tag("bb" * 16, replaces="aa" * 16) == "kept"
    side.now += LIFETIME - 1
    assert lease.say("renew")[0] == 200
    side.now += LIFETIME
    assert lease.say("renew")[1]["code"] == "bad_lease"


def test_exit_ends_the_lease(side, cas) -> None:
    """After its exit an enclave is not heard any more; the audit log tells of it, with the status."""
    lease, _ = side.keeper("app/main")
    assert lease.say("exit", status=7) == (200, {"expires_in": 0})
    for what, keys in (("renew", {}), ("exit", {"status": None}), ("tag", {"tag": "bb" * 16, "replaces": None})):
        extra = {"volume": None} if what == "tag" else {}
        assert lease.say(what, **keys, **extra)[1]["code"] == "bad_lease"
    log = (cas.state / "audit.log").read_bytes()
    assert verify(io.BytesIO(log)).code == 0
    told = [json.loads(line)["entry"] for line in log.splitlines()][-1]
    assert (told["event"], told["fields"]) == (
        "service_exited",
        {"session": "app", "service": "main", "status": 7, "address": "192.0.2.7"},
    )


def test_numbers_are_good_once(side) -> None:
    """A message that was seen on the way is worth nothing when it comes again, nor is an older one."""
    lease, _ = side.keeper("app/main")
    seen = lease.message("renew", {"number": 5})
    older = lease.message("renew", {"number": 4})
    codes = [side.post("/v1/enclave/renew", request)[0] for request in (seen, seen, older)]
    assert codes == [200, 403, 403]


def test_message_is_for_one_route(side) -> None:
    """A renewal that was seen cannot be made an exit."""
    lease, _ = side.keeper("app/main")
    status, answer = side.post("/v1/enclave/exit", lease.message("renew", {"number": 1, "status": None}))
    assert (status, answer["error"]["code"]) == (403, "bad_lease")


@pytest.mark.parametrize("what", ["key", "body", "id"])
def test_what_the_holder_did_not_say(side, what: str) -> None:
    """Without the lease's key nobody speaks for it, and one refusal tells neither whether the lease lives."""
    lease, _ = side.keeper("app/main")
    request = lease.message("renew", {"number": 1})
    if what == "key":
        other, _ = side.keeper("app/main")
        other.id = lease.id
        request = other.message("renew", {"number": 1})
    elif what == "body":
        request["body"] = base64.b64encode(b'{"number": 2}').decode()
    else:
        request["lease"] = "0" * 32
    status, answer = side.post("/v1/enclave/renew", request)
    assert (status, answer["error"]) == (
        403,
        {"code": "bad_lease", "message": "the lease has ended, or the message was not made under it"},
    )
    assert lease.say("renew")[0] == 200


def test_lease_survives_a_restart(side, cas) -> None:
    """Another process on the same state knows the lease and its number."""
    lease, _ = side.keeper("app/main")
    assert lease.say("renew")[0] == 200
    cas.store.close()
    again = EnclaveSide(cas)
    replayed = again.post("/v1/enclave/renew", lease.message("renew", {"number": 1}))
    assert replayed[0] == 403
    assert again.post("/v1/enclave/renew", lease.message("renew", {"number": 2}))[0] == 200


def test_any_number_may_run(side) -> None:
    """Without singleton_enclaves nobody is kept out."""
    assert [side.code("app/main") for _ in range(3)] == ["ok"] * 3
    side.keeper("app/main")
    side.keeper("app/main")
    assert side.code("app/main") == "ok"


def test_singleton_until_exit(singleton) -> None:
    """While one enclave runs another of its service is refused, and let in after the exit; other services are free."""
    lease, _ = singleton.keeper("app/main")
    for accepts in ([], ["volumes"]):
        assert singleton.code("app/main", accepts=accepts) == "already_running"
    singleton.keeper("app/second")
    lease.say("exit", status=0)
    singleton.keeper("app/main")


def test_singleton_until_silence(singleton) -> None:
    """An enclave that is not heard of for 300 seconds counts as gone, and cannot come back."""
    lease, _ = singleton.keeper("app/main")
    singleton.now += LIFETIME - 1
    lease.say("renew")
    singleton.now += LIFETIME - 1
    assert singleton.code("app/main") == "already_running"
    singleton.now += 1
    singleton.keeper("app/main")
    assert lease.tag("bb" * 16, replaces="aa" * 16) == "bad_lease"


def test_limit_singleton_of_the_launcher(singleton) -> None:
    """The launcher's start holds the service for 20 seconds; what runs after that CAS does not know."""
    assert singleton.code("app/main") == "ok"
    singleton.now += START - 1
    _, error = singleton.attest("app/main")
    assert error["code"] == "already_running"
    assert "for 1 more seconds" in error["message"]
    singleton.now += 1
    assert singleton.code("app/main") == "ok"


def test_refused_evidence_holds_nothing(singleton) -> None:
    """Only who is let in holds a singleton."""
    assert singleton.code("app/main", measurement="00" * 32) == "unexpected_measurement"
    assert singleton.code("app/main") == "ok"


def test_one_of_many_starts_wins(singleton, cas) -> None:
    """Of eight starts at a time exactly one is let in."""
    codes: list[str] = []
    begin = threading.Barrier(8)

    def start() -> None:
        begin.wait()
        codes.append(singleton.code("app/main"))
        cas.store.close()
        cas.parts.challenges.close()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["already_running"] * 7 + ["ok"]


def test_leases_do_not_pile_up(side, cas) -> None:
    """Ended leases are removed."""
    for _ in range(5):
        side.keeper("app/main")
    side.now += LIFETIME
    side.keeper("app/main")
    assert cas.store.row("SELECT count(*) FROM lease") == (1,)


def test_no_store_write_without_need(side, cas) -> None:
    """An attestation whose policy uses none of this writes nothing into the store."""
    before = cas.store.row("PRAGMA data_version"), cas.store.row("SELECT total_changes()")
    assert side.code("app/main") == "ok"
    assert (cas.store.row("PRAGMA data_version"), cas.store.row("SELECT total_changes()")) == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("aa" * 16),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ROUTES = st.sampled_from(["tag", "renew", "exit"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    what=ROUTES,
    number=st.integers(-1, 2**60) | JSON,
    keys=st.dictionaries(st.sampled_from(["volume", "replaces", "tag", "status", "x"]), JSON),
)
@example(what="tag", number=1, keys={"volume": None, "replaces": "aa" * 16, "tag": "bb" * 16})
@example(what="exit", number=1, keys={"status": True})
@example(what="exit", number=True, keys={"status": 1})
def test_any_message_under_a_lease_is_answered(side, what: str, number: object, keys: dict[str, object]) -> None:
    """Whatever a holder says, rightly signed, the answer is an answer or a refusal, never a fault of the CAS."""
    lease, _ = side.keeper("app/main")
    status, answer = side.post(f"/v1/enclave/{what}", lease.message(what, {"number": number, **keys}))
    assert status in (200, 400, 403, 409), answer


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(what=ROUTES, body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_under_a_lease_are_answered(side, what: str, body: bytes) -> None:
    """The same for bytes that are no message at all, inside of a signed envelope and instead of it."""
    lease, _ = side.keeper("app/main")
    for request in (lease.signed(what, body), body):
        status, answer = side.post(f"/v1/enclave/{what}", request)
        assert status == 400, answer
    assert lease.say("renew")[0] == 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(envelope=st.fixed_dictionaries({}, optional={"lease": JSON, "body": JSON, "mac": JSON, "more": JSON}))
def test_any_envelope_is_answered(side, envelope: dict[str, object]) -> None:
    """And for whatever stands in the envelope."""
    for what in ("tag", "renew", "exit"):
        status, answer = side.post(f"/v1/enclave/{what}", envelope)
        assert (status, answer["error"]["code"]) in ((400, "malformed"), (403, "bad_lease"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(accepts=JSON, config_id=st.text(max_size=12) | st.sampled_from(["app/main@", "app/main@1", "@", "app@/main"]))
@example(accepts=[], config_id="\ud800")
@example(accepts=["\udfff"], config_id="app/main")
def test_any_wish_is_answered(side, accepts: object, config_id: str) -> None:
    """Whatever evidence accepts, and whatever it is called, it is judged or refused."""
    status, answer = side.attest(config_id, accepts=accepts)
    assert status in (200, 400, 403), answer


def test_other_methods(side) -> None:
    """The new routes take POST alone, and say so."""
    from scone_cas.api.http import Request

    for what in ("tag", "renew", "exit"):
        answer = side.api.handle(Request(method="GET", path=f"/v1/enclave/{what}"))
        assert (answer.status, answer.headers) == (405, (("Allow", "POST"),))


def test_the_client_checks_the_answer(side) -> None:
    """The test client notices an answer that CAS did not give to this very message."""

    def forged(path: str, body: object) -> tuple[int, dict]:
        status, answer = side.post(path, body)
        return status, answer | {"body": base64.b64encode(b'{"number": 1, "expires_in": 1}').decode()}

    lease, found = side.keeper("app/main")
    with pytest.raises(AssertionError):
        Lease(forged, found["lease"]).say("renew")
    assert lease.id == found["lease"]["id"]
