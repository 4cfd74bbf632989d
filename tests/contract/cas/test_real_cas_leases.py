"""Passwords, singletons and tags over the real ports: two workers, the launcher's own client, and kills."""

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from scone_cas.attestation.one_time_passwords import STEP, password
from support.software_enclave import MEASUREMENT, Lease

SECRET = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U"
"""Of this module alone: what another one used up at the same CAS would be used up here."""
SESSION = f"""version: '0.3.12'
services:
  - name: main
    image_name: i
    attestation: {{mrenclave: {MEASUREMENT}}}
    fspf_key: {"0d" * 32}
    fspf_update_policy: no_rollback_protection
  - name: guarded
    command: [prog]
    attestation: {{mrenclave: {MEASUREMENT}}}
    one_time_password_shared_secret: {SECRET}
images: [{{name: i, volumes: [{{name: db, path: /data}}]}}]
volumes: [{{name: db}}]
security: {{attestation: {{tolerate: [debug-mode]}}, singleton_enclaves: false}}
"""


def keeper(cas: Any, config_id: str) -> tuple[Lease, dict[str, Any]]:
    """An enclave that keeps file systems, and its volume."""
    status, found = cas.enclave.attest(config_id, accepts=["volumes"])
    assert status == 200, found
    return Lease(cas.enclave.post, found["lease"]), found["volumes"][0]


def at_once(count: int, work: Any) -> list[Any]:
    """What so many threads bring back that begin together."""
    begin = threading.Barrier(count)

    def run(number: int) -> Any:
        begin.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def fresh_password() -> str:
    """The password of a half minute that will not end within this test."""
    return password(SECRET, int(time.time()) // STEP + 1)


def test_a_password_is_good_once_for_all_workers(cas, ann, name) -> None:
    """Of many enclaves with one password, at two workers, exactly one is let in."""
    cas.client(ann).upload(f"name: {name}\n{SESSION}")
    config_id = f"{name}/guarded@{fresh_password()}"
    codes = at_once(12, lambda _: cas.enclave.attest(config_id)[1].get("code", "ok"))
    assert sorted(codes) == ["ok"] + ["otp_used"] * 11


@pytest.mark.parametrize("accepts", [[], ["volumes"]])
def test_one_start_of_a_singleton_wins(cas, ann, name, accepts: list[str]) -> None:
    """Of many starts at a time, at two workers, exactly one is let in."""
    session = SESSION.replace("singleton_enclaves: false", "singleton_enclaves: true")
    cas.client(ann).upload(f"name: {name}\n{session}")
    codes = at_once(12, lambda _: cas.enclave.attest(f"{name}/main", accepts=accepts)[1].get("code", "ok"))
    assert sorted(codes) == ["already_running"] * 11 + ["ok"]


def test_one_of_many_tags_wins(cas, ann, name) -> None:
    """Of many updates of one tag, at two workers, exactly one is kept."""
    cas.client(ann).upload(f"name: {name}\n{SESSION}")
    leases = [keeper(cas, f"{name}/main")[0] for _ in range(12)]
    outcomes = at_once(12, lambda number: leases[number].tag(f"{number:032x}", replaces=None, volume="db"))
    assert sorted(outcomes) == ["kept"] + ["stale_tag"] * 11
    _, volume = keeper(cas, f"{name}/main")
    assert volume["tag"] == f"{outcomes.index('kept'):032x}"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.long)])
def test_kill_while_tags_are_written(own_cas, ann, name, kills: int) -> None:
    """After each kill -9 the tag is the last acknowledged one or the one that got no answer, and the log verifies."""
    own = own_cas()
    own.client(ann).upload(f"name: {name}\n{SESSION}")
    key = keeper(own, f"{name}/main")[1]["key"]
    written: list[str | None] = [None]

    def write(goal: int, reached: threading.Event) -> None:
        lease, volume = keeper(own, f"{name}/main")
        current = volume["tag"]
        with suppress(OSError, http.client.HTTPException):
            while True:
                following = f"{len(written):032x}"
                written.append(following)
                assert lease.tag(following, replaces=current, volume="db") == "kept"
                current = following
                if len(written) >= goal:
                    reached.set()

    for _ in range(kills):
        reached = threading.Event()
        writer = threading.Thread(target=write, args=(len(written) + 10, reached))
        writer.start()
        assert reached.wait(60)
        own.kill()
        writer.join()
        assert own.audit().code in (0, 10)
        own.start()
        assert own.audit().code == 0
        _, volume = keeper(own, f"{name}/main")
        assert volume["key"] == key
        assert volume["tag"] in written[-2:]
        del written[written.index(volume["tag"]) + 1 :]
    told = (own.state / "audit.log").read_text()
    assert told.count('"volume_tag_updated"') - told.count('"session_failed"') == len(written) - 1


def test_lease_survives_a_restart(own_cas, ann, name) -> None:
    """An enclave goes on under its lease after CAS was killed and started again."""
    own = own_cas()
    own.client(ann).upload(f"name: {name}\n{SESSION}")
    lease, _ = keeper(own, f"{name}/main")
    assert lease.tag("aa" * 16, replaces=None, volume="db") == "kept"
    own.kill()
    own.start()
    assert lease.tag("bb" * 16, replaces="aa" * 16, volume="db") == "kept"
    assert lease.say("exit", status=0)[0] == 200
