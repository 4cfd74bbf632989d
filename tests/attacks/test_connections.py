"""Somebody who reaches a port and holds connections: many, slow, idle, or greedy. Others must still be served."""

import http.client
import math
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from scone_cas.limits import REQUESTS_OF_A_CONNECTION
from support.bad_connections import KINDS, Crowd, crowd
from support.real_cas import RealCas

_LONGEST = 1.0
"""Seconds that an honest client may wait."""
_DEADLINE = 36.0
"""Seconds after which the server has closed whatever did not end by itself."""


def context() -> ssl.SSLContext:
    """TLS without a judgement of who answers."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
    return found


def ask(port: int, *, address: str = "127.0.0.1") -> float:
    """Seconds until an honest client, on a connection of its own, has its answer."""
    before = time.monotonic()
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, context=context(), timeout=15, source_address=(address, 0)
    )
    with closing(connection):
        connection.request("GET", "/v1/openapi.json")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    return time.monotonic() - before


def longest(port: int, count: int = 30, *, address: str = "127.0.0.1") -> float:
    """The longest wait of some honest clients, three at a time."""
    with ThreadPoolExecutor(3) as pool:
        return max(pool.map(lambda _: ask(port, address=address), range(count)))


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> Iterator[RealCas]:
    """A CAS for these tests alone: others of this file may hold its connections."""
    found = RealCas(tmp_path_factory.mktemp("target") / "state", "--rate", "100000").start()
    yield found
    found.stop()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("port", ["port", "enclave_port"])
def test_700_of_each_kind_stop_nobody(target, port: str, kind: str) -> None:
    """700 bad connections of one address, of each kind: an honest client of another and of the same address is served.

    The bad ones are looked after: they go on dripping in between.
    """
    number = getattr(target, port)
    with crowd(number, 700, kind, addresses=("127.0.0.2",)) as bad:
        bad.drip()
        assert longest(number, 10) < _LONGEST
        bad.drip()
        assert longest(number, 10, address="127.0.0.2") < _LONGEST


def held(port: int) -> int:
    """Connections that the server on that port has open: what the kernel alone remembers has no inode."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[1].endswith(f":{port:04X}") and line[3] != "0A" and line[9] != "0" for line in lines)


@pytest.mark.timeout(300)
def test_what_never_ends_is_ended(target) -> None:
    """Every kind, on both ports: whatever drips in, the server closes it in time, and nothing stays open."""
    ports = (target.port, target.enclave_port)
    with ExitStack() as stack:
        crowds = [stack.enter_context(crowd(port, 4 * len(KINDS))) for port in ports]
        assert all(held(port) > 2 * len(KINDS) for port in ports)
        until = time.monotonic() + _DEADLINE
        while time.monotonic() < until and any(map(held, ports)):
            for each in crowds:
                each.drip()
            time.sleep(0.5)
        assert [held(port) for port in ports] == [0, 0]


@pytest.mark.parametrize("port", ["port", "enclave_port"])
def test_idle_connections_of_four_addresses(target, port: str) -> None:
    """2,100 idle connections of four addresses fill the client port's total: a fifth address is served at once."""
    number = getattr(target, port)
    with crowd(number, 2100, "tcp-only", "idle") as bad:
        assert bad.alive() > 1000
        assert longest(number, 20) < _LONGEST


@pytest.mark.parametrize("port", ["port", "enclave_port"])
def test_a_connection_has_so_many_requests(target, port: str) -> None:
    """Nobody keeps a connection for ever: after so many answers the server says that it closes it, and does."""
    number = getattr(target, port)
    with closing(http.client.HTTPSConnection("127.0.0.1", number, context=context(), timeout=15)) as connection:
        for asked in range(1, REQUESTS_OF_A_CONNECTION + 1):
            connection.request("GET", "/v1/nowhere")
            answer = connection.getresponse()
            answer.read()
            closes = (answer.getheader("Connection") or "").lower() == "close"
            assert closes == (asked == REQUESTS_OF_A_CONNECTION), asked


def test_few_open_files(tmp_path) -> None:
    """A CAS that may open 400 files, and 1,000 connections to each port: it serves through it, and afterwards."""
    own = RealCas(tmp_path / "state", "--workers", "1", open_files=400).start()
    try:
        for port in (own.port, own.enclave_port):
            with crowd(port, 1000, "tcp-only", "idle"):
                assert longest(port, 10) < _LONGEST
            assert longest(port, 10) < _LONGEST
        assert own.process is not None
        assert own.process.poll() is None
    finally:
        own.stop()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_5000_of_all_kinds(target) -> None:
    """5,000 bad connections of all kinds at both ports, renewed where the server ends them: nobody waits a second."""
    crowds = [Crowd(port) for port in (target.port, target.enclave_port)]
    try:
        for each in crowds:
            each.grow(2500)
        waits: list[float] = []
        for _ in range(10):
            for each in crowds:
                each.drip()
                each.grow(min(100, 2500 - len(each.open)))
                waits += [ask(each.port) for _ in range(10)]
        waits.sort()
        assert waits[math.ceil(0.99 * len(waits)) - 1] < _LONGEST
    finally:
        for each in crowds:
            each.close()
