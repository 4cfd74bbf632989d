"""Who counts as one address, and whose connection gives way to a new one."""

from hypothesis import given
from hypothesis import strategies as st

from scone_cas.limits import REQUESTS_OF_A_CONNECTION, Connections, Gate, network


def test_networks() -> None:
    """An IPv6 customer has a /64 of addresses and counts once; IPv4 is the same however it is written."""
    assert network("192.0.2.7") == network("::ffff:192.0.2.7") == "192.0.2.7"
    assert network("2001:db8::1") == network("2001:db8::ffff:1") != network("2001:db8:0:1::1")
    assert network("fe80::1%eth0") == network("fe80::2")
    assert network("") == ""


def test_one_address_cannot_take_the_gate() -> None:
    """An address that has its share waits; another one gets in."""
    gate = Gate(3, each=2)
    assert [gate.enter("a"), gate.enter("a"), gate.enter("a"), gate.enter("b"), gate.enter("c")] == [1, 1, 0, 1, 0]
    gate.leave("a")
    assert gate.enter("a")


def test_the_own_oldest_connection_gives_way() -> None:
    """Who has its share of connections loses the one that waited longest, and nobody else's."""
    connections: Connections[str] = Connections(total=10, each=2)
    assert connections.enter("b1", "b", 0) == []
    assert [connections.enter(f"a{number}", "a", number) for number in (1, 2, 3)] == [[], [], ["a1"]]
    connections.began("a2", "a", 4)
    connections.ended("a2", 5)
    assert connections.enter("a4", "a", 6) == ["a3"]


def test_the_greediest_gives_way() -> None:
    """When the port is full the address with the most connections loses one: who has few is not touched."""
    connections: Connections[str] = Connections(total=4, each=4)
    assert connections.enter("b1", "b", 0) == []
    assert [connections.enter(f"a{number}", "a", number) for number in (1, 2, 3)] == [[], [], []]
    assert connections.enter("c1", "c", 4) == ["a1"]
    assert connections.enter("d1", "d", 5) == ["a2"]


def test_who_is_answered_is_never_given_up() -> None:
    """A connection whose request is being answered stays, and the new one is refused when all are."""
    connections: Connections[str] = Connections(total=2, each=2)
    for key in ("a1", "a2"):
        connections.enter(key, "a", 0)
        connections.began(key, "a", 1)
    assert connections.enter("a3", "a", 2) == ["a3"]
    assert connections.enter("b1", "b", 2) == ["b1"]
    assert connections.overdue(100) == []
    connections.ended("a2", 3)
    assert connections.enter("b1", "b", 4) == ["a2"]


def test_overdue() -> None:
    """Whoever waits too long is told, from the connection or from the last answer on."""
    connections: Connections[str] = Connections(total=9, each=9)
    connections.enter("a", "x", 0)
    connections.enter("b", "x", 5)
    connections.began("a", "x", 6)
    assert connections.overdue(5) == ["b"]
    connections.ended("a", 7)
    assert connections.overdue(6) == ["b"]
    assert connections.overdue(7) == ["b", "a"]


def test_a_connection_ends_some_time() -> None:
    """The answer after which no other follows is known before it is given."""
    connections: Connections[str] = Connections(total=9, each=9)
    connections.enter("a", "x", 0)
    for _ in range(REQUESTS_OF_A_CONNECTION - 1):
        assert not connections.is_last("a")
        connections.began("a", "x", 1)
        connections.ended("a", 2)
    assert connections.is_last("a")


@given(st.lists(st.tuples(st.sampled_from(["enter", "began", "ended", "leave"]), st.integers(0, 9)), max_size=200))
def test_counts_stay_right(steps: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order: never more than the limits, and nothing is left when all have gone."""
    connections: Connections[int] = Connections(total=5, each=3)
    for now, (step, key) in enumerate(steps):
        address = "abcd"[key % 4]
        if step in ("enter", "began"):
            getattr(connections, step)(key, address, now)
        elif step == "ended":
            connections.ended(key, now)
        else:
            connections.leave(key)
        assert len(connections) == connections._open.total() <= 5
        assert max(connections._open.values(), default=0) <= 3
    for key in range(10):
        connections.leave(key)
    assert not connections._open
    assert not connections._waiting
    assert not connections._address
    assert not connections._answers
